"""Flows and formats -> programs in Vector's Remap language (VRL): take an envelope off, choose labels, lift fields.

Every program sees the line as `.message`; what it leaves is `.labels`, `.metadata` and `.timestamp`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]

# Words in capitals are filled in.
UNWRAP = """
.metadata = {}
envelope = object(parse_json(.message) ?? null) ?? {}
text = get(envelope, ["LINE"]) ?? null
if length(envelope) == 0 { .metadata.parse_error = "ENVELOPE" }
if is_string(text) { .message = text }
for_each(FIELDS) -> |field, path| {
  value = get(envelope, path) ?? null
  if is_string(value) && value != "" { .metadata = set!(.metadata, [field], value) }
}
.timestamp = TIME ?? .timestamp
"""
ENVELOPES = {
    "docker": ("log", 'parse_timestamp(envelope.time, "%+")'),
    "journald": (
        "MESSAGE",
        'from_unix_timestamp(to_int(envelope.__REALTIME_TIMESTAMP) ?? -1, unit: "microseconds")',
    ),
}
START = """
line = to_string(.message) ?? ""
metadata = object(.metadata) ?? {}
if contains(line, "\ufffd") { metadata.encoding_error = "utf8" }
if length(line) >= MAX_LINE { metadata.oversize = "true" }
REDACT
format = "FORMAT"
.labels = {"host": HOST, "job": "JOB", "log_class": "CLASS"}
"""
ROUTE = 'if CONDITION { .labels.job = "JOB"; .labels.log_class = "CLASS"; format = "FORMAT" }'
PARSE = {
    "json": "object(parse_json(line) ?? null) ?? {}",
    "pgaudit": "object(parse_json(line) ?? null) ?? {}",
    "regex": "parse_regex(line, r'PATTERN') ?? {}",
}
LIFT = """
  parsed = PARSE
  if length(parsed) == 0 { metadata.parse_error = "NAME" }
  for_each(FIELDS) -> |field, keys| {
    for_each(keys) -> |_index, key| {
      value = get(parsed, [key]) ?? null
      scalar = is_string(value) || is_integer(value) || is_float(value) || is_boolean(value)
      if scalar && value != "" && (get(metadata, [field]) ?? null) == null {
        metadata = set!(metadata, [field], to_string(value) ?? "")
      }
    }
  }
