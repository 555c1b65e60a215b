"""Puts everything in place: at the interpreter's start through `sitecustomize`, or by one call in the application.

Nothing is imported for it before the application does so itself: hooks wait for flask, psycopg2 and psycopg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from tovplay_telemetry import logs
from tovplay_telemetry.settings import Settings, from_environment


class _State:
    """What is switched on in this process."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.find_user: Callable[[], Any] | None = None
        self.tracing: Any = None  # the module, once it is wanted
        self.prepared: Any = None  # the application whose logger was last seen to
        self.on: set[str] = set()


state = _State()


def activate(settings: Settings | None = None, *, traces: bool = True, database: bool = True) -> None:
    """Everything, for every Flask application of this process; a second call adds what the first left out."""
    if not state.on:
        state.settings = settings or from_environment()
        state.find_user = state.settings.find_user
    settings = state.settings
    if settings.logs == "json" and _first("logs"):
        logs.take_over(settings)
        for complaint in settings.complaints:
            logs.event("WARNING", "telemetry_setting", {"error": complaint})
    if _first("requests"):
        wrapt.register_post_import_hook(_on_flask, "flask")
    if traces and settings.traces and _first("traces"):
        wrapt.register_post_import_hook(_on_flask_trace, "flask")
    if database and (settings.database != "off" or settings.traces) and _first("database"):
        wrapt.register_post_import_hook(_on_psycopg2, "psycopg2")
        wrapt.register_post_import_hook(_on_psycopg, "psycopg")


def init_app(app: Any, find_user: Callable[[], Any] | None = None) -> None:
    """Logs, ids, traces and identity in the database, for those who prefer a line of code to a variable."""
    activate()
    _take(app, find_user)


def setup_logging(app: Any, find_user: Callable[[], Any] | None = None) -> None:
    """Logs and ids only."""
    activate(traces=False, database=False)
    _take(app, find_user)


def _take(app: Any, find_user: Callable[[], Any] | None) -> None:
    if find_user is not None:
        state.find_user = find_user
    logs.prepare(app, state.settings)


def _first(part: str) -> bool:
    if part in state.on:
        return False
    state.on.add(part)
    return True


def _on_flask(module: Any) -> None:
    from tovplay_telemetry import flask_hook

    flask_hook.install()


def _on_flask_trace(module: Any) -> None:
    from tovplay_telemetry import tracing

    state.tracing = tracing


def _on_psycopg2(module: Any) -> None:
    from tovplay_telemetry.database import psycopg2_hook

    psycopg2_hook.install(module)


def _on_psycopg(module: Any) -> None:
    from tovplay_telemetry.database import psycopg_hook

    psycopg_hook.install(module)
