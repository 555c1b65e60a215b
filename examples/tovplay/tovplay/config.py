"""Settings come from the environment; `<NAME>_FILE` names a file that holds the value instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy.pool import NullPool


class MissingSettingError(RuntimeError):
    """The application cannot start without this setting."""


def setting(environment: Mapping[str, str], name: str, read: Callable[[Path], str]) -> str:
    if environment.get(name):
        return environment[name]
    if environment.get(f"{name}_FILE"):
        return read(Path(environment[f"{name}_FILE"])).strip()
    raise MissingSettingError(f"set {name} or {name}_FILE")


def from_environment(environment: Mapping[str, str], read: Callable[[Path], str]) -> dict:
    return {
        "SECRET_KEY": setting(environment, "SECRET_KEY", read),
        "SQLALCHEMY_DATABASE_URI": setting(environment, "DATABASE_URL", read),
        # PgBouncer keeps the connections; a second pool in every worker would only hold them back.
        "SQLALCHEMY_ENGINE_OPTIONS": {"poolclass": NullPool, "connect_args": {"connect_timeout": 5}},
        "LOG_LEVEL": environment.get("LOG_LEVEL", "INFO"),
        "MAX_CONTENT_LENGTH": 64 * 1024,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
    }
