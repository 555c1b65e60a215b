"""The platform's own flows, rendered as the role loki_stack renders them."""

from __future__ import annotations

import pytest
from platform_flows import REDACTIONS, ROLE_FORMATS, SHIPPER_VARS, SOURCES

from filter_plugins import telemetry


@pytest.fixture(scope="session")
def formats() -> dict:
    return telemetry.log_formats(ROLE_FORMATS["__loki_stack_formats"])


@pytest.fixture(scope="session")
def flows() -> list:
    return telemetry.log_flows(SOURCES, ROLE_FORMATS["__loki_stack_formats"], ROLE_FORMATS["__loki_stack_envelopes"])


@pytest.fixture(scope="session")
def settings() -> dict:
    return {
        "host": "h1",
        "push_url": "https://watch:3443",
        "tls": {"ca": "/pki/ca.crt", "cert": "/pki/host.crt", "key": "/pki/host.key"},
        "marks": SHIPPER_VARS["__loki_stack_marks"],
        "redacted": "|".join(REDACTIONS),
        "limits": ROLE_FORMATS["__loki_stack_limits"],
        "max_line_bytes": 262144,
        "clock_ahead_seconds": 600,
        "clock_behind_seconds": 86400,
        "queue_bytes": 1073741824,
        "fsync": False,
        "half_line_wait": "30s",
        "retry_max_interval": "5s",
        "retry_max_elapsed_time": "0s",
        "data_directory": "/var/lib/shipper",
        "otelcol_health": "127.0.0.1:13133",
        "otelcol_metrics": {"host": "127.0.0.1", "port": 8888},
        "promtail_port": 9080,
        "trace_listen": "172.17.0.1:4318",
        "trace_queue_bytes": 268435456,
        "vector_api": "127.0.0.1:8686",
    }
