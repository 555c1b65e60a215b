"""Who is at the other end: only proxies that the settings name are believed about the client behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tovplay_telemetry.settings import Network


def client_address(environ: Mapping[str, Any], trusted: Sequence[Network], trust_unix_socket: bool) -> str | None:
    """The nearest address that no trusted proxy owns; of X-Forwarded-For only what trusted proxies appended counts."""
    # werkzeug's ProxyFix may have replaced the peer already; it keeps what was there.
    original = environ.get("werkzeug.proxy_fix.orig")
    peer = (original or environ).get("REMOTE_ADDR") or ""
    if not (trust_unix_socket if peer == "" else _is_trusted(peer, tuple(trusted))):
        return peer or None
    nearest = peer or None
    for text in reversed(str(environ.get("HTTP_X_FORWARDED_FOR", ""))[-1024:].split(",")):
        address = _address(text.strip())
        if address is None:
            break
        nearest = address
        if not _is_trusted(address, tuple(trusted)):
            break
    return nearest


@lru_cache(maxsize=4096)
def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in trusted)


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
