"""The demo as it stands (make up brings it), quiet while the drills run; a table of answers at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from .drill import PROD, Answered, Drill

ROOT = Path(__file__).resolve().parents[2]
ANSWERED: list[Answered] = []


@pytest.fixture(scope="session")
def answered() -> list[Answered]:
    """Every case's answer, in order; the last drill asks them all again."""
    return ANSWERED


@pytest.fixture(scope="session")
def drill():
    secrets = ROOT / "inventory/demo/group_vars/all/secrets.yml"
    running = subprocess.run(["docker", "inspect", PROD], capture_output=True, check=False)
    assert running.returncode == 0 and secrets.is_file(), "the demo is not there: run make up first"
    subprocess.check_call(["docker", "exec", PROD, "docker", "stop", "--time=1", "tovplay-traffic"])
    yield Drill(yaml.safe_load(secrets.read_text(encoding="utf-8")))


def pytest_terminal_summary(terminalreporter):
    """Verdict, grade of WHO, seconds to the answer and what the undo gave, a line a case."""
    if not ANSWERED:
        return
    terminalreporter.section("drills")
    for one in ANSWERED:
        seconds = "" if one.seconds is None else f"{one.seconds:5.1f} s"
        who = one.grades.get("WHO person", "no change")
        terminalreporter.line(f"{one.case:>2}  {one.title[:58]:<58}  WHO {who:<13}  {seconds:>8}  undo: {one.undo}")
