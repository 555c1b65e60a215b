"""Log data is strangers' text: nothing in it may command a terminal, reorder a line or hide from a reader."""

from __future__ import annotations

import re

# C0 and C1 controls, soft hyphen and zero-width characters, marks that turn the direction, separators, surrogates, tags.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(value: object) -> str:
    """The text with everything that is not plainly visible spelled out."""
    return _UNSAFE.sub(_spelled, str(value))


def short(value: object, length: int = 200) -> str:
    """The cleaned text, cut where it says so."""
    text = clean(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _spelled(found: re.Match[str]) -> str:
    character = found.group()
    if character in _NAMED:
        return _NAMED[character]
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
