"""Flows and formats -> statements of the collector's transform processor.

A statement that cannot apply (no such key, not a number) leaves the line as it is; `parse_error` tells when a line was
not what its format says. Keys of a line reach a record only through the fixed list of their format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]

PARSED = 'log.cache["parsed"]'
# The last part of a qualified name: plain, or quoted with doubled quotes inside.
IDENTIFIER = r'(?:^|[.])(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^."]+))$'


def ottl_statements(flows: Iterable[JSON], formats: JSON, settings: JSON) -> list[dict[str, Any]]:
    """Groups of statements: marks for every line, one group for each format in use, then the bounds."""
    flows = list(flows)
    used = sorted({route["format"] for flow in flows for route in flow["routes"]})
    names = {field for flow in flows for field in flow["envelope_fields"]} | {"filename", *settings["marks"]}
    redact = f'replace_pattern(log.body, {_quote(settings["redacted"])}, "[redacted]")'
    marks = [
        f'set({_field("encoding_error")}, "utf8") where IsMatch(log.body.string, {_quote(chr(0xFFFD))})',
        # Before secrets go, since their marks are shorter: a line that was cut must not look whole.
        f'set({_field("oversize")}, "true") where Len(log.body.string) >= {settings["max_line_bytes"]}',
        *([redact] if settings["redacted"] else []),
    ]
    groups = [
        {
            "context": "log",
            "conditions": [f"{_field('flow_format')} == {_quote(name)}"],
            "statements": _format(name, formats[name]),
        }
        for name in used
        if formats[name]["parser"] != "none"
    ]
    bounds = _bounds(names.union(*(formats[name]["names"] for name in used)), settings)
    return [{"context": "log", "statements": marks}, *groups, {"context": "log", "statements": bounds}]


def _format(name: str, form: JSON) -> list[str]:
    if form["parser"] == "regex":
        parse, found = f"ExtractPatterns(log.body.string, {_quote(form['pattern'])})", f"Len({PARSED}) > 0"
    else:
        parse, found = "ParseJSON(log.body.string)", f"IsMap({PARSED})"
    return [
        f"set({_field('parse_error')}, {_quote(name)})",
        f"set({PARSED}, {parse})",
        f'delete_key(log.attributes, "parse_error") where {found}',
        *(_time(form["time"]) if form["time"] else []),
        *(line for field, keys in form["fields"].items() for line in _lift(field, keys)),
        *(line for field, value in form["drop"].items() for line in _drop(field, value)),
        *(_audit(name, form["columns"]) if form["columns"] else []),
        *(line for rule in form["within"] for line in _within(rule)),
    ]


def _lift(field: str, keys: list[str]) -> list[str]:
    """Only text, numbers and truth values; never a map, whose keys would become names of their own."""
    statements = []
    for number, key in enumerate(keys):
        value = f'{PARSED}["{key}"]'
        free = f" and {_field(field)} == nil" if number else ""
        statements.append(
            f"set({_field(field)}, {value}) where {_filled(value)} and not IsMap({value}) and not IsList({value}){free}"
        )
    return statements


def _drop(field: str, value: str) -> list[str]:
    return [
        f'delete_key(log.attributes, "{field}") where {_field(field)} == {_quote(value)} or {_field(field)} == {value}'
    ]


def _time(time: Mapping[str, str]) -> list[str]:
    value = f'{PARSED}["{time["key"]}"]'
    if time["layout"] == "unix":
        return [f"set(log.time_unix_nano, Int(Double({value}) * 1000 + 0.5) * 1000000)"]
    return [f'set(log.time, Time({value}, "%Y-%m-%d %H:%M:%S.%L UTC", "UTC"))']


def _within(rule: JSON) -> list[str]:
    source = _field(rule["source"]) if rule["lifted"] else f'{PARSED}["{rule["source"]}"]'
    pattern = _quote(rule["pattern"])
    return [
        f'set(log.cache["within"], ExtractPatterns({source}, {pattern})) where IsMatch({source}, {pattern})',
        *(_copied(_field(name), f'log.cache["within"]["{name}"]') for name in rule["names"]),
        'delete_key(log.cache, "within")',
    ]


def _audit(name: str, columns: list[str]) -> list[str]:
    """pgaudit's CSV, read by a CSV reader, because its fields hold newlines and doubled quotes."""
    row, table = 'log.cache["row"]', 'log.cache["table"]'
    text = f'TrimPrefix({PARSED}["message"], "AUDIT: ")'
    statements = [
        f"set({row}, ParseCSV({text}, {_quote(','.join(columns[:-1]))}))",
        f"set({row}, ParseCSV({text}, {_quote(','.join(columns))})) where {row} == nil",
        f"set({_field('parse_error')}, {_quote(name)}) where {row} == nil",
    ]
    for column in columns:
        value = f'{row}["{column}"]'
        statements.append(f'{_copied(_field(column), value)} and {value} != "<none>"')
    of_table = f'{_field("object_type")} == "TABLE"'
    return [
        *statements,
        f"set({table}, ExtractPatterns({_field('object_name')}, {_quote(IDENTIFIER)})) where {of_table}",
        _copied(_field("table_name"), f'{table}["plain"]'),
        _copied(_field("table_name"), f'{table}["quoted"]'),
        f"replace_pattern({_field('table_name')}, {_quote(chr(34) * 2)}, {_quote(chr(34))})",
    ]


def _bounds(names: set[str], settings: JSON) -> list[str]:
    """Nothing but the dictionary's names, none longer than Loki accepts, and a time that Loki accepts."""
    short, long = settings["limits"]["short"], settings["limits"]["long"]
    kept = [f'log.cache["{name}"]' for name in sorted(settings["limits"]["long_fields"]) if name in names]
    ahead, behind = settings["clock_ahead_seconds"], settings["clock_behind_seconds"]
    wrong = (
        f'log.time - log.observed_time > Duration("{ahead}s") or log.observed_time - log.time > Duration("{behind}s")'
    )
    return [
        f"keep_keys(log.attributes, {json.dumps(sorted(names))})",
        *(_copied(cell, cell.replace("cache", "attributes")) for cell in kept),
        *(f"set({cell}, Substring({cell}, 0, {long}, true)) where Len({cell}) > {long}" for cell in kept),
        f"truncate_all(log.attributes, {short})",
        *(_copied(cell.replace("cache", "attributes"), cell) for cell in kept),
        "set(log.time, log.observed_time) where log.time_unix_nano == 0",
        f'set({_field("event_time")}, FormatTime(log.time, "%Y-%m-%dT%H:%M:%SZ")) where {wrong}',
        f"set(log.time, log.observed_time) where {_field('event_time')} != nil",
        "set(log.observed_time_unix_nano, 0)",
    ]


def _copied(target: str, value: str) -> str:
    return f"set({target}, {value}) where {_filled(value)}"


def _filled(value: str) -> str:
    return f'{value} != nil and {value} != ""'


def _field(name: str) -> str:
    return f'log.attributes["{name}"]'


def _quote(text: str) -> str:
    """A string of OTTL; its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"ottl_statements": ottl_statements}
