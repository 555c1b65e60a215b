"""No secret is in the tree: detect-secrets' detectors of known shapes, and ours, without a baseline of known finds."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import pytest
from test_lint import ROOT, tracked

# Guesses by a variable's name or by how random a word looks find test passwords and checksums; shapes find secrets.
GUESSES = ["KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"]
# Services that nobody here has an account of; each detector costs half a second for the tree.
NOT_USED = [
    "Artifactory",
    "Cloudant",
    "IbmCloudIam",
    "IbmCosHmac",
    "Mailchimp",
    "Softlayer",
    "SquareOAuth",
    "TwilioKey",
]
DISABLED = GUESSES + [f"{service}Detector" for service in NOT_USED]
# What examples and tests of redaction call a password, and their token, whose claims are {"sub":"1"} or {"sub":"42"}.
MADE_UP = r"^(secret|hunter2|p%40ss%3Aw%2Frd|eyJhbGciOiJIUzI1NiJ9\.eyJzdWIiOiI(xIn0|0MiJ9)\.)$"
CHECKSUMS = r"(go\.sum|\.lock|package-lock\.json)$"  # tens of thousands of lines of nothing else


def scan(names: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["detect-secrets-hook", "--plugin", str(ROOT / "tests/lint/secret_kinds.py"), "--no-verify"]
    command += [word for name in DISABLED for word in ("--disable-plugin", name)]
    return subprocess.run(
        [*command, "--exclude-secrets", MADE_UP, "--exclude-files", CHECKSUMS, *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tree_has_no_secret():
    done = scan(tracked(), ROOT)
    assert done.returncode == 0, done.stdout[-4000:]


def test_no_find_is_waved_through():
    """detect-secrets would skip a line that says so."""
    mark = "pragma: " + "allowlist"
    marked = [name for name in tracked() if mark.encode() in (ROOT / name).read_bytes()]
    assert marked == []
    assert not list(ROOT.glob(".secrets.baseline*"))


# Made anew in each run, so that this file has none.
CANARIES = {
    "webhook": f"https://discord.com/api/webhooks/{secrets.randbelow(10**18) + 10**18}/{secrets.token_urlsafe(51)}",
    "dsn": "DATABASE_URL=postgresql://app:" + secrets.token_urlsafe(12) + "@db.example:5432/TovPlay",
    "generated": f"vault_postgresql_app_password: {secrets.token_hex(32)}",
    "generated-json": f'{{"vault_audit_context_key": "{secrets.token_hex(32)}"}}',
    "github-token": f"token = 'ghp_{secrets.token_hex(18)}'",
    "private-key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "jwt": "Bearer eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiI3NyJ9." + secrets.token_urlsafe(32),
}


@pytest.mark.parametrize("kind", CANARIES)
def test_a_planted_secret_is_found(kind, tmp_path):
    (tmp_path / "settings.yml").write_text(f"# a line before\n{CANARIES[kind]}\n", encoding="utf-8")
    done = scan(["settings.yml"], tmp_path)
    assert done.returncode != 0, f"{kind} was not found"
    assert "settings.yml:2" in done.stdout
