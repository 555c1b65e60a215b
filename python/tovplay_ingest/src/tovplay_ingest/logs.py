"""The log lines of a session, asked from Loki: those that carry its id, and those of the traces found with them."""

from __future__ import annotations

import re
import time
from typing import Any

import requests

_LIMIT = 1000
_TRACES = 60
_SECONDS = 10


class LogsError(Exception):
    """Loki gave no answer; the message is fit for the page."""


class Logs:
    """Questions to one Loki; nothing is asked when there is none."""

    def __init__(self, url: str, hours: int) -> None:
        self._url = url.rstrip("/")
        self._hours = hours

    def of_session(self, session: str) -> list[dict[str, str]]:
        """Lines in the order of time: {time (ms), job, level, user_id, correlation_id, trace_id, line}."""
        if not self._url:
            return []
        found = self._lines(f'{{job=~"frontend|nginx|flask-api"}} | browser_session_id="{session}"')
        known = {line["trace_id"] for line in found if re.fullmatch("[0-9a-f]{32}", line["trace_id"])}
        traces = sorted(known)[:_TRACES]
        if traces:
            found += self._lines(f'{{job=~"nginx|flask-api|postgres|postgres-audit"}} | trace_id=~"{"|".join(traces)}"')
        unique = {(line["time"], line["job"], line["line"]): line for line in found}
        return sorted(unique.values(), key=lambda line: float(line["time"]))

    def users(self) -> dict[str, list[str]]:
        """Who was logged in, by session, as nginx saw it."""
        return self._counts('{job="nginx"} | browser_session_id!="" | user_id!=""', "user_id")

    def errors(self) -> dict[str, list[str]]:
        """Kinds of errors, by session."""
        return self._counts('{job="frontend", log_class="application"} | error_type!=""', "error_type")

    def _counts(self, selector: str, name: str) -> dict[str, list[str]]:
        if not self._url:
            return {}
        query = f"sum by (browser_session_id, {name}) (count_over_time({selector} [{self._hours}h]))"
        found: dict[str, list[str]] = {}
        for series in self._ask("query", {"query": query})["data"]["result"]:
            found.setdefault(series["metric"].get("browser_session_id", ""), []).append(series["metric"].get(name, ""))
        return {session: sorted(values) for session, values in found.items()}

    def _lines(self, query: str) -> list[dict[str, str]]:
        now = time.time()
        parameters = {
            "query": query,
            "limit": str(_LIMIT),
            "start": f"{now - self._hours * 3600:.0f}",
            "end": f"{now + 60:.0f}",
            "direction": "forward",
        }
        names = ("job", "level", "action", "user_id", "correlation_id", "trace_id", "http_status", "statement")
        return [
            {
                **{name: stream["stream"].get(name, "") for name in names},
                "time": str(int(at) // 1_000_000),
                "line": line[:4000],
            }
            for stream in self._ask("query_range", parameters)["data"]["result"]
            for at, line in stream["values"]
        ]

    def _ask(self, what: str, parameters: dict[str, str]) -> Any:
        try:
            answer = requests.get(f"{self._url}/loki/api/v1/{what}", params=parameters, timeout=_SECONDS)
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            name = type(error).__name__
            raise LogsError(f"Loki gave no answer ({name}); the recording is complete without it.") from error
