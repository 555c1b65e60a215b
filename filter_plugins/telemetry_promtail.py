"""Flows -> configuration of Promtail, for hosts that still have it: the same labels and metadata as from the collector.

Here the envelope is taken off, the labels are chosen and the fields are bounded; the stages that lift the fields of a
format come from telemetry_stages.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]
Stage = dict[str, Any]

GO_TIME = "2006-01-02T15:04:05.999999999Z07:00"
POSTGRES_TIME = "2006-01-02 15:04:05.000 UTC"
LAYOUTS = {"unix": "Unix", "postgres": POSTGRES_TIME, "journald": "UnixUs"}
# Templates; words in capitals are filled in. The seconds since the epoch of the extracted value `at`:
SECONDS = {
    "docker": f'(toDate "{GO_TIME}" .at).Unix',
    "postgres": f'(toDate "{POSTGRES_TIME}" .at).Unix',
    "journald": "(div (int64 .at) 1000000)",
    "unix": "(float64 .at)",
}
NOW = '{{ (now).UTC.Format "' + GO_TIME + '" }}'
WRONG_TIME = (
    "{{ if .at }}{{ $s := int64 (SECONDS) }}"
    "{{ if and (gt $s 0) (or (gt $s (add (now).Unix AHEAD)) (lt $s (sub (now).Unix BEHIND))) }}"
    '{{ dateInZone "2006-01-02T15:04:05Z" $s "UTC" }}{{ end }}{{ end }}'
)
PIECE = (
    '{{ if .log }}{{ .at }} {{ .stream }} {{ if hasSuffix "\\n" .log }}F{{ else }}P{{ end }} '
    '{{ .log | trimSuffix "\\n" | trimSuffix "\\r" }}{{ end }}'
)
REPAIRED = "{{ regexReplaceAllLiteral `\\x{FFFD}` .Entry `\ufffd` }}"
OVERSIZE = "{{ if ge (len .Entry) LIMIT }}true{{ end }}"
# Cut at the limit, and again where that left half a character.
BOUND = (
    r'{{ with .FIELD }}{{ if gt (len .) LIMIT }}{{ regexReplaceAll `\x{FFFD}+$` (trunc LIMIT .) "" }}'
    "{{ else }}{{ . }}{{ end }}{{ end }}"
)
ENVELOPE_KEYS = {"docker": {"log": "log", "at": "time"}, "journald": {"log": "MESSAGE", "at": "__REALTIME_TIMESTAMP"}}
SCALAR = "(type(@)=='string' && @!='') || type(@)=='number' || type(@)=='boolean'"


def promtail_config(
    flows: Iterable[JSON], formats: JSON, stages: Mapping[str, list[Stage]], settings: JSON
) -> dict[str, Any]:
    """The whole configuration; `stages` of each format, `settings` is __loki_stack_shipper_settings."""
    chosen = {name: [*stages[name], *_format_time(form, settings)] for name, form in formats.items()}
    names = {name: form["names"] for name, form in formats.items()}
    client: dict[str, Any] = {
        "url": settings["push_url"].rstrip("/") + "/loki/api/v1/push",
        "batchwait": "200ms",
        "batchsize": settings["max_line_bytes"],
        "timeout": "30s",
        "backoff_config": {
            "min_period": "500ms",
            "max_period": settings["retry_max_interval"],
            "max_retries": 0,  # without end
        },
    }
    if settings["push_url"].startswith("https:"):
        client["tls_config"] = {f"{key}_file": path for key, path in settings["tls"].items()}
    return {
        "server": {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": settings["promtail_port"],
            "grpc_listen_address": "127.0.0.1",
            "grpc_listen_port": 0,
            "log_level": "warn",
        },
        "positions": {"filename": settings["data_directory"] + "/positions.yaml", "sync_period": "1s"},
        "clients": [client],
        "limits_config": {"max_line_size": 4 * settings["max_line_bytes"], "max_line_size_truncate": True},
        "target_config": {"sync_period": "2s"},
        "scrape_configs": [_scrape(flow, names, chosen, settings) for flow in flows],
    }


def _scrape(flow: JSON, names: JSON, stages: Mapping[str, list[Stage]], settings: JSON) -> dict[str, Any]:
    fields = {field for route in flow["routes"] for field in names[route["format"]]}
    bounded = sorted(fields | set(flow["envelope_fields"]))
    filename = ["filename"] if flow["filename"] else []
    return {
        "job_name": flow["name"],
        # Renamed files are left out: positions are kept by path, so each rotation would ship the old file again.
        "static_configs": [
            {"targets": ["localhost"], "labels": {"__path__": path, "host": settings["host"]}} for path in flow["paths"]
        ],
        "pipeline_stages": [
            *(_unwrap(flow, settings) if flow["envelope"] != "none" else []),
            *_whole_line(settings),
            *_routes(flow["routes"], stages, settings),
            *(_template(field, _bound(field, settings["limits"])) for field in bounded),
            {"structured_metadata": dict.fromkeys([*bounded, *filename, *settings["marks"]], "")},
            {"labeldrop": ["filename", "stream", "flow_route", *flow["envelope_fields"]]},
        ],
    }


def _unwrap(flow: JSON, settings: JSON) -> list[Stage]:
    """Take off what dockerd or journald wrapped around the line; what cannot be unwrapped stays as it is."""
    envelope = flow["envelope"]
    keys = {**flow["envelope_fields"], **ENVELOPE_KEYS[envelope]}
    expressions = {"enveloped": "type(@)", **{name: _scalar(key) for name, key in keys.items()}}
    labels: Stage = {"labels": dict.fromkeys(flow["envelope_fields"], "")}
    broken = "{{ if not .enveloped }}" + envelope + "{{ end }}"
    unwrap = _docker_line if envelope == "docker" else _journald_line
    return [{"json": {"expressions": expressions}}, _template("parse_error", broken), *unwrap(settings), labels]


def _docker_line(settings: JSON) -> list[Stage]:
    """Docker cuts a line after 16 kB. The cri stage joins pieces, so each is rewritten to what that stage reads."""
    return [
        *_clock(SECONDS["docker"], NOW, settings),
        _template("piece", PIECE),
        {"output": {"source": "piece"}},
        {"cri": {"max_partial_lines": 1000}},
    ]


def _journald_line(settings: JSON) -> list[Stage]:
    return [*_event_time("journald", settings), {"output": {"source": "log"}}]


def _event_time(layout: str, settings: JSON) -> list[Stage]:
    stamp = {"source": "at", "format": LAYOUTS[layout], "action_on_failure": "skip"}
    return [*_clock(SECONDS[layout], "", settings), {"timestamp": stamp}]


def _format_time(form: JSON, settings: JSON) -> list[Stage]:
    return _event_time(form["time"]["layout"], settings) if form["time"] else []


def _clock(seconds: str, fallback: str, settings: JSON) -> list[Stage]:
    """A time that Loki would refuse gives way to the time of reading, and stays visible as event_time."""
    wrong = WRONG_TIME.replace("SECONDS", seconds).replace("AHEAD", str(settings["clock_ahead_seconds"]))
    return [
        _template("event_time", wrong.replace("BEHIND", str(settings["clock_behind_seconds"]))),
        _template("at", "{{ if .event_time }}" + fallback + "{{ else if .at }}{{ .at }}{{ end }}"),
    ]


def _whole_line(settings: JSON) -> list[Stage]:
    """What is true of a line whatever its format. In a regular expression an invalid byte is U+FFFD, too."""
    line = f'{{host="{settings["host"]}"}}'
    redact = {"replace": {"expression": f"({settings['redacted']})", "replace": "[redacted]"}}
    repair = [_template("encoding_error", "utf8"), _template("line", REPAIRED), {"output": {"source": "line"}}]
    return [
        {"replace": {"expression": "(\\r)$", "replace": ""}},
        {"match": {"selector": f'{line} !~ "(?s)."', "action": "drop", "drop_counter_reason": "empty"}},
        {"match": {"selector": f'{line} |~ "\\\\x{{FFFD}}"', "stages": repair}},
        _template("oversize", OVERSIZE.replace("LIMIT", str(settings["max_line_bytes"]))),
        *([redact] if settings["redacted"] else []),
    ]


def _routes(routes: list[JSON], stages: Mapping[str, list[Stage]], settings: JSON) -> list[Stage]:
    """The first route that matches leaves its number in a label, which later selectors look at."""
    host = f'host="{settings["host"]}"'
    if len(routes) == 1:
        return _labelled(routes[0], stages)
    found = []
    for number, route in enumerate(routes):
        tests = "".join(f", {key}=~{json.dumps(one)}" for key, one in route["when"].items() if key != "line")
        line = f" |~ {json.dumps(route['when']['line'])}" if "line" in route["when"] else ""
        selector = f'{{{host}, flow_route=""{tests}}}{line}'
        found.append({"match": {"selector": selector, "stages": [{"static_labels": {"flow_route": str(number)}}]}})
    chosen = [
        {"match": {"selector": f'{{{host}, flow_route="{number}"}}', "stages": _labelled(route, stages)}}
        for number, route in enumerate(routes)
    ]
    return [*found, *chosen]


def _labelled(route: JSON, stages: Mapping[str, list[Stage]]) -> list[Stage]:
    labels = {"job": route["job"], "log_class": route["log_class"]}
    return [{"static_labels": labels}, *stages[route["format"]]]


def _bound(field: str, limits: JSON) -> str:
    limit = limits["long" if field in limits["long_fields"] else "short"]
    return BOUND.replace("FIELD", field).replace("LIMIT", str(limit))


def _scalar(key: str) -> str:
    return f"[{key}][?{SCALAR}] | [0]"


def _template(source: str, template: str) -> Stage:
    return {"template": {"source": source, "template": template}}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"promtail_config": promtail_config}
