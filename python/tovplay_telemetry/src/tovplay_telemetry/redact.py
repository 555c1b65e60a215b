"""Secrets do not belong in a log. What is recognised by its key or its shape is replaced; the key stays."""

from __future__ import annotations

import re
from typing import Any

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"passw|passphrase|secret|token|authorization|cookie|api_?key|private_?key|credential|^pwd$|_pwd$|csrf|^jwt$",
    re.IGNORECASE,
)
# One of these is in the lower-case line, or nothing can match: looking for them costs a tenth of the patterns.
_SIGNS = (
    *(
        "pass",
        "secret",
        "token",
        "auth",
        "cookie",
        "key",
        "credential",
        "pwd",
        "csrf",
        "jwt",
        "bearer",
        "basic ",
        "eyj",
    ),
    "://",
)
_SHAPES = (
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/_.~=-]{6,}", re.IGNORECASE), r"\1 " + REDACTED),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (re.compile(r"(://[^/\s:@'\"]{0,128}):[^@/\s'\"]{1,256}@"), rf"\1:{REDACTED}@"),
    (
        re.compile(
            r"((?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|authorization|cookie)['\"]?\s{0,3}[=:]\s{0,3})"
            r"(?!(?:bearer|basic)\b)(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"}\])]+)",
            re.IGNORECASE,
        ),
        r"\1" + REDACTED,
    ),
    # ALTER ROLE … PASSWORD '…' in a statement or in PostgreSQL's own message.
    (re.compile(r"(\bpassword\s+)'(?:[^']|'')*'?", re.IGNORECASE), rf"\1'{REDACTED}'"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), REDACTED),
)


def concerns(text: str) -> bool:
    """Whether there is anything to look for at all."""
    lower = text.lower()
    for sign in _SIGNS:  # noqa: SIM110  (half the time of any())
        if sign in lower:
            return True
    return False


def text(value: str) -> str:
    for shape, replacement in _SHAPES:
        value = shape.sub(replacement, value)
    return value


def value(key: str, found: Any) -> Any:
    """The value of that key, without secrets at any depth; whether there is one (None, a boolean) may be said."""
    if _SECRET_KEY.search(key) and not (found is None or isinstance(found, bool)):
        return REDACTED
    if isinstance(found, str):
        return text(found)
    if isinstance(found, dict):
        return {name: value(str(name), each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [value("", each) for each in found]
    return found
