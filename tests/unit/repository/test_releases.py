"""releases.yml: what upgrades are tested from is in the history, and is what it says."""

from __future__ import annotations

import datetime
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RELEASES = yaml.safe_load((ROOT / "releases.yml").read_text(encoding="utf-8"))


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)


def number(version: str) -> tuple[int, ...]:
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), version
    return tuple(map(int, version.split(".")))


def test_each_release_is_whole_and_newer_than_the_one_before() -> None:
    assert RELEASES
    for release in RELEASES:
        assert set(release) == {"version", "commit", "date", "holds"}
        assert re.fullmatch(r"[0-9a-f]{40}", release["commit"])
        assert datetime.date.fromisoformat(release["date"])
        assert release["holds"].strip()
    numbers = [number(release["version"]) for release in RELEASES]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release["version"])
def test_its_commit_is_an_ancestor_and_has_that_version(release: dict[str, str]) -> None:
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        # Without history nobody can be asked; make test runs in a whole clone.
        pytest.skip("no whole git history is here (an archive or a shallow clone)")
    ancestor = git("merge-base", "--is-ancestor", release["commit"], "HEAD")
    assert ancestor.returncode == 0, ancestor.stderr or f"{release['commit']} is no ancestor of HEAD"
    project = tomllib.loads(git("show", f"{release['commit']}:pyproject.toml").stdout)["project"]
    assert project["version"] == release["version"]
