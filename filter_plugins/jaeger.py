"""Inputs of role jaeger -> the configuration of Jaeger v2, which is an OpenTelemetry Collector with a store inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]
HOURS = re.compile(r"[1-9][0-9]*h\Z")
# Where the container sees what the host keeps.
DATA = "/var/lib/jaeger"
SECRETS = "/etc/jaeger"


def jaeger_config(settings: JSON) -> dict[str, Any]:
    """The whole file; `settings` are the inputs jaeger_*, without that prefix."""
    address = settings["listen_address"]
    sampled = float(settings["sampling_ratio"]) < 1
    receivers = {
        "otlp": {
            "protocols": {kind: {"endpoint": f"{address}:{settings[f'otlp_{kind}_port']}"} for kind in ("grpc", "http")}
        }
    }
    query: dict[str, Any] = {
        "storage": {"traces": "main"},
        "http": {"endpoint": f"{address}:{settings['query_port']}"},
        "grpc": {"endpoint": f"{address}:{settings['query_grpc_port']}"},
    }
    storage: dict[str, Any] = {"backends": {"main": _backend(settings)}}
    if settings["prometheus_url"]:
        query["storage"]["metrics"] = "span_metrics"
        storage["metric_backends"] = {
            "span_metrics": {
                "prometheus": {
                    "endpoint": settings["prometheus_url"],
                    "normalize_calls": True,
                    "normalize_duration": True,
                }
            }
        }
    config: dict[str, Any] = {
        "extensions": {
            "healthcheckv2": {
                "use_v2": True,
                "http": {
                    "endpoint": f"{address}:{settings['health_port']}",
                    "status": {"enabled": True, "path": "/status"},
                },
            },
            "jaeger_storage": storage,
            "jaeger_query": query,
        },
        "receivers": receivers,
        "connectors": {"spanmetrics": _span_metrics(settings)},
        "exporters": {
            "jaeger_storage_exporter": {"trace_storage": "main"},
            "prometheus": {"endpoint": f"{address}:{settings['span_metrics_port']}", "metric_expiration": "1h"},
        },
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "telemetry": {
                "resource": {"service.name": "jaeger"},
                "logs": {"level": "warn", "encoding": "json"},
                "metrics": {
                    "readers": [
                        {"pull": {"exporter": {"prometheus": {"host": address, "port": int(settings["metrics_port"])}}}}
                    ]
                },
            },
            "pipelines": {
                # No batch processor and no queue: what the sender was told is taken lies in the store.
                "traces": {"receivers": ["otlp"], "exporters": ["spanmetrics", "jaeger_storage_exporter"]},
                "metrics/spans": {"receivers": ["spanmetrics"], "exporters": ["prometheus"]},
            },
        },
    }
    return _sampled(config, settings) if sampled else config


def _backend(settings: JSON) -> dict[str, Any]:
    kind = settings["storage"]
    if kind == "badger":
        return {
            "badger": {
                "ephemeral": False,
                "consistency": bool(settings["badger_fsync"]),
                "directories": {"keys": f"{DATA}/keys", "values": f"{DATA}/values"},
                "ttl": {"spans": settings["retention"]},
            }
        }
    search = settings["search"]
    index = {"shards": int(search.get("shards", 1)), "replicas": int(search.get("replicas", 0))}
    backend: dict[str, Any] = {
        "server_urls": list(search["server_urls"]),
        "indices": {
            "index_prefix": search.get("index_prefix", "tovplay"),
            **{name: dict(index) for name in ("spans", "services", "dependencies", "sampling")},
        },
    }
    if search.get("username"):
        backend["auth"] = {"basic": {"username": search["username"], "password_file": f"{SECRETS}/search_password"}}
    if search.get("ca"):
        backend["tls"] = {"ca_file": f"{SECRETS}/search_ca.crt"}
    return {kind: backend}


def _span_metrics(settings: JSON) -> dict[str, Any]:
    """Calls, errors and durations by service and operation; of all spans, whatever the sampling keeps."""
    return {
        "histogram": {"explicit": {"buckets": list(settings["span_metrics_buckets"])}},
        "metrics_flush_interval": "15s",
        # An operation is a route's template; a client that invents operations does not fill Prometheus.
        "aggregation_cardinality_limit": int(settings["span_metrics_limit"]),
        "resource_metrics_key_attributes": ["service.name"],
    }


def _sampled(config: dict[str, Any], settings: JSON) -> dict[str, Any]:
    """Decide about whole traces: every failed one is kept, of the others the given part."""
    pipelines = config["service"]["pipelines"]
    traces = {"receivers": ["otlp"], "exporters": ["spanmetrics", "forward"]}
    kept = {"receivers": ["forward"], "processors": ["tail_sampling"], "exporters": ["jaeger_storage_exporter"]}
    percent = round(float(settings["sampling_ratio"]) * 100, 4)
    return {
        **config,
        "connectors": {**config["connectors"], "forward": {}},
        "processors": {
            "tail_sampling": {
                "decision_wait": "5s",
                "num_traces": 20000,
                "policies": [
                    {"name": "failed", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
                    {"name": "part", "type": "probabilistic", "probabilistic": {"sampling_percentage": percent}},
                ],
            }
        },
        "service": {**config["service"], "pipelines": {**pipelines, "traces": traces, "traces/kept": kept}},
    }


def jaeger_problems(settings: JSON) -> list[str]:
    """One sentence about each setting that cannot work, with what to do; never a password."""
    problems = []
    search, kind = settings["search"], settings["storage"]
    if not HOURS.match(str(settings["retention"])):
        problems.append(f"jaeger_retention is {settings['retention']!r}; write whole hours, like 168h.")
    if not 0 < float(settings["sampling_ratio"]) <= 1:
        problems.append(f"jaeger_sampling_ratio is {settings['sampling_ratio']}; choose more than 0 and at most 1.")
    ports = [int(settings[name]) for name in settings if name.endswith("_port")]
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        problems.append(f"Two of jaeger's ports are {twice[0]}; give each its own.")
    if kind != "badger" and not search.get("server_urls"):
        problems.append(f"jaeger_storage is {kind}, but jaeger_search names no server_urls; add them, or use badger.")
    if search.get("username") and not settings["search_password"]:
        problems.append(
            "jaeger_search has a username, but jaeger_search_password is empty; put it into the Ansible Vault file."
        )
    open_urls = [
        url for url in search.get("server_urls", []) if not re.match(r"https://|http://(127\.|localhost[:/])", url)
    ]
    if open_urls:
        problems.append(f"{open_urls[0]} is plain HTTP to another host; use https.")
    return problems


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"jaeger_config": jaeger_config, "jaeger_problems": jaeger_problems}
