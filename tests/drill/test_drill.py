"""Somebody wipes production, in every way that we know of; whodunit answers, and everything comes back."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from .drill import Answered, Drill, cases, fresh_context, grades, rows, value

FASTEST, GOAL = 0.0, 10.0  # seconds from the wipe to the complete verdict


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case['case']:02}")
def test_case(case, drill: Drill, answered):
    for session in case["sessions"].values():
        if "context" in session:
            session["context"] = fresh_context(session["context"])
    if case.get("given"):
        drill.superuser(*case["given"])
    before, since = drill.checksums(), datetime.now(UTC).isoformat()
    one = Answered(str(case["case"]), case["title"])
    answered.append(one)

    steps = [step for step in case["steps"] for _ in range(step.get("times", 1))]
    done = drill.act(case["sessions"], steps)
    for step, answer in zip(steps, done, strict=True):
        if step.get("fails"):
            assert re.search(step["fails"], answer["error"] or "nothing was refused"), answer
        else:
            assert answer["error"] is None, answer
    changed = [a["xid"] for s, a in zip(steps, done, strict=True) if a["xid"] and not s.get("rollback")]

    if changed:
        check_report(case, drill, one, changed[case.get("about", 0)])
    else:
        check_attempts(case, drill, one, since)
    check_undo(case, drill, one, changed, before)


def check_report(case: dict, drill: Drill, one: Answered, xid: str) -> None:
    """WHO, WHAT and WHY are right, and nobody else is blamed."""
    expect = case["expect"]

    def complete(report: dict) -> bool:
        found = rows(report)
        wanted = {**expect.get("at_least", {}), **expect.get("rows", {})}
        kinds = {each["kind"] for each in report["findings"]}
        witnessed = grades(report).get("WHO database role") == "proven" or case["case"] == 13
        return all(found.get(k, 0) >= n for k, n in wanted.items()) and kinds >= set(expect.get("findings", [])) and witnessed

    epoch = drill.whodunit("list", "--since", "1h").split("-")[0].strip() or "e1"
    report, one.report, one.seconds = drill.answer(["trace", f"{epoch}-x{xid}"], complete)
    assert report, f"whodunit does not know {epoch}-x{xid}"
    one.incident, one.grades = report["incident"], grades(report)
    found = rows(report)
    for name, least in expect.get("at_least", {}).items():
        assert found.get(name, 0) >= least, found
    for name, exactly in expect.get("rows", {}).items():
        assert found.get(name) == exactly, found
    for name in ("person", "reason", "request"):
        if name in expect:
            assert value(report, name) == expect[name], report["answers"]
    for name in ("statement", "session"):
        if name in expect:
            assert expect[name] in value(report, name), report["answers"]
    assert value(report, "person") not in expect.get("person_not", [])
    if "person_grade" in expect:
        assert one.grades["WHO person"] == expect["person_grade"], report["answers"]
    kinds = {each["kind"] for each in report["findings"]}
    assert kinds >= set(expect.get("findings", [])), report["findings"]
    assert one.seconds < GOAL, f"answered only after {one.seconds:.1f} s"


def check_attempts(case: dict, drill: Drill, one: Answered, since: str) -> None:
    """What was refused or rolled back is told as an attempt, and as nothing else."""
    expect, started, told = case["expect"], time.monotonic(), ""
    while time.monotonic() - started < 30:
        told = drill.whodunit("attempts", "--since", since, check=False)
        if all(text in told for text in expect["attempts"]):
            break
        time.sleep(0.5)
    one.seconds = time.monotonic() - started
    for text in expect["attempts"]:
        assert text in told, told
    for text in expect.get("attempts_not", []):
        assert text not in told, told
    assert expect.get("attempt_by", "") in told, told


def check_undo(case: dict, drill: Drill, one: Answered, changed: list[str], before: dict) -> None:
    """Every table equals its checksum before the wipe."""
    if case["undo"] == "untouched":
        assert drill.checksums() == before
        one.undo = "nothing lost, every table equal"
        return
    if case.get("repair"):
        drill.superuser(*case["repair"])
    if case["undo"] == "conflicts":
        assert all(answer["error"] is None for answer in drill.act(case["sessions"], case["later"]))
        time.sleep(2)
        plan = drill.whodunit("undo", one.incident)
        assert re.search(rf"\b{case['conflicts']} conflict", plan), plan
        drill.whodunit("undo", one.incident, "--apply")
        assert drill.checksums() != before
        drill.whodunit("undo", one.incident, "--apply", "--force")
    elif case["undo"] == "all-steps":
        epoch = one.incident.split("-")[0]
        for xid in reversed(changed):
            drill.whodunit("undo", "--tx", xid, "--apply")
        assert epoch
    else:
        drill.whodunit("undo", one.incident)
        drill.whodunit("undo", one.incident, "--apply")
    after = drill.checksums()
    assert after == before, {name: (before[name], after.get(name)) for name in before if before[name] != after.get(name)}
    one.undo = "every table equal"
