"""Formats -> Promtail's pipeline stages that lift their fields; beyond Promtail's means is only a CSV reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]
Stage = dict[str, Any]

SCALAR = "(type(@)=='string' && @!='') || type(@)=='number' || type(@)=='boolean'"
# Words in capitals are filled in. One column of a CSV record is bare, or quoted with doubled quotes inside.
COLUMN = '(?P<NAME>"(?:[^"]|"")*"|[^,"]*)'
UNQUOTE = (
    '{{ if hasPrefix "\\"" $v }}{{ $v | trimPrefix "\\"" | trimSuffix "\\"" | replace "\\"\\"" "\\"" }}'
    "{{ else }}{{ $v }}{{ end }}"
)
UNQUOTED = '{{ with $v := .FIELD }}{{ if ne $v "<none>" }}' + UNQUOTE + "{{ end }}{{ end }}"
LAST_PART = '^(?:.*[.])?(\\"(?:[^\\"]|\\"\\")+\\"|[^.\\"]+)$'
TABLE_NAME = (
    '{{ if and .object_name (eq (default "" .object_type) "TABLE") }}'
    '{{ $v := regexReplaceAll "' + LAST_PART + '" .object_name "${1}" }}' + UNQUOTE + "{{ end }}"
)
PARSE_ERROR = "{{ if .parsed }}{{ with .parse_error }}{{ . }}{{ end }}{{ else }}NAME{{ end }}"
DROPPED = '{{ with .FIELD }}{{ if ne . "VALUE" }}{{ . }}{{ end }}{{ end }}'


def promtail_stages(formats: JSON) -> dict[str, list[Stage]]:
    """For each format the stages that fill its fields."""
    return {name: _stages(name, form) for name, form in formats.items()}


def _stages(name: str, form: JSON) -> list[Stage]:
    if form["parser"] == "none":
        return []
    if form["parser"] == "regex":
        parse: Stage = {"regex": {"expression": f"(?P<parsed>{form['pattern']})"}}
    else:
        parse = {"json": {"expressions": _expressions(form)}}
    return [
        parse,
        _template("parse_error", PARSE_ERROR.replace("NAME", name)),
        *(
            _template(field, DROPPED.replace("FIELD", field).replace("VALUE", one))
            for field, one in form["drop"].items()
        ),
        *(_audit(name, form["columns"]) if form["columns"] else []),
        *({"regex": {"source": _source(rule), "expression": rule["pattern"]}} for rule in form["within"]),
    ]


def _source(rule: JSON) -> str:
    return str(rule["source"] if rule["lifted"] else f"raw_{rule['source']}")


def _expressions(form: JSON) -> dict[str, str]:
    keys = {**form["fields"], **{_source(rule): [rule["source"]] for rule in form["within"] if not rule["lifted"]}}
    if form["columns"]:
        keys["raw_message"] = ["message"]
    if form["time"]:
        keys["at"] = [form["time"]["key"]]
    return {"parsed": "type(@)", **{name: f"[{', '.join(some)}][?{SCALAR}] | [0]" for name, some in keys.items()}}


def _audit(name: str, columns: list[str]) -> list[Stage]:
    record = ",".join(COLUMN.replace("NAME", column) for column in columns[:-1])
    pattern = f"(?s)^AUDIT: (?P<audited>{record}(?:,(?P<{columns[-1]}>\\d*))?)$"
    return [
        {"regex": {"source": "raw_message", "expression": pattern}},
        _template("parse_error", "{{ if not .audited }}" + name + "{{ end }}"),
        *(_template(column, UNQUOTED.replace("FIELD", column)) for column in columns),
        _template("table_name", TABLE_NAME),
    ]


def _template(source: str, template: str) -> Stage:
    return {"template": {"source": source, "template": template}}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"promtail_stages": promtail_stages}
