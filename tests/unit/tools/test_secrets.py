"""make secrets: everything generated once, encrypted, and nothing that is there ever touched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from filter_plugins.preflight import useless_secrets

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventory/production.example/group_vars/all/vault.example.yml"


class Inventory:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mine"
        self.vault = self.folder / "group_vars/all/vault.yml"
        self.example = self.vault.with_name("vault.example.yml")
        self.example.parent.mkdir(parents=True)
        shutil.copy(EXAMPLE, self.example)
        self.password = folder / "password"
        self.password.write_text("correct horse\n", encoding="utf-8")

    def run(self, password: str | None = None) -> subprocess.CompletedProcess[str]:
        if password is not None:
            self.password.write_text(password, encoding="utf-8")
        command = [ROOT / "tools/secrets", self.folder, "--vault-password-file", self.password]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def read(self) -> dict[str, str]:
        """By Ansible's own tool."""
        command = ["ansible-vault", "view", "--vault-password-file", self.password, self.vault]
        return yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return Inventory(tmp_path)


def test_everything_is_generated_but_what_a_human_must_supply(inventory):
    done = inventory.run()
    assert done.returncode == 0, done.stderr
    assert inventory.vault.read_bytes().startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert inventory.vault.stat().st_mode & 0o777 == 0o600
    found = inventory.read()
    assert set(found) == set(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    assert useless_secrets(found) == ["vault_discord_webhook"]
    assert "A human must supply vault_discord_webhook" in done.stdout
    generated = [value for name, value in found.items() if name != "vault_discord_webhook"]
    assert len(set(generated)) == len(generated)
    assert min(map(len, generated)) == 64
    assert not any(value in done.stdout + done.stderr for value in generated)
    assert list(inventory.vault.parent.glob(".vault*")) == []


def test_a_second_run_writes_nothing(inventory):
    inventory.run()
    before = inventory.vault.read_bytes(), inventory.vault.stat().st_mtime_ns
    assert "0 generated" in inventory.run().stdout
    assert (inventory.vault.read_bytes(), inventory.vault.stat().st_mtime_ns) == before


def test_an_update_adds_what_is_new_and_names_what_is_old(inventory):
    inventory.run()
    before = inventory.read()
    text = inventory.example.read_text(encoding="utf-8").replace("vault_pki_ca_passphrase:", "vault_new:")
    inventory.example.write_text(text, encoding="utf-8")
    done = inventory.run()
    assert "1 generated: vault_new" in done.stdout
    assert "No role reads vault_pki_ca_passphrase any more" in done.stdout
    after = inventory.read()
    assert {name: after[name] for name in before} == before
    assert len(after["vault_new"]) == 64


def damaged(inventory: Inventory) -> None:
    text = "vault_a: 's3cret\n  vault_b: x: y"
    inventory.vault.write_text(text, encoding="utf-8")
    command = ["ansible-vault", "encrypt", "--vault-password-file", inventory.password, inventory.vault]
    subprocess.run(command, capture_output=True, check=True)


@pytest.mark.parametrize(
    ("breaks", "password", "said"),
    [
        (lambda each: each.run(), "wrong", "does not open with this vault password; nothing was written"),
        (lambda each: each.run(), " \n", "The vault password is empty"),
        (lambda each: each.vault.write_text("vault_a: b\n"), None, "is plain text; encrypt it first"),
        (lambda each: each.example.unlink(), None, "copy inventory/production.example or single.example first"),
        (damaged, None, "is no YAML; nothing was written"),
    ],
    ids=["wrong password", "empty password", "plain text", "no example", "damaged"],
)
def test_refused_and_untouched(inventory, breaks, password, said):
    breaks(inventory)
    before = inventory.vault.read_bytes() if inventory.vault.exists() else None
    done = inventory.run(password)
    assert done.returncode == 1
    assert said in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert (inventory.vault.read_bytes() if inventory.vault.exists() else None) == before
