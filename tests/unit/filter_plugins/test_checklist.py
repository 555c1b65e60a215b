"""The checklist: its list has what it promises, no question says "done" where nothing is, and answers are judged."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from filter_plugins.checklist import (
    checklist_answers,
    checklist_lines,
    checklist_questions,
    checklist_report,
)

ROOT = Path(__file__).resolve().parents[3]
LISTED = yaml.safe_load((ROOT / "playbooks/checklist/steps.yml").read_text(encoding="utf-8"))
STEPS, NEXT = LISTED["checklist_steps"], LISTED["checklist_next_steps"]
ROLES = {path.name for path in (ROOT / "roles").iterdir()}


def commands() -> list[str]:
    helpers = {
        name: jinja2.Template(LISTED[name]).render() for name in LISTED if name in ("checklist_loki", "checklist_psql")
    }
    variables = {**helpers, "alerting_application_roles": ["app"]}
    return [
        jinja2.Template(question["command"]).render(variables)
        for step in [*STEPS, *NEXT]
        for question in step.get("questions", [])
    ]


def test_the_guides_fourteen_steps_and_six_next_steps_are_there() -> None:
    assert [step["step"] for step in STEPS] == list(range(1, 15))
    assert len(NEXT) == 6
    for step in STEPS:
        assert all(step[name].strip() for name in ("title", "run", "changes", "downtime", "back"))
        assert step["questions"]
        if step["run"].startswith("--tags "):
            assert set(step["run"].split()[1].split(",")) <= ROLES


@pytest.mark.parametrize("command", commands())
def test_no_step_is_done_where_nothing_is(command: str) -> None:
    """In a network of its own, where no port answers."""
    done = subprocess.run(
        ["unshare", "--net", "timeout", "20", "sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode not in (0, 124), f"{done.returncode}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", commands())
def test_a_question_is_a_shells_sentence(command: str) -> None:
    assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0


def step(number: int, group: str = "app") -> dict[str, Any]:
    texts = {name: name for name in ("title", "run", "changes", "downtime", "back")}
    return {"step": number, **texts, "title": f"step {number}", "questions": [{"group": group, "command": "true"}]}


def answer(host: str, number: int, rc: int | None, said: str = "") -> dict[str, Any]:
    item = {"title": f"step {number}", "group": "app", "command": "true"}
    result = {"item": item} if rc is None else {"item": item, "rc": rc, "stdout": said, "stderr": "why"}
    return {host: {"__checklist_answers": {"results": [result]}}}


def test_a_host_is_asked_what_concerns_its_groups() -> None:
    assert [one["title"] for one in checklist_questions([step(1), step(2, "watch"), step(3, "all")], ["app"])] == [
        "step 1",
        "step 3",
    ]


@pytest.mark.parametrize(
    ("rc", "state", "said"),
    [
        (0, "done", "fine"),
        (1, "not done", "fine"),
        (3, "not installed", "fine"),
        (127, "not done", "fine"),
        (None, "unknown", "the host does not answer"),
    ],
)
def test_an_exit_code_is_a_state(rc: int | None, state: str, said: str) -> None:
    report = checklist_report([step(1)], [], {"app": ["a"]}, checklist_answers(answer("a", 1, rc, "fine\nmore")))
    assert report["steps"][0]["state"] == state
    assert report["steps"][0]["answers"][0]["said"] == said
    assert report["done"] == (state == "done")


def test_the_worst_host_decides_and_a_silent_one_is_unknown() -> None:
    groups = {"app": ["a", "b"]}
    both = checklist_answers({**answer("a", 1, 0), **answer("b", 1, 1)})
    assert checklist_report([step(1)], [], groups, both)["steps"][0]["state"] == "not done"
    one = checklist_answers(answer("a", 1, 0))
    assert checklist_report([step(1)], [], groups, one)["steps"][0]["state"] == "unknown"
    assert checklist_report([step(1)], [], {}, [])["steps"][0]["state"] == "not installed"


def test_a_next_step_is_as_far_as_its_steps() -> None:
    groups = {"app": ["a"]}
    answers = checklist_answers(answer("a", 1, 0)) + checklist_answers(answer("a", 2, 1))
    following = [{"title": "first", "steps": [1]}, {"title": "both", "steps": [1, 2]}]
    report = checklist_report([step(1), step(2)], following, groups, answers)
    assert [one["state"] for one in report["next_steps"]] == ["done", "not done"]
    assert checklist_lines(report) == [
        "done           1  step 1: why",
        "not done       2  step 2: why",
        "1 of 2 steps are done. Next steps:",
        "done           1  first",
        "not done       2  both",
    ]