"""
DROP = '  if metadata.FIELD == "VALUE" { del(metadata.FIELD) }\n'
AUDIT = """
  row = parse_csv(replace(to_string(parsed.message) ?? "", r'^AUDIT: ', "")) ?? []
  if length(row) < COUNT {
    metadata.parse_error = "NAME"
    row = []
  }
  for_each(COLUMNS) -> |index, column| {
    value = get(row, [index]) ?? null
    if is_string(value) && value != "" && value != "<none>" { metadata = set!(metadata, [column], value) }
  }
  name = parse_regex(to_string(metadata.object_name) ?? "", r'IDENTIFIER') ?? {}
  table = to_string(get(name, ["plain"]) ?? "") ?? ""
  if table == "" { table = replace(to_string(get(name, ["quoted"]) ?? "") ?? "", "\\"\\"", "\\"") }
  if metadata.object_type == "TABLE" && table != "" { metadata.table_name = table }
"""
IDENTIFIER = r'(?:^|[.])(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^."]+))$'
WITHIN = "  metadata = merge(metadata, parse_regex(to_string(SOURCE) ?? \"\", r'PATTERN') ?? {})\n"
TIMES = {
    "unix": 'from_unix_timestamp(to_int((to_float(VALUE) ?? -1.0) * 1000.0 + 0.5), unit: "milliseconds")',
    "postgres": 'parse_timestamp(VALUE, "%Y-%m-%d %H:%M:%S%.3f UTC")',
}
END = """
time = timestamp(.timestamp) ?? now()
age = to_unix_timestamp(now()) - to_unix_timestamp(time)
if age > BEHIND || age < -AHEAD {
  metadata.event_time = format_timestamp!(time, "%Y-%m-%dT%H:%M:%SZ")
  .timestamp = now()
}
.metadata = {}
for_each(metadata) -> |field, value| {
  limit = SHORT
  if includes(LONG_FIELDS, field) { limit = LONG }
  text = to_string(value) ?? ""
  characters = limit
  if strlen(text) != length(text) { characters = to_int(limit / 4) }
  if length(text) > limit { text = truncate(text, characters) }
  .metadata = set!(.metadata, [field], text)
}
"""


def vrl_programs(flows: Iterable[JSON], formats: JSON, settings: JSON) -> dict[str, dict[str, str]]:
    """For each flow the program that takes its envelope off, if it has one, and the program that lifts its fields."""
    return {flow["name"]: {"unwrap": _unwrap(flow), "fields": _fields(flow, formats, settings)} for flow in flows}


def _unwrap(flow: JSON) -> str:
    if flow["envelope"] == "none":
        return ""
    line, time = ENVELOPES[flow["envelope"]]
    paths = {field: key.split(".") for field, key in flow["envelope_fields"].items()}
    program = UNWRAP.replace("FIELDS", json.dumps(paths)).replace("ENVELOPE", flow["envelope"])
    return program.replace("LINE", line).replace("TIME", time).strip()


def _fields(flow: JSON, formats: JSON, settings: JSON) -> str:
    *routes, rest = flow["routes"]
    start = START.replace("MAX_LINE", str(settings["max_line_bytes"])).replace("HOST", json.dumps(settings["host"]))
    redact = f'line = replace(line, {_regex(settings["redacted"])}, "[redacted]")\n.message = line'
    start = start.replace("REDACT\n", f"{redact}\n" if settings["redacted"] else "")
    chosen = " else ".join(_labelled(ROUTE.replace("CONDITION", _condition(route["when"])), route) for route in routes)
    used = sorted({route["format"] for route in flow["routes"] if formats[route["format"]]["parser"] != "none"})
    lifts = [f'if format == "{name}" {{{_lift(name, formats[name])}}}' for name in used]
    end = END.replace("LONG_FIELDS", json.dumps(settings["limits"]["long_fields"]))
    for word, value in (
        ("BEHIND", settings["clock_behind_seconds"]),
        ("AHEAD", settings["clock_ahead_seconds"]),
        ("SHORT", settings["limits"]["short"]),
        ("LONG", settings["limits"]["long"]),
    ):
        end = end.replace(word, str(value))
    return "\n".join(part.strip() for part in (_labelled(start, rest), chosen, *lifts, end) if part)


def _labelled(text: str, route: JSON) -> str:
    return text.replace("JOB", route["job"]).replace("CLASS", route["log_class"]).replace("FORMAT", route["format"])


def _condition(when: Mapping[str, str]) -> str:
    def one(key: str, pattern: str) -> str:
        if key == "line":
            return f"match(line, {_regex(pattern)})"
        return f'match(to_string(metadata.{key}) ?? "", {_regex(f"^(?:{pattern})$")})'

    return " && ".join(one(*item) for item in when.items())


def _lift(name: str, form: JSON) -> str:
    parse = PARSE[form["parser"]].replace("r'PATTERN'", _regex(form["pattern"]))
    program = LIFT.replace("PARSE", parse).replace("NAME", name).replace("FIELDS", json.dumps(form["fields"]))
    if form["time"]:
        value = TIMES[form["time"]["layout"]].replace("VALUE", f"parsed.{form['time']['key']}")
        program += f"  .timestamp = {value} ?? .timestamp\n"
    for field, value in form["drop"].items():
        program += DROP.replace("FIELD", field).replace("VALUE", value)
    if form["columns"]:
        audit = AUDIT.replace("COUNT", str(len(form["columns"]) - 1)).replace("COLUMNS", json.dumps(form["columns"]))
        program += audit.replace("NAME", name).replace("IDENTIFIER", IDENTIFIER)
    for rule in form["within"]:
        source = f"{'metadata' if rule['lifted'] else 'parsed'}.{rule['source']}"
        program += WITHIN.replace("SOURCE", source).replace("r'PATTERN'", _regex(rule["pattern"]))
    return program


def _regex(pattern: str) -> str:
    return "r'" + pattern.replace("'", "\\'") + "'"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"vrl_programs": vrl_programs}
