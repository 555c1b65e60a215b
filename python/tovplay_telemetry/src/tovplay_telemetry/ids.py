"""Ids as the platform spells them: 32 lower-case hex digits; a UUID loses its hyphens; anything else is not an id."""

from __future__ import annotations

import os
import re

_HEX = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# W3C Trace Context, level 1: version 00, neither id all zeros.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


def new_id() -> str:
    return os.urandom(16).hex()


def strict(text: str | None) -> str | None:
    """The id that a text from outside is, or None; never longer, never anything but hex digits."""
    if not text or len(text) > 36:
        return None
    if _HEX.fullmatch(text):
        return text
    if _UUID.fullmatch(text):
        return text.replace("-", "")
    return None


def trace_of(traceparent: str | None) -> tuple[str, str] | None:
    """Trace and span of a well-formed traceparent header."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent and len(traceparent) == 55 else None
    return (found.group(1), found.group(2)) if found else None
