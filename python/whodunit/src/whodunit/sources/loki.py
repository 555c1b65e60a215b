"""Loki: the second witness. Every query is bounded by the incident, so it gives the same lines whenever it is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import requests

from whodunit.attempts import GUARD
from whodunit.config import Config
from whodunit.model import Gap, Line
from whodunit.sources import SourceError

LIMIT = 1000
_SILENCING = "pgaudit[.]|session_replication_role|(disable|enable) +(trigger|rule)|alter +event +trigger|audit[.]noted"
_LABELS = ("job", "host", "log_class", "service_name", "detected_level")


def quoted(value: str) -> str:
    """A LogQL string of exactly that text."""
    return json.dumps(value, ensure_ascii=False)


class Loki:
    def __init__(self, config: Config) -> None:
        self._url = config.loki_url.rstrip("/")
        self._timeout = config.timeout_seconds
        self._session = requests.Session()
        self.cut: set[str] = set()  # kinds of lines of which there were more than are read
        if config.loki_user and config.loki_password_file:
            try:
                password = config.loki_password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SourceError(f"its password cannot be read: {error.strerror}") from error
            self._session.auth = (config.loki_user, password)
        if config.loki_ca:
            self._session.verify = config.loki_ca

    def session(self, session_id: str, since: datetime, until: datetime) -> list[Line]:
        """What one PostgreSQL session logged."""
        return self._lines(f'{{job=~"postgres|postgres-audit"}} | pg_session_id={quoted(session_id)}', since, until)

    def login(self, session_id: str) -> list[Line]:
        """How a session logged in; its id begins with the second in which it started."""
        try:
            began = datetime.fromtimestamp(int(session_id.partition(".")[0], 16), UTC)
        except (ValueError, OverflowError, OSError):
            return []
        return self._lines(
            f'{{job="postgres"}} | pg_session_id={quoted(session_id)} |~ "connection'
            f' (received|authenticated|authorized)"',
            began - timedelta(seconds=2),
            began + timedelta(seconds=30),
        )

    def logins_from(self, role: str, address: str, since: datetime, until: datetime) -> list[Line]:
        """The first logins of that role from that address, a few of them."""
        query = (
            f'{{job="postgres"}} |= "connection authorized" | db_user={quoted(role)} | client_addr={quoted(address)}'
        )
        return self._lines(query, since, until, limit=20)

    def silences(self, job: str, since: datetime, until: datetime, quiet: timedelta) -> list[Gap]:
        """When a host's program said nothing for longer than it ever does, from its last line to its next one."""
        step = 10
        query = f"sum by (host) (count_over_time({{job={quoted(job)}}}[{step}s]))"
        found = []
        for series in self._asked(query, since, until, step=str(step)):
            host = series.get("metric", {}).get("host", "")
            # A point counts the ten seconds before it.
            heard = [datetime.fromtimestamp(float(at), UTC) for at, _ in series.get("values", [])]
            for before, after in quiet_spans(heard, since, until, quiet):
                gap = self._bounds(job, host, before, after, since, until)
                found += [gap] if gap.until - gap.since > quiet else []
        return sorted(found, key=lambda gap: (gap.since, gap.source))

    def _bounds(self, job: str, host: str, before: datetime, after: datetime, since: datetime, until: datetime) -> Gap:
        stream = f"{{job={quoted(job)}, host={quoted(host)}}}"
        margin = timedelta(seconds=11)
        last = self._lines(stream, max(before - margin, since), min(after - margin, until), 1, "backward")
        first = self._lines(stream, max(before, since), min(after + margin, until), 1)
        begin, end = last[0].at if last else before, first[0].at if first else after
        return Gap(f"{job} log", begin, end, f"{host or 'its host'} said nothing")

    def pooler(self, since: datetime, until: datetime) -> list[Line]:
        """Who came and went at the pooler."""
        return self._lines(
            '{job="pgbouncer"} |~ "login attempt|new connection to server|closing because|login failed|auth.*fail"',
            since,
            until,
        )

    def request(self, correlation: str | None, trace: str | None, since: datetime, until: datetime) -> list[Line]:
        """What the application and the web server say about one request."""
        asked = [
            f"{name}={quoted(value)}" for name, value in (("correlation_id", correlation), ("trace_id", trace)) if value
        ]
        if not asked:
            return []
        return self._lines(f'{{job=~"nginx|flask-api"}} | {" or ".join(asked)}', since, until)

    def alarms(self, tables: Iterable[str], since: datetime, until: datetime) -> list[Line]:
        """Refused and failed statements, the guard's word, and DELETEs from those tables, whoever sent them."""
        found = self._lines(f'{{job=~"postgres|postgres-audit"}} |= {quoted(GUARD)}', since, until)
        found += self._lines(
            '{job=~"postgres|postgres-audit"} | level=~"ERROR|FATAL|PANIC" or audit_class="DDL" or'
            ' action="TRUNCATE TABLE"',
            since,
            until,
        )
        # What is typed to silence the witnesses: as log_statement has it, and as pgaudit has what is not DDL (above)
        # or a call or a change of rows. Those are most lines and the longest, and a pattern costs Loki a second for
        # each 10 MB.
        found += self._lines(f'{{job="postgres"}} |~ {quoted(f"(?i){_SILENCING}")}', since, until)
        found += self._lines(
            '{job="postgres-audit"} | audit_class!~"READ|WRITE|DDL" | action!="EXECUTE"'
            f" | statement=~{quoted(f'(?is).*({_SILENCING}).*')}",
            since,
            until,
        )
        names = "|".join(re.escape(name) for name in sorted(set(tables)))
        if names:
            query = f'{{job="postgres-audit"}} | action="DELETE" and table_name=~{quoted(names)}'
            found += self._lines(query, since, until)
        return found

    def anchors(self) -> list[str]:
        """The keeper's anchors of the last 30 days, whose lines journald vouches for: its unit wrote them."""
        until = datetime.now(UTC)
        query = '{job="journald"} | unit="tovplay-vault-keeper.service" |= "vault_seal"'
        found: list[str] = []
        since = until - timedelta(days=30)
        while True:
            lines = self._lines(query, since, until, limit=5000)
            found += [line.message for line in lines]
            if len(lines) < 5000:
                return found
            since = lines[-1].at

    def _lines(
        self, query: str, since: datetime, until: datetime, limit: int = LIMIT, direction: str = "forward"
    ) -> list[Line]:
        streams = self._asked(query, since, until, limit=str(limit), direction=direction)
        try:
            lines = ordered(
                _line(stream.get("stream", {}), value) for stream in streams for value in stream.get("values", [])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"its answer is not Loki's ({type(error).__name__})") from error
        if len(lines) >= LIMIT == limit:
            self.cut.add(query)
        return lines

    def _asked(self, query: str, since: datetime, until: datetime, **options: str) -> list[dict[str, Any]]:
        """The streams or series of an answer."""
        try:
            response = self._session.get(
                f"{self._url}/loki/api/v1/query_range",
                params={"query": query, "start": str(_nanoseconds(since)), "end": str(_nanoseconds(until)), **options},
                timeout=self._timeout,
            )
            if response.status_code != 200:
                raise SourceError(f"it answered {response.status_code}: {response.text.strip()[:200]}")
            streams: list[dict[str, Any]] = response.json()["data"]["result"]
            return streams
        except requests.RequestException as error:
            raise SourceError(f"no answer from {self._url} ({type(error).__name__})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"its answer is not Loki's ({type(error).__name__})") from error


def quiet_spans(
    heard: Iterable[datetime], since: datetime, until: datetime, quiet: timedelta
) -> list[tuple[datetime, datetime]]:
    """Between which two moments nothing was heard for longer than `quiet`; the edges count as heard."""
    return [(before, after) for before, after in pairwise([since, *sorted(heard), until]) if after - before > quiet]


def ordered(lines: Iterable[Line]) -> list[Line]:
    """Each once, in an order that only the lines decide."""
    return sorted(
        {(each.at, each.job, each.text): each for each in lines}.values(),
        key=lambda each: (each.at, each.get("pg_session_id"), int(each.get("pg_line") or 0), each.job, each.text),
    )


def _line(stream: dict[str, str], value: list[str]) -> Line:
    at = datetime.fromtimestamp(int(value[0]) // 1000 / 1e6, UTC)
    return Line(at, stream.get("job", ""), {k: str(v) for k, v in stream.items() if k not in _LABELS}, value[1])


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
