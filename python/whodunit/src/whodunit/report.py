"""From what the witnesses say to the one page. Pure: the same material gives the same report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from whodunit.answers import LOST, how, peer, rows_changed, what, when, who, why
from whodunit.attempts import attempts, lines_of
from whodunit.entry import entry
from whodunit.material import Material
from whodunit.model import (
    Answer,
    Event,
    Evidence,
    Finding,
    Gap,
    Grade,
    Line,
    Report,
    Transaction,
    Trust,
    utc,
)

# What a superuser types before he does what nobody is to see; log_statement has it before it works.
_TAMPERING = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for kind, pattern in (
        ("pgaudit_silenced", r"\bpgaudit\.\w+\W+(=|to)?\s*'?(none|off|false|default)|set_config\s*\(\s*'pgaudit\."),
        ("replica_role", r"\bsession_replication_role\b.*\b(replica|local)\b"),
        ("trigger_disabled", r"\bdisable\s+(trigger|rule)\b|\balter\s+event\s+trigger\b.*\bdisable\b"),
        ("context_suppressed", r"\baudit\.noted\b"),
    )
)


MOST = 200  # transactions that are told one by one; the counts and the undo take all


class Records:
    """Evidence in the order in which it is first used."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Evidence] = {}

    def add(self, line: Line) -> str:
        key = (utc(line.at), line.text)
        if key not in self._lines:
            self._lines[key] = Evidence(f"E{len(self._lines) + 1}", line.job, line.at, line.text, line.digest)
        return self._lines[key].id

    def all(self) -> tuple[Evidence, ...]:
        return tuple(self._lines.values())


def build(material: Material) -> Report:
    """The report of one incident."""
    records = Records()
    first = material.transactions[0]
    told = material.transactions[:MOST]
    rows: Counter[int] = Counter()
    for change in material.changes:
        rows[change.tx] += change.rows
    own = {each.tx: lines_of(each, material.session_lines) for each in told}
    lines = [line for each in told for line in own[each.tx]]
    answers = (
        *who(material, first, lines, records),
        *when(material, lines, records),
        *what(material, lines, records),
        *why(material, first, lines, records),
        *how(material, first, records),
        *entry(material, first, records),
    )
    tried = attempts(material, records.add)
    return Report(
        incident=first.id,
        title=_title(material, answers),
        answers=answers,
        changes=tuple(rows_changed(material)),
        samples=tuple(material.samples),
        transactions=tuple(_transaction(each, material, rows) for each in told),
        definitions=tuple(material.definitions),
        timeline=tuple(_timeline(material, lines, rows, records)),
        attempts=tried,
        findings=tuple(_findings(material)),
        gaps=tuple(
            sorted([*material.gaps, *missing_lines(material.session_lines)], key=lambda gap: (gap.since, gap.text))
        ),
        sources=tuple(material.sources),
        evidence=records.all(),
        notes=tuple(_notes(material)),
        spans=tuple(span for trace in sorted(material.spans) for span in material.spans[trace]),
        plan=tuple(material.plan),
        undo=f"whodunit undo {first.id} --apply",
    )


def _title(material: Material, answers: Sequence[Answer]) -> str:
    who = next(each for each in answers if each.name == "person")
    changes = rows_changed(material)
    lost = [each for each in changes if each["op"] in LOST]
    told = lost or changes
    by = who.value if who.grade is not Grade.UNKNOWN else "somebody unknown"
    if not told:
        return f"{material.definitions[0].tag if material.definitions else 'changes'} by {by}"
    rows = sum(each["rows"] for each in told)
    tables = list(dict.fromkeys(each["table"] for each in told))
    more = f" and {len(tables) - 1} more" if len(tables) > 1 else ""
    verb = "lost from" if lost else "changed in"
    return f"{rows:,} {'row' if rows == 1 else 'rows'} {verb} {tables[0]}{more} by {by}"


def _transaction(each: Transaction, material: Material, rows: Counter[int]) -> dict[str, Any]:
    context = material.contexts[each.tx]
    return {
        "id": each.id,
        "xid": each.xid,
        "tx": each.tx,
        "committed": utc(each.commit_at),
        "lsn": each.lsn,
        "db_user": each.db_user,
        "client": peer(each),
        "application_name": each.application_name,
        "session": each.pg_session_id,
        "context": str(context.trust),
        "user": context.trusted("uid"),
        "reason": each.reason,
        "statement": each.statement,
        "rows": rows[each.tx],
    }


