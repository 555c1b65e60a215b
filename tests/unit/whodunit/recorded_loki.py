"""Loki's interface over a list of lines, for what asks whodunit as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from whodunit.model import Line

SESSION = "6731a000.1f"


class Memory:
    """Loki's interface over a list."""

    lines: ClassVar[list[Line]] = []

    def __init__(self, config):
        self.cut = set()

    def _among(self, since, until, *jobs):
        return [line for line in self.lines if line.job in jobs and since <= line.at <= until]

    def session(self, session, since, until):
        found = self._among(since, until, "postgres", "postgres-audit")
        return [line for line in found if line.get("pg_session_id") == session]

    def login(self, session):
        return [line for line in self.lines if "authenticated" in line.text and line.get("pg_session_id") == session]

    def pooler(self, since, until):
        return self._among(since, until, "pgbouncer")

    def logins_from(self, role, address, since, until):
        return [line for line in self._among(since, until, "postgres") if "authorized" in line.text]

    def silences(self, job, since, until, quiet):
        return []

    def request(self, correlation, trace, since, until):
        return self._among(since, until, "nginx", "flask-api")

    def alarms(self, tables, since, until):
        return [line for line in self._among(since, until, "postgres", "postgres-audit") if not line.get("xid")]

    def anchors(self):
        return []


def refused(**fields):
    text = json.dumps({"message": "must be owner of table game"})
    given = {
        "pg_session_id": SESSION,
        "vxid": "3/9",
        "level": "ERROR",
        "sqlstate": "42501",
        "statement": "DROP TABLE game",
    }
    return Line(datetime.now(UTC) - timedelta(seconds=1), "postgres", {**given, "db_user": "dana", **fields}, text)
