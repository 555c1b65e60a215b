"""Flows -> configuration of the OpenTelemetry Collector.

Two stages: receivers take the envelope off and choose the labels, which only a resource can carry; then one transform
processor lifts the fields (its statements come from telemetry_ottl.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]
Operator = dict[str, Any]

ENVELOPE_TIME = {
    "docker": ("time", {"layout_type": "gotime", "layout": "2006-01-02T15:04:05.999999999Z07:00"}),
    "journald": ("__REALTIME_TIMESTAMP", {"layout_type": "epoch", "layout": "us"}),
}
ENVELOPE_LINE = {"docker": "log", "journald": "MESSAGE"}


def otelcol_config(flows: Iterable[JSON], statements: list[JSON], settings: JSON) -> dict[str, Any]:
    """The whole configuration; `settings` is __loki_stack_shipper_settings of the role."""
    receivers = {f"file_log/{flow['name']}": _receiver(flow, settings) for flow in flows}
    config = {
        "extensions": _extensions(settings),
        "receivers": receivers,
        "processors": {"transform": {"error_mode": "silent", "log_statements": statements}},
        "exporters": {"otlp_http": _exporter(settings)},
        "service": {
            "extensions": ["file_storage/positions", "file_storage/queue", "health_check"],
            "telemetry": {
                "logs": {"level": "warn", "encoding": "json"},
                "metrics": {"readers": [{"pull": {"exporter": {"prometheus": settings["otelcol_metrics"]}}}]},
            },
            "pipelines": {
                "logs": {"receivers": list(receivers), "processors": ["transform"], "exporters": ["otlp_http"]}
            },
        },
    }
    return {section: _escape(content) for section, content in config.items()}


def _escape(value: Any) -> Any:
    """The collector expands ${...} in every string of its configuration; ours mean what they say."""
    if isinstance(value, Mapping):
        return {key: _escape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escape(one) for one in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _extensions(settings: JSON) -> dict[str, Any]:
    storage = {"create_directory": True, "fsync": settings["fsync"], "recreate": True}
    data = settings["data_directory"]
    compaction = {"directory": f"{data}/queue", "on_rebound": True, "cleanup_on_start": True}
    return {
        "file_storage/positions": {**storage, "directory": f"{data}/positions"},
        "file_storage/queue": {**storage, "directory": f"{data}/queue", "compaction": compaction},
        "health_check": {"endpoint": settings["otelcol_health"]},
    }


def _exporter(settings: JSON) -> dict[str, Any]:
    url, line = settings["push_url"], settings["max_line_bytes"]
    exporter: dict[str, Any] = {
        "endpoint": url.rstrip("/") + "/otlp",
        "timeout": "30s",
        "sending_queue": {
            "storage": "file_storage/queue",
            "sizer": "bytes",
            "queue_size": settings["queue_bytes"],
            "block_on_overflow": True,  # a full queue stops reading; the files wait on disk
            "num_consumers": 4,
            # A record over max_size would be dropped: an invalid byte grows to three, so four times a line always fits.
            "batch": {"flush_timeout": "200ms", "min_size": line, "max_size": 4 * line + 1048576},
        },
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "500ms",
            "max_interval": settings["retry_max_interval"],
            "max_elapsed_time": settings["retry_max_elapsed_time"],
        },
    }
    if url.startswith("https:"):
        exporter["tls"] = {f"{key}_file": path for key, path in settings["tls"].items()} | {"reload_interval": "1h"}
    return exporter


def _receiver(flow: JSON, settings: JSON) -> dict[str, Any]:
    filename = [_copy('attributes["log.file.path"]', "attributes.filename")] if flow["filename"] else []
    return {
        "include": [*flow["paths"], *flow["rotated"]],
        "start_at": "beginning",
        "storage": "file_storage/positions",
        "poll_interval": "200ms",
        "force_flush_period": settings["half_line_wait"],
        "max_log_size": settings["max_line_bytes"],
        "include_file_name": False,
        "include_file_path": True,
        "preserve_leading_whitespaces": True,
        "preserve_trailing_whitespaces": True,
        "retry_on_failure": {"enabled": True, "max_elapsed_time": 0},
        "operators": [
            *(_unwrap(flow, settings) if flow["envelope"] != "none" else []),
            *filename,
            {"type": "add", "field": "resource.host", "value": settings["host"]},
            *_labels(flow["routes"]),
        ],
    }


def _unwrap(flow: JSON, settings: JSON) -> list[Operator]:
    """Take off what dockerd or journald wrapped around the line; what cannot be unwrapped stays as it is."""
    envelope = flow["envelope"]
    time_key, layout = ENVELOPE_TIME[envelope]
    line = f"attributes.envelope.{ENVELOPE_LINE[envelope]}"
    fields = flow["envelope_fields"].items()
    return [
        {
            "type": "json_parser",
            "parse_to": "attributes.envelope",
            "on_error": "send_quiet",
            "timestamp": {"parse_from": f"attributes.envelope.{time_key}", **layout},
        },
        {"type": "add", "field": "attributes.parse_error", "value": envelope, "if": "attributes.envelope == nil"},
        {"type": "move", "from": line, "to": "body", "if": f'type({_safe(line)}) == "string"'},
        *(_copy(f"attributes.envelope.{key}", f"attributes.{name}") for name, key in fields),
        *(_join_pieces(settings) if envelope == "docker" else []),
        {"type": "remove", "field": "attributes.envelope", "if": "attributes.envelope != nil"},
    ]


def _join_pieces(settings: JSON) -> list[Operator]:
    """Docker cuts a line after 16 kB; its last piece ends with the newline."""
    source = '(attributes.container ?? attributes["log.file.path"]) + "/" + (attributes.stream ?? "")'
    return [
        {"type": "add", "field": "attributes.flow_piece", "value": f"EXPR({source})"},
        {
            "type": "recombine",
            "combine_field": "body",
            "combine_with": "",
            "is_last_entry": 'attributes.envelope == nil or body endsWith "\\n"',
            "source_identifier": "attributes.flow_piece",
            "max_batch_size": 0,
            "max_unmatched_batch_size": 0,
            "max_log_size": settings["max_line_bytes"],
            "force_flush_period": "5s",
        },
        {"type": "add", "field": "body", "value": 'EXPR(trimSuffix(trimSuffix(body, "\\n"), "\\r"))'},
        {"type": "filter", "expr": 'body == ""'},  # as of files: an empty line is no record
    ]


def _copy(source: str, target: str) -> Operator:
    return {"type": "copy", "from": source, "to": target, "if": f'type({_safe(source)}) == "string"'}


def _safe(path: str) -> str:
    """Optional chaining, so that a missing parent is nil and not an error."""
    return path if "[" in path else path.replace(".", "?.")


def _labels(routes: list[JSON]) -> list[Operator]:
    """job, log_class and the format; with several routes, the number of the first that matches is found once."""
    targets = {"resource.job": "job", "resource.log_class": "log_class", "attributes.flow_format": "format"}
    if len(routes) == 1:
        return [{"type": "add", "field": field, "value": routes[0][key]} for field, key in targets.items()]
    which = "".join(f"{_condition(route['when'])} ? {number} : " for number, route in enumerate(routes[:-1]))
    found = {"type": "add", "field": "attributes.flow_route", "value": f"EXPR({which}{len(routes) - 1})"}
    values = {field: json.dumps([route[key] for route in routes]) for field, key in targets.items()}
    return [found] + [
        {"type": "add", "field": field, "value": f"EXPR({choice}[attributes.flow_route])"}
        for field, choice in values.items()
    ]


def _condition(when: Mapping[str, str]) -> str:
    def one(key: str, pattern: str) -> str:
        if key == "line":
            return f"body matches {json.dumps(pattern)}"
        return f'(attributes.{key} ?? "") matches {json.dumps(f"^(?:{pattern})$")}'

    return "(" + " and ".join(one(*item) for item in when.items()) + ")"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"otelcol_config": otelcol_config}
