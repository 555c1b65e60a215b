"""The hosted workflow and the hooks call make targets only, those that exist, and every scenario has a job."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
# What makes a bare container able to check out and call make.
PREPARATION = ("apt-get ", "git config ")


def listed() -> list[str]:
    done = subprocess.run(["make", "--silent", "scenarios"], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_steps_call_make_only() -> None:
    commands = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    own = [command for command in commands if not command.startswith(PREPARATION)]
    assert own
    for command in own:
        target = re.search(r"make (?:--silent )?(\$\{\{ matrix\.target \}\}|[a-z-]+)", command)
        assert target, command
        assert target[1].startswith("$") or target[1] in TARGETS, command


def test_each_job_is_a_target_and_each_scenario_a_job() -> None:
    assert {one.split()[0] for one in listed()} <= TARGETS
    scenarios = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert {one.partition("ROLE=")[2] for one in listed() if "ROLE=" in one} == scenarios


def test_the_hooks_are_make_check() -> None:
    check = re.search(r"(?m)^check: ([a-z ]+?) *##", (ROOT / "Makefile").read_text(encoding="utf-8"))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert check
    assert [hook["entry"] for hook in hooks] == [f"make {target}" for target in check[1].split()]
