"""The application's side of the platform: JSON logs, one id per request, traces, and identity in the database.

Nothing is imported before it is used, since the forensic command reads `audit_context` alone and the application's
start must not wait for a tracing library that it may not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "init_app": "activation",
    "setup_logging": "activation",
    "audit_log": "audit",
    "work": "jobs",
    "correlation_id": "request",
    "counts": "counters",
}
__all__ = ["audit_log", "correlation_id", "counts", "init_app", "setup_logging", "work"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