def _timeline(material: Material, lines: Sequence[Line], rows: Counter[int], records: Records) -> list[Event]:
    events = [
        *(Event(line.at, "login", line.message, records.add(line)) for line in material.login_lines),
        *(
            Event(line.at, line.job, line.get("statement") or line.message, records.add(line))
            for line in [*lines, *_of_persons(material)]
            if line.get("statement")
            or line.message.startswith("statement: ")
            or line.get("level") in ("ERROR", "FATAL")
        ),
        *(
            Event(
                line.at,
                line.job,
                " ".join(
                    line.get(name)
                    for name in ("method", "path", "http_status", "action", "action_reason")
                    if line.get(name)
                )
                or line.text,
                records.add(line),
            )
            for line in material.request_lines
        ),
        *(Event(each.at, "ddl", f"{each.tag} {each.object_type} {each.object_name}") for each in material.definitions),
        *(Event(each.commit_at, "commit", f"{each.id}: {rows[each.tx]} rows") for each in material.transactions[:100]),
    ]
    # By evidence at last: a set has no order that two runs share.
    return sorted(set(events), key=lambda each: (each.at, each.source, each.text, each.evidence or ""))


def _of_persons(material: Material) -> list[Line]:
    """What sessions of one person logged around the incident."""
    sessions = {each.pg_session_id for each in material.transactions if each.db_user not in material.pooled_roles}
    return [line for line in material.session_lines if line.get("pg_session_id") in sessions]


def _findings(material: Material) -> list[Finding]:
    found = list(material.findings)
    for each in material.transactions[:MOST]:
        context = material.contexts[each.tx]
        if context.trust is Trust.FORGED:
            found.append(Finding(each.commit_at, "context_forged", "critical", f"{each.id}: {context.why}", each.tx))
        elif not each.context_rows and each.xid is None:
            found.append(
                Finding(each.commit_at, "context_missing", "critical", f"{each.id}: no context row at all", each.tx)
            )
        elif context.trust is Trust.MISSING and each.db_user in material.pooled_roles:
            found.append(Finding(each.commit_at, "context_missing", "warning", f"{each.id}: {context.why}", each.tx))
        if each.replication_role not in (None, "", "origin"):
            found.append(
                Finding(each.commit_at, "replica_role", "critical", f"{each.id}: session_replication_role", each.tx)
            )
    for line in [*material.session_lines, *material.alarm_lines]:
        said = f"{line.message}\n{line.get('statement')}"
        kind = next((kind for kind, pattern in _TAMPERING if pattern.search(said)), None)
        if kind:
            found.append(
                Finding(line.at, kind, "critical", f"{line.get('db_user') or 'unknown'}: {line.message}", None)
            )
    return sorted(set(found), key=lambda each: (each.at, each.kind, each.text, each.severity, each.tx or 0))


def missing_lines(lines: Sequence[Line]) -> list[Gap]:
    """PostgreSQL numbers each session's lines; where numbers are missing, somebody took lines away or they are late."""
    found = []
    sessions: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line.get("pg_line").isdecimal():
            sessions.setdefault(line.get("pg_session_id"), {})[int(line.get("pg_line"))] = line
    for session, numbered in sorted(sessions.items()):
        present = sorted(numbered)
        for before, after in pairwise(present):
            if after > before + 1:
                text = f"lines {before + 1} to {after - 1} of session {session} are not in Loki"
                found.append(Gap("postgres log", numbered[before].at, numbered[after].at, text))
    return found


def _notes(material: Material) -> list[str]:
    """What the page leaves out, and where values are that no undo brings."""
    notes = []
    if len(material.transactions) > MOST:
        notes.append(f"{len(material.transactions)} transactions, of which the first {MOST} are told one by one")
    notes += [
        f"{each.object_name} was rewritten by {each.tag}: its old values are in the vault's archive, not in the undo"
        for each in material.definitions
        if each.event == "table_rewrite"
    ]
    return notes
