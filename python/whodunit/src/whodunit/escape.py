"""Log data is strangers' text: nothing in it may command a terminal, reorder a line or hide from a reader."""

from __future__ import annotations

# Letters by their class that show nothing all the same.
_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f\u180b\u180c\u180d\u180f\ufe0f")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(value: object) -> str:
    """The text with everything that is not plainly visible spelled out."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if each.isprintable() and each not in _BLANK else _spelled(each) for each in text)


def short(value: object, length: int = 200) -> str:
    """The cleaned text, cut where it says so."""
    text = clean(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _spelled(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
