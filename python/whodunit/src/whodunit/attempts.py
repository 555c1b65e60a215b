"""What was tried and left no committed change: refused, failed, rolled back, or without a row to touch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from whodunit.model import Attempt, Line, Transaction

if TYPE_CHECKING:
    from whodunit.material import Material

LIMIT = 100
GUARD = "AUDIT-GUARD: "
_EARLY = timedelta(milliseconds=100)  # a statement's audit line comes that much before its first trigger
_ANALYZE = re.compile(r"\banalyze\b", re.IGNORECASE)
_REFUSED = re.compile(r"login failed|authentication failed|auth failed|no such user|not allowed", re.IGNORECASE)
_HARMFUL = re.compile(
    r"\b(delete|update|truncate|drop|alter|merge|grant|revoke|session_replication_role|disable|do)\b", re.IGNORECASE
)


def lines_of(transaction: Transaction, lines: Iterable[Line]) -> list[Line]:
    """The session's lines that belong to that transaction.

    By production's xid where a line has it; the first statement of a transaction has none yet, so its virtual id and,
    last of all, its time decide.
    """
    session = [line for line in lines if line.get("pg_session_id") == transaction.pg_session_id]
    virtual = {line.get("vxid") for line in session if line.get("xid") and line.get("xid") == str(transaction.xid)}
    if not virtual:
        begin = (transaction.at or transaction.commit_at) - _EARLY
        inside = [line for line in session if begin <= line.at <= transaction.commit_at and line.get("vxid")]
        foreign = {line.get("vxid") for line in session if line.get("xid") not in ("", str(transaction.xid))}
        virtual = {line.get("vxid") for line in inside[-1:]} - foreign
    return [line for line in session if line.get("vxid") and line.get("vxid") in virtual]


def attempts(material: Material, note: Callable[[Line], str]) -> tuple[Attempt, ...]:
    """Attempts near the incident, in order of time."""
    tables = {change.table_name for change in material.changes}
    lines = [*material.session_lines, *material.alarm_lines, *material.pooler_lines]
    return among(lines, material.neighbours + material.transactions[:200], tables, note)


def among(
    given: Sequence[Line], transactions: Sequence[Transaction], tables: set[str], note: Callable[[Line], str | None]
) -> tuple[Attempt, ...]:
    """Those lines that tell of an attempt; transactions are what was committed about that time."""
    lines = list({(line.at, line.text): line for line in given}.values())
    lines.sort(key=lambda line: (line.at, line.text))
    committed = _committed(transactions, lines)
    failed = {
        (line.get("pg_session_id"), line.get("vxid"))
        for line in lines
        if line.get("level") in ("ERROR", "FATAL", "PANIC")
    }
    found = []
    for line in lines:
        verdict = _verdict(line, committed, failed, tables)
        if verdict:
            found.append(
                Attempt(
                    line.at,
                    verdict,
                    line.get("db_user") or "unknown",
                    ":".join(part for part in (line.get("client_addr") or "unknown", line.get("client_port")) if part),
                    _text(line),
                    note(line),
                )
            )
        if len(found) == LIMIT:
            break
    return tuple(found)


def _verdict(line: Line, committed: set[tuple[str, str]], failed: set[tuple[str, str]], tables: set[str]) -> str:
    """Why the line counts as an attempt; empty when it does not."""
    transaction = (line.get("pg_session_id"), line.get("vxid"))
    if line.job == "pgbouncer":
        return "login refused by the pooler" if is_refused_login(line) else ""
    guard = guard_of(line)
    if guard is not None:
        verdict = guard.get("verdict", "unknown")
        happened = verdict == "allowed" or (verdict == "warned" and transaction in committed)
        return "" if happened else f"guard: {verdict}"
    statement = line.get("statement")
    if line.get("level") in ("ERROR", "FATAL", "PANIC"):
        if is_refused_login(line):
            return "login refused"
        return f"failed ({line.get('sqlstate') or 'error'})" if _HARMFUL.search(statement) else ""
    if not line.get("audit_class") or transaction in committed or explained(line):
        return ""
    if line.get("audit_class") == "WRITE" and line.get("action") in ("DELETE", "UPDATE", "TRUNCATE TABLE", "MERGE"):
        named = line.get("table_name") in tables or any(name in statement for name in tables)
        if named:
            return "not committed" if transaction in failed else "no committed change"
    return ""


def is_refused_login(line: Line) -> bool:
    """By the pooler, or by PostgreSQL: wrong password, or no rule that lets this role in from there."""
    if line.job == "pgbouncer":
        return bool(_REFUSED.search(line.text))
    # invalid authorization, invalid password
    return line.get("level") in ("ERROR", "FATAL", "PANIC") and line.get("sqlstate") in ("28000", "28P01")


def explained(line: Line) -> bool:
    """EXPLAIN without ANALYZE is audited as what it explains, and does nothing."""
    return line.get("command_tag") == "EXPLAIN" and not _ANALYZE.search(line.get("statement"))


def guard_of(line: Line) -> dict[str, object] | None:
    """The guard's own record inside PostgreSQL's line."""
    message = line.message
    if not message.startswith(GUARD):
        return None
    try:
        found = json.loads(message.removeprefix(GUARD))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _committed(transactions: Sequence[Transaction], lines: Sequence[Line]) -> set[tuple[str, str]]:
    by_session: dict[str, list[Line]] = {}
    for line in lines:
        by_session.setdefault(line.get("pg_session_id"), []).append(line)
    return {
        (line.get("pg_session_id"), line.get("vxid"))
        for each in transactions
        if each.pg_session_id
        for line in lines_of(each, by_session.get(each.pg_session_id, []))
    }


def _text(line: Line) -> str:
    guard = guard_of(line)
    if guard:
        return ", ".join(f"{name} {guard[name]}" for name in sorted(guard) if guard[name] not in (None, ""))
    message = line.message if line.get("level") in ("ERROR", "FATAL", "PANIC") else ""
    return ": ".join(text for text in (message, line.get("statement")) if text)
