"""Somebody wipes production, in every way that we know of; whodunit answers, and everything comes back."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from .drill import Answered, Drill, cases, fresh_context, grades, rows, value

GOAL = 10.0  # seconds from the wipe to the complete verdict
SOON = 60.0  # what only the heartbeat sees is a finding within a minute
FINAL = 65  # a report takes up findings for a minute; from then on it is the same for ever

# What a case may expect; a name that nothing here checks would be a promise that nobody keeps.
EXPECTED = {"rows", "at_least", "drops", "findings", "findings_soon", "attempts", "attempts_not", "attempt_by"}
EXPECTED |= {
    "person",
    "person_not",
    "person_grade",
    "reason",
    "request",
    "statement",
    "session",
    "answers",
    "correlation",
}
WHO = {"person", "person_not", "person_grade", "attempt_by"}


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case['case']:0>2}")
def test_case(case, drill: Drill, answered):
    assert set(case["expect"]) <= EXPECTED
    assert set(case["expect"]) & WHO, "every case says WHO"
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

    try:
        if changed:
            check_report(case, drill, one, changed[case.get("about", 0)], since)
        else:
            check_attempts(case, drill, one, since)
    finally:
        if case.get("repair"):
            drill.superuser(*case["repair"])
    check_undo(case, drill, one, changed, before)


def check_report(case: dict, drill: Drill, one: Answered, xid: str, since: str) -> None:
    """WHO, WHAT and WHY are right, and nobody else is blamed."""
    expect = case["expect"]

    def complete(report: dict) -> bool:
        found = rows(report)
        wanted = {**expect.get("at_least", {}), **expect.get("rows", {})}
        witnessed = grades(report).get("WHO database role") == "proven" or case["case"] == 13
        return (
            all(found.get(k, 0) >= n for k, n in wanted.items())
            and found_kinds(report) >= set(expect.get("findings", []))
            and witnessed
        )

    epoch = "e" + drill.vault("SELECT vault.current_epoch()")
    # Without a context the vault does not know production's number of the transaction.
    question = [*case["ask"], "--since", since] if case.get("ask") else ["trace", f"{epoch}-x{xid}"]
    report, one.seconds = drill.answer(question, complete)
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
    for name, text in expect.get("answers", {}).items():
        assert text in value(report, name), report["answers"]
    if expect.get("correlation"):
        assert value(report, "correlation id") in {each["context"]["cid"] for each in case["sessions"].values()}
    assert value(report, "person") not in expect.get("person_not", [])
    if "person_grade" in expect:
        assert one.grades["WHO person"] == expect["person_grade"], report["answers"]
    if expect.get("person_grade") == "unknown":
        note = next(each["note"] for each in report["answers"] if each["name"] == "person")
        assert re.search(r"role \S+, peer \S+", note), note
    dropped = [each["object_name"] for each in report["definitions"]]
    for name in expect.get("drops", []):
        assert any(name in each for each in dropped), dropped
    assert found_kinds(report) >= set(expect.get("findings", [])), report["findings"]
    if "findings_soon" in expect:
        late, _ = drill.answer(question, lambda each: found_kinds(each) >= set(expect["findings_soon"]), SOON)
        assert found_kinds(late) >= set(expect["findings_soon"]), late["findings"]
    assert one.seconds < GOAL, f"answered only after {one.seconds:.1f} s"


def found_kinds(report: dict) -> set[str]:
    return {each["kind"] for each in report["findings"]}


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
    if case["undo"] == "conflicts":
        assert all(answer["error"] is None for answer in drill.act(case["sessions"], case["later"]))
        time.sleep(2)
        plan = drill.whodunit("undo", one.incident)
        assert re.search(rf"\b{case['conflicts']}\s+left alone: the row was changed since", plan), plan
        drill.whodunit("undo", one.incident, "--apply")
        assert drill.checksums() != before
        drill.whodunit("undo", one.incident, "--apply", "--force")
    elif case["undo"] == "all-steps":
        for xid in reversed(changed):
            drill.whodunit("undo", "--tx", xid, "--apply")
    else:
        drill.whodunit("undo", one.incident)
        drill.whodunit("undo", one.incident, "--apply")
    after = drill.checksums()
    assert after == before, {
        name: (before[name], after.get(name)) for name in before if before[name] != after.get(name)
    }
    one.undo = "every table equal"


def test_14_verify_names_what_a_superuser_of_the_vault_changed(drill: Drill, answered):
    """An edit of a sealed record is found by its number, and forgiven when it is taken back."""
    one = Answered("14", "A superuser of the vault edits the history")
    answered.append(one)
    sealed = "SELECT max(last_id) FROM vault.seal"
    id_ = drill.vault(f"SELECT min(id) FROM vault.history WHERE op = 'D' AND id <= ({sealed})")
    assert "FIRST BAD RECORD" not in drill.whodunit("verify")
    kept = drill.vault(f"SELECT encode(convert_to(old::text, 'UTF8'), 'hex') FROM vault.history WHERE id = {id_}")
    edit = "SET session_replication_role = replica; UPDATE vault.history SET old = {} WHERE id = {}"
    drill.vault(edit.format('old || \'{"email": "nobody@example.com"}\'', id_))
    try:
        started = time.monotonic()
        said = drill.whodunit("verify", check=False)
        one.seconds = time.monotonic() - started
        assert re.search(rf"\b{id_}\b", said), said
    finally:
        drill.vault(edit.format(f"convert_from(decode('{kept}', 'hex'), 'UTF8')::jsonb", id_))
    drill.whodunit("verify")
    one.undo = "record named"


def test_25_without_production_the_same_reports(drill: Drill, answered):
    """The data directory removed, the host stopped: every report again, byte for byte."""
    time.sleep(FINAL)
    asked = {one.incident: drill.whodunit("trace", one.incident, "--json") for one in answered if one.incident}
    assert asked, "no case of this run left an incident"
    drill.destroy_production()
    one = Answered("25", "rm -rf PGDATA, and the host is gone")
    answered.append(one)
    started = time.monotonic()
    again = {incident: drill.whodunit("trace", incident, "--json") for incident in asked}
    one.seconds = (time.monotonic() - started) / len(asked)
    assert [incident for incident in asked if again[incident] != asked[incident]] == []
    gone = drill.refusal("undo", next(iter(asked)))
    assert re.search(r"NEEDS BACKUP.*recovery_target_time = '2.*recovery_target_lsn = '", gone), gone
    one.undo = f"{len(asked)} reports equal; undo says which backup it needs"
