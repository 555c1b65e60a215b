"""Jaeger, where there is one: what the traced services say about the request."""

from __future__ import annotations

import re
from typing import Any

import requests

from whodunit.config import Config
from whodunit.model import Span
from whodunit.sources import SourceError

_TRACE = re.compile(r"[0-9a-f]{32}")


class Jaeger:
    def __init__(self, config: Config) -> None:
        self._url = config.jaeger_url.rstrip("/")
        self._timeout = config.timeout_seconds

    def spans(self, trace: str) -> list[Span]:
        """The trace's spans in order of their start; none when Jaeger has no such trace."""
        if not _TRACE.fullmatch(trace):
            return []
        try:
            response = requests.get(f"{self._url}/api/traces/{trace}", timeout=self._timeout)
            if response.status_code == 404:
                return []
            if response.status_code != 200:
                raise SourceError(f"it answered {response.status_code}")
            found = response.json()["data"][0]
            spans = sorted(found["spans"], key=lambda span: (span["startTime"], span["spanID"]))
            return [_span(trace, each, found["processes"], spans[0]["startTime"]) for each in spans]
        except requests.RequestException as error:
            raise SourceError(f"no answer from {self._url} ({type(error).__name__})") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise SourceError(f"its answer is not Jaeger's ({type(error).__name__})") from error


def _span(trace: str, each: dict[str, Any], processes: dict[str, Any], first: int) -> Span:
    """Jaeger's own form has microseconds."""
    parents = [ref["spanID"] for ref in each.get("references") or [] if ref.get("refType") == "CHILD_OF"]
    tags = {tag["key"]: tag["value"] for tag in each.get("tags") or []}
    return Span(
        trace,
        str(each["spanID"]),
        str(parents[0]) if parents else "",
        str(processes[each["processID"]]["serviceName"]),
        str(each["operationName"]),
        (each["startTime"] - first) / 1000,
        each["duration"] / 1000,
        str(tags.get("db.statement") or tags.get("db.query.text") or ""),
    )
