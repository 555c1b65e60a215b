"""Inputs of loki_stack -> Loki's configuration: one instance on its file system, or several on an object store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

JSON = Mapping[str, Any]
MB = 1048576
UNITS = {"b": 1, "k": 1024, "m": MB, "g": 1024 * MB}


def loki_config(settings: JSON) -> dict[str, Any]:
    """The whole file; `settings` are the inputs loki_stack_*, without that prefix."""
    many = bool(settings["ring_members"])
    # Parts of Loki hand each other up to 128 lines at once. With 4 MB, the default, a query of long lines would find
    # nothing, silently; its clients take 100 MB.
    message = 104857600
    store = settings["storage"]
    ring = {"kvstore": {"store": "memberlist" if many else "inmemory"}}
    config: dict[str, Any] = {
        "auth_enabled": False,
        "analytics": {"reporting_enabled": False},
        "server": {
            "http_listen_address": settings["listen_address"],
            "http_listen_port": settings["http_port"],
            "grpc_listen_address": settings["listen_address"],
            "grpc_listen_port": settings["grpc_port"],
            "grpc_server_max_recv_msg_size": message,
            "grpc_server_max_send_msg_size": message,
            "log_level": "warn",
        },
        "common": {
            "instance_addr": settings["instance_address"],
            "path_prefix": "/loki",
            "replication_factor": settings["replication_factor"],
            "ring": {**ring, "instance_addr": settings["instance_address"]},
            "storage": _storage(store, settings["s3"]),
        },
        "schema_config": {"configs": [_schema(schema, store) for schema in settings["schemas"]]},
        "ingester": _ingester(settings),
        "querier": {"query_ingesters_within": "0s"},  # a chunk may stay in the ingester for max_chunk_age
        # How soon the parts of one process find each other: with the defaults, ten seconds of every start.
        "frontend": {"scheduler_dns_lookup_period": "1s"},
        "frontend_worker": {"dns_lookup_duration": "1s"},
        "limits_config": _limits(settings),
        "ruler": _ruler(settings, ring),
    }
    if settings["compactor"]:
        config["compactor"] = {
            "working_directory": "/loki/compactor",
            "retention_enabled": True,
            "delete_request_store": store,
        }
    if many:
        config["memberlist"] = {
            "join_members": settings["ring_members"],
            "bind_addr": [settings["instance_address"]],
            "bind_port": settings["ring_port"],
            "advertise_addr": settings["instance_address"],
        }
    return config


def _storage(store: str, s3: JSON) -> dict[str, Any]:
    if store == "s3":
        return {"s3": dict(s3)}
    return {"filesystem": {"chunks_directory": "/loki/chunks", "rules_directory": "/loki/rules"}}


def _schema(schema: JSON, store: str) -> dict[str, Any]:
    return {"object_store": store, "index": {"prefix": "index_", "period": "24h"}, **schema}


def _ingester(settings: JSON) -> dict[str, Any]:
    return {
        "chunk_idle_period": settings["chunk_idle_period"],
        "chunk_retain_period": settings["chunk_retain_period"],
        "chunk_encoding": settings["chunk_encoding"],
        "max_chunk_age": settings["max_chunk_age"],
        "lifecycler": {"min_ready_duration": settings["min_ready"]},
        # Replay pauses to flush at a third of the memory; the default, 4 GB, would be killed by the limit.
        "wal": {"dir": "/loki/wal", "replay_memory_ceiling": f"{memory_bytes(settings['store_memory']) // 3 // MB}MB"},
    }


def _limits(settings: JSON) -> dict[str, Any]:
    line, behind = int(settings["max_line_bytes"]), settings["clock_behind_seconds"]
    rate, burst = settings["ingestion_rate_mb"], settings["ingestion_burst_mb"]
    return {
        "allow_structured_metadata": True,
        "discover_service_name": [],
        "discover_log_levels": False,
        "volume_enabled": True,
        "shard_streams": {"enabled": False},  # would give busy streams a fourth label
        "ingestion_rate_mb": rate,
        "ingestion_burst_size_mb": burst,
        "per_stream_rate_limit": f"{rate}MB",
        "per_stream_rate_limit_burst": f"{burst}MB",
        "max_line_size": f"{4 * line}B",  # what a shipper sends always fits: an invalid byte becomes three
        "max_line_size_truncate": True,
        "reject_old_samples": True,
        "reject_old_samples_max_age": f"{behind + 86400}s",
        "creation_grace_period": f"{settings['clock_ahead_seconds'] + 300}s",
        "max_query_length": "0s",
        "deletion_mode": "disabled",
        "retention_period": settings["retention_default"],
        "retention_stream": [
            {"selector": f'{{log_class="{name}"}}', "priority": 1, "period": period}
            for name, period in settings["retention"].items()
        ],
        "otlp_config": {
            "resource_attributes": {
                "ignore_defaults": True,
                "attributes_config": [{"action": "index_label", "attributes": ["job", "host", "log_class"]}],
            }
        },
    }


def _ruler(settings: JSON, ring: JSON) -> dict[str, Any]:
    url = settings["ruler_remote_write_url"]
    ruler: dict[str, Any] = {
        "alertmanager_url": settings["alertmanager_url"],
        "evaluation_interval": settings["ruler_interval"],
        "poll_interval": settings["ruler_poll_interval"],
        "resend_delay": settings["ruler_resend_delay"],
        "rule_path": "/loki/rules-scratch",
        "storage": {"type": "local", "local": {"directory": "/etc/loki/rules"}},
        "wal": {"dir": "/loki/ruler-wal"},
        "ring": dict(ring),
    }
    if url:
        ruler["remote_write"] = {"enabled": True, "clients": {"prometheus": {"url": url}}}
    return ruler


def memory_bytes(limit: str) -> int:
    """Docker's notation for memory, 512m or 2g, as bytes."""
    found = re.fullmatch(r"(\d+)([bkmg])", str(limit).lower())
    if not found:
        raise AnsibleFilterError(f"{limit!r} is no memory limit; write it as 512m or 2g")
    return int(found[1]) * UNITS[found[2]]


def go_memory_limit(limit: str) -> str:
    """GOMEMLIMIT for a container with this limit: the collector of garbage works harder before the kernel kills."""
    return f"{memory_bytes(limit) * 85 // 100 // MB}MiB"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"loki_config": loki_config, "go_memory_limit": go_memory_limit}
