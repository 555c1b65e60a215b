"""The golden log as a shipper would hand it to Loki.

A file is named like a source of group_vars/all/flows.yml, for containers with the container's name: its lines pass
the very routes and fields that the shippers are rendered from.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from filter_plugins.telemetry import log_flows, log_formats

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
HOST = "tovplay-prod"


@dataclass(frozen=True)
class Entry:
    """One line: what Loki gets, and which queries must find it."""

    file: str
    number: int
    labels: Mapping[str, str]
    metadata: Mapping[str, str]
    line: str
    at: datetime
    answers: frozenset[str]
    why: str

    @property
    def nanoseconds(self) -> str:
        # Lines of one daemon may share a millisecond; the number keeps them apart and in order.
        return str(round(self.at.timestamp() * 1000) * 10**6 + self.number)


def entries() -> list[Entry]:
    return [entry for path in sorted(FOLDER.glob("*.log")) for entry in _entries(path)]


def _entries(path: Path) -> Iterator[Entry]:
    source, _, container = path.stem.partition(".")
    answers, why = frozenset(), ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if line.startswith("#: "):
            marks, _, why = line.removeprefix("#: ").partition(" | ")
            answers = frozenset(marks.split(",")) - {"-"}
        elif not line.startswith("# "):
            route, found = read(source, container, line)
            labels = {"job": route["job"], "host": HOST, "log_class": route["log_class"]}
            metadata = {**({"container": container} if container else {}), **found}
            yield Entry(path.name, number, labels, metadata, redacted(line), _moment(line), answers, why)


def read(source: str, container: str, line: str, stream: str = "stdout") -> tuple[Mapping[str, Any], dict[str, str]]:
    """The route that a line takes, and its fields."""
    route = _route(_flow(source), {"container": container, "line": line, "stream": stream})
    return route, fields(redacted(line), _formats()[route["format"]])


def redacted(line: str) -> str:
    """The line as it leaves the host: by the role's own patterns, which RE2 and Python read alike."""
    return _redactions().sub("[redacted]", line)


@cache
def _redactions() -> re.Pattern[str]:
    defaults = yaml.safe_load((ROOT / "roles/loki_stack/defaults/main/shipper.yml").read_text(encoding="utf-8"))
    return re.compile("|".join(defaults["loki_stack_redactions"]))


@cache
def _role() -> dict[str, Any]:
    files = (ROOT / "roles/loki_stack/vars/main").glob("*.yml")
    return {name: value for path in files for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


@cache
def _formats() -> dict[str, Any]:
    return log_formats(_role()["__loki_stack_formats"])


@cache
def _flow(name: str) -> Mapping[str, Any]:
    sources = yaml.safe_load((ROOT / "group_vars/all/flows.yml").read_text(encoding="utf-8"))["telemetry_log_sources"]
    flows = log_flows(sources, _role()["__loki_stack_formats"], _role()["__loki_stack_envelopes"])
    return next(flow for flow in flows if flow["name"] == name)


def _route(flow: Mapping[str, Any], seen: Mapping[str, str]) -> Mapping[str, Any]:
    """The first route of which every pattern fits; `line` is searched in, the rest must fit as a whole."""
    return next(
        route
        for route in flow["routes"]
        if all(
            re.search(pattern, seen["line"]) if key == "line" else re.fullmatch(pattern, seen.get(key, ""))
            for key, pattern in route["when"].items()
        )
    )


def _moment(line: str) -> datetime:
    day, time = re.search(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)", line).groups()
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC)


def fields(line: str, form: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of a line, as roles/loki_stack/vars/main/formats.yml and docs/fields.md describe it."""
    values = _parsed(line, form)
    if values is None:
        return {"parse_error": "json"}
    found = {name: _first(values, keys) for name, keys in form["fields"].items()}
    if form["parser"] == "pgaudit":
        row = next(csv.reader([values["message"].removeprefix("AUDIT: ")]))
        found |= {name: value for name, value in zip(form["columns"], row, strict=False) if value != "<none>"}
        if found["object_type"] == "TABLE":
            found["table_name"] = re.search(r"[^.]*$", found["object_name"]).group().strip('"')
    for rule in form["within"]:
        text = found.get(rule["source"], "") if rule["lifted"] else _text(values.get(rule["source"]))
        if match := re.search(rule["pattern"], text):
            found |= {name: value for name, value in match.groupdict().items() if value}
    return {name: value for name, value in found.items() if value and form["drop"].get(name) != value}


def _parsed(line: str, form: Mapping[str, Any]) -> dict[str, Any] | None:
    if form["parser"] in ("json", "pgaudit"):
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            return None
        return values if isinstance(values, dict) else None
    if form["parser"] == "regex" and (match := re.search(form["pattern"].strip(), line)):
        return match.groupdict()
    return {}


def _first(values: Mapping[str, Any], keys: list[str]) -> str:
    return next((text for key in keys if (text := _text(values.get(key)))), "")


def _text(value: Any) -> str:
    """As it stands in the line; a list or an object never becomes a field."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
