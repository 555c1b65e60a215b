"""Settings come from the environment (README.md has the table); what makes no sense gives way to the default, aloud.

Telemetry must not keep an application from starting, so there is no fatal setting.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    logs: str = "json"  # json | off
    log_requests: bool = True
    log_level: str | None = None
    log_email: str = "plain"  # plain | hash
    log_max_value: int = 32 * 1024  # characters of one value
    log_buffer: int = 8 * 1024 * 1024  # bytes that wait for a stuck standard output
    database: str = "writes"  # writes | always | off
    traces: bool = True
    trusted_proxies: tuple[Network, ...] = ()
    trust_unix_socket: bool = False
    key: bytes | None = None
    find_user: Callable[[], Any] | None = None
    complaints: tuple[str, ...] = field(default=())


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    reader = _Reader(environment)
    networks, unix = reader.networks("TOVPLAY_TRUSTED_PROXIES")
    return Settings(
        logs=reader.choice("TOVPLAY_LOGS", ("json", "off")),
        log_requests=reader.choice("TOVPLAY_LOG_REQUESTS", ("on", "off")) == "on",
        log_level=reader.level("TOVPLAY_LOG_LEVEL"),
        log_email=reader.choice("TOVPLAY_LOG_EMAIL", ("plain", "hash")),
        log_max_value=reader.number("TOVPLAY_LOG_MAX_VALUE", 32 * 1024, 256),
        log_buffer=reader.number("TOVPLAY_LOG_BUFFER", 8 * 1024 * 1024, 64 * 1024),
        database=reader.choice("TOVPLAY_DB_CONTEXT", ("writes", "always", "off")),
        traces=reader.choice("TOVPLAY_TRACES", ("on", "off")) == "on",
        trusted_proxies=networks,
        trust_unix_socket=unix,
        key=reader.key("TOVPLAY_AUDIT_CONTEXT_KEY_FILE"),
        find_user=reader.function("TOVPLAY_USER_FINDER"),
        complaints=tuple(reader.complaints),
    )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.complaints: list[str] = []

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        given = self._environment.get(name, "").strip().lower()
        if given and given not in allowed:
            self.complaints.append(f"{name} is {given!r}, not one of {', '.join(allowed)}: {allowed[0]} is used")
        return given if given in allowed else allowed[0]

    def number(self, name: str, default: int, least: int) -> int:
        given = self._environment.get(name, "").strip()
        if not given:
            return default
        if not given.isdecimal() or int(given) < least:
            self.complaints.append(f"{name} is {given!r}, not a number from {least} on: {default} is used")
            return default
        return int(given)

    def level(self, name: str) -> str | None:
        given = self._environment.get(name, "").strip().upper()
        if given and given not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            self.complaints.append(f"{name} is {given!r}, not a level of Python's logging: ignored")
            return None
        return given or None

    def networks(self, name: str) -> tuple[tuple[Network, ...], bool]:
        found, unix = [], False
        for text in self._environment.get(name, "").replace(",", " ").split():
            if text == "unix":
                unix = True
                continue
            try:
                found.append(ipaddress.ip_network(text))
            except ValueError:
                self.complaints.append(f"{name}: {text!r} is neither a network nor 'unix': not trusted")
        return tuple(found), unix

    def key(self, name: str) -> bytes | None:
        """The first key of the file, as the forensic command reads it: one a line, the newest first."""
        path = self._environment.get(name, "").strip()
        if not path:
            return None
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            self.complaints.append(f"{name}: {path} cannot be read ({error.strerror}): no contexts are sent")
            return None
        keys = [line.strip() for line in lines if line.strip() and not line.startswith(b"#")]
        if not keys:
            self.complaints.append(f"{name}: {path} holds no key: no contexts are sent")
        return keys[0] if keys else None

    def function(self, name: str) -> Callable[[], Any] | None:
        path = self._environment.get(name, "").strip()
        if not path:
            return None
        module, _, attribute = path.partition(":")
        if not module or not attribute:
            self.complaints.append(f"{name} is {path!r}, not module:function: ignored")
            return None

        def late() -> Any:
            # Imported at the first request: the application's own modules are not there when telemetry starts.
            return getattr(importlib.import_module(module), attribute)()

        return late
