"""Inputs of role audit_capture as pure functions: what is missing filled in, what cannot work said in a sentence."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Database = Mapping[str, Any]

POLICIES = ("plain", "hash", "encrypt", "exclude")
NAME_BYTES = 63
DATABASE_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")  # also the instance of a systemd unit
MOST_ROWS = 2**63 - 1


def audit_capture_wanted(database: Database, guard: str, max_rows: int) -> dict[str, Any]:
    """The argument of audit.converge(): every table with schema, guard, limits and policies."""
    tables = [
        {
            "schema": table.get("schema") or "public",
            "name": table["name"],
            "guard": table.get("guard") or guard,
            "max_delete": max_rows if table.get("max_delete") is None else table["max_delete"],
            "max_update": max_rows if table.get("max_update") is None else table["max_update"],
            "columns": dict(table.get("columns") or {}),
        }
        for table in database["tables"]
    ]
    return {"tables": tables, "new_tables": database.get("new_tables") or "report"}


def audit_capture_problems(databases: Sequence[Database], max_rows: int) -> list[str]:
    """Sentences about entries that a type cannot refuse."""
    problems = [f"audit_capture_max_rows is {max_rows}; a limit is 0 or more."] if max_rows < 0 else []
    problems += [
        f"audit_capture_databases names {name} twice; put its tables into one entry."
        for name, times in Counter(database["name"] for database in databases).items()
        if times > 1
    ]
    for database in databases:
        problems += [f"{database['name']}: {problem}" for problem in _database_problems(database)]
    return problems


def _database_problems(database: Database) -> Iterable[str]:
    if not DATABASE_NAME.fullmatch(database["name"]):
        yield "letters, digits, dot, dash and underscore make the name of a database that can be audited; rename it."
    wanted = audit_capture_wanted(database, "warn", 0)["tables"]
    for (schema, name), times in Counter((table["schema"], table["name"]) for table in wanted).items():
        if times > 1:
            yield f"{schema}.{name} stands twice; its second guard and policies would win."
    for table in wanted:
        shown = f"{table['schema']}.{table['name']}"
        for kind in ("schema", "name"):
            if _unusable(table[kind]):
                yield f"{shown}: a {kind} has 1 to {NAME_BYTES} bytes and no control characters."
        if table["schema"].startswith("pg_") or table["schema"] in ("audit", "information_schema"):
            yield f"{shown} belongs to PostgreSQL or to the audit itself; only the application's tables can be tracked."
        for limit in ("max_delete", "max_update"):
            if not 0 <= table[limit] <= MOST_ROWS:
                yield f"{shown}: {limit} is {table[limit]}; a limit is 0 or more."
        for column, policy in table["columns"].items():
            if policy not in POLICIES:
                yield f"{shown}: policy {policy!r} of column {column} is unknown; take one of {', '.join(POLICIES)}."
            if _unusable(str(column)):
                yield f"{shown}: column {column!r} has no name that PostgreSQL can hold."


def _unusable(name: str) -> bool:
    return not 0 < len(name.encode()) <= NAME_BYTES or any(ord(letter) < ord(" ") for letter in name)


def audit_capture_digest(texts: Sequence[str]) -> str:
    """Of the SQL that is placed: another text is another installation."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "audit_capture_wanted": audit_capture_wanted,
            "audit_capture_problems": audit_capture_problems,
            "audit_capture_digest": audit_capture_digest,
        }
