"""The scripts for browsers: their types, own tests, sizes. In a real browser: molecule/ingest, tests/e2e."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BROWSER = Path(__file__).resolve().parents[3] / "browser"
# node and npm of requirements.lock, whatever this machine has besides.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def npm(*arguments: str) -> str:
    done = subprocess.run(
        ["npm", *arguments], cwd=BROWSER, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def packages():
    """What the lock names, fetched once for each content of it."""
    mark = BROWSER / "node_modules" / ".lock-sha256"
    wanted = hashlib.sha256((BROWSER / "package-lock.json").read_bytes()).hexdigest()
    if not mark.is_file() or mark.read_text() != wanted:
        npm("ci")
        mark.write_text(wanted)


def test_types():
    npm("run", "check")


def test_the_scripts_own_tests():
    said = npm("test")
    assert int(re.search(r"\bpass (\d+)$", said, re.MULTILINE)[1]) >= 20, said[-2000:]


def test_the_agent_is_small_and_the_build_repeatable():
    first, second = npm("run", "build"), npm("run", "build")
    assert first == second, "names follow content, so the same sources give the same names"
    sizes = {name: int(size) for name, size in re.findall(r"^(\S+) +(\d+) bytes$", first, re.MULTILINE)}
    assert 1_000 < sizes["agent.js"] < 10_000
    (recorder,) = [name for name in sizes if name.startswith("recorder-")]
    assert recorder in (BROWSER / "dist/agent.js").read_text()


def test_the_lock_names_no_place_to_download_from_and_a_checksum_for_everything():
    lock = json.loads((BROWSER / "package-lock.json").read_text())
    fetched = {name: entry for name, entry in lock["packages"].items() if name}
    assert fetched
    assert not [name for name, entry in fetched.items() if "resolved" in entry]
    assert not [name for name, entry in fetched.items() if not entry.get("integrity", "").startswith("sha512-")]
