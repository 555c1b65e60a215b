"""Trace sinks as data -> the part of the collector that takes spans of a host's containers and brings them there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
URL = re.compile(r"(?:https://|http://(?:127\.|localhost[:/]))[^\s$]+\Z")
# What a span says besides numbers: statements, addresses, what an exception printed.
CONTEXTS = ("span", "spanevent")


def trace_sink_problems(sinks: Sequence[JSON], shipper: str) -> list[str]:
    """One sentence about each sink that cannot work, with what to do."""
    problems = []
    for sink in sinks:
        name, url = str(sink.get("name", "")), str(sink.get("url", ""))
        if not NAME.match(name):
            problems.append(f"trace sink {name!r}: a name is made of a-z, 0-9, _ and -.")
        if not URL.match(url):
            problems.append(
                f"trace sink {name}: {url!r} is no https:// address, nor an http:// one of this host; correct it."
            )
    if sinks and shipper != "otelcol":
        problems.append(f"{shipper} takes no spans; use otelcol, or leave loki_stack_trace_sinks empty on this host.")
    return problems


def otelcol_with_traces(config: JSON, sinks: Sequence[JSON], settings: JSON) -> dict[str, Any]:
    """The collector's configuration with a pipeline for spans; without sinks, as it is."""
    if not sinks:
        return dict(config)
    exporters = {f"otlp_http/{sink['name']}": _exporter(sink, settings) for sink in sinks}
    processors = {"transform/spans": _redaction(settings["redacted"])} if settings["redacted"] else {}
    traces = {"receivers": ["otlp"], "processors": list(processors), "exporters": list(exporters)}
    service = config["service"]
    return {
        **config,
        "receivers": {**config["receivers"], "otlp": {"protocols": {"http": {"endpoint": settings["trace_listen"]}}}},
        "processors": {**config["processors"], **processors},
        "exporters": {**config["exporters"], **exporters},
        "service": {**service, "pipelines": {**service["pipelines"], "traces": traces}},
    }


def _exporter(sink: JSON, settings: JSON) -> dict[str, Any]:
    """As the logs' exporter: a queue on disk, repeated without end, until the sink has answered."""
    exporter: dict[str, Any] = {
        "endpoint": sink["url"].rstrip("/"),
        "timeout": "30s",
        "sending_queue": {
            "storage": "file_storage/queue",
            "sizer": "bytes",
            "queue_size": settings["trace_queue_bytes"],
            # A full queue says so at once: an application counts the span as dropped and goes on serving.
            "block_on_overflow": False,
            "num_consumers": 2,
            "batch": {"flush_timeout": "200ms", "min_size": 65536, "max_size": 4194304},
        },
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "500ms",
            "max_interval": settings["retry_max_interval"],
            "max_elapsed_time": settings["retry_max_elapsed_time"],
        },
    }
    if sink["url"].startswith("https:"):
        exporter["tls"] = {f"{key}_file": path for key, path in settings["tls"].items()} | {"reload_interval": "1h"}
    return exporter


def _redaction(pattern: str) -> dict[str, Any]:
    """What no log may hold, no span may hold either. The collector expands $ in its configuration, so it is doubled.

    A group for each context: statements of one group all run in the innermost one, so spans without events would stay.
    """
    quoted = json.dumps(pattern, ensure_ascii=False).replace("$", "$$")
    groups = [
        {
            "context": context,
            "statements": [f'replace_all_patterns({context}.attributes, "value", {quoted}, "[redacted]")'],
        }
        for context in CONTEXTS
    ]
    return {"error_mode": "ignore", "trace_statements": groups}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"otelcol_with_traces": otelcol_with_traces, "trace_sink_problems": trace_sink_problems}
