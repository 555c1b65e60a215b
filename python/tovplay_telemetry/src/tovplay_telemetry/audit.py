"""`@audit_log("GAME_REQUEST_CREATE", "GameRequest")`: one record of what was done, its end and its time."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tovplay_telemetry.request import current

_F = TypeVar("_F", bound=Callable[..., Any])


def audit_log(action_type: str, target_type: str | None = None) -> Callable[[_F], _F]:
    """Log audit_<action_type>_success or _error after each call; whatever the function raises goes on to its caller.

    For functions and coroutine functions, views or not. Records have action, target_type, status (SUCCESS or ERROR),
    duration_ms, user_id, correlation_id and, of a failure, error and error_type.
    """

    def decorator(function: _F) -> _F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaiting(*arguments: Any, **options: Any) -> Any:
                with _Call(action_type, target_type):
                    return await function(*arguments, **options)

            return awaiting  # type: ignore[return-value]

        @functools.wraps(function)
        def calling(*arguments: Any, **options: Any) -> Any:
            with _Call(action_type, target_type):
                return function(*arguments, **options)

        return calling  # type: ignore[return-value]

    return decorator


class _Call:
    def __init__(self, action: str, target_type: str | None) -> None:
        self._action = action
        self._target_type = target_type

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        request = current()
        fields = {
            "action": self._action,
            "target_type": self._target_type,
            "status": "ERROR" if error else "SUCCESS",
            "duration_ms": round((time.perf_counter() - self._started) * 1000, 3),
            "user_id": request.user.id,
            "correlation_id": request.correlation_id,
        }
        if error is not None:
            fields |= {"error": _text(error), "error_type": type(error).__name__}
        level = logging.ERROR if error else logging.INFO
        _logger().log(level, "audit_%s_%s", self._action, "error" if error else "success", extra=fields)


def _logger() -> logging.Logger:
    """The application's own logger where there is one, so that its handlers and levels apply."""
    flask = sys.modules.get("flask")
    if flask is not None and flask.has_app_context():
        return flask.current_app.logger
    return logging.getLogger("tovplay_telemetry")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"[{type(error).__name__} without text]"
