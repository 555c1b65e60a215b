"""Any Python value as what JSON knows: text, numbers, booleans, lists and objects, bounded in size and depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 6
_MAX_ITEMS = 200


def plain(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 10**300 else text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if depth >= _MAX_DEPTH:
        return text(value)
    if isinstance(value, Mapping):
        return {text(key): plain(each, depth + 1) for key, each in list(value.items())[:_MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, depth + 1) for each in list(value)[:_MAX_ITEMS]]
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    return text(value)


def text(value: Any) -> str:
    """str(), of objects too whose str() fails."""
    try:
        return value if type(value) is str else str(value)
    except Exception as error:
        return f"[{type(value).__name__}: str() raised {type(error).__name__}]"


def cut(value: Any, longest: int) -> Any:
    """Text of at most that many characters; what was cut is told in the text."""
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}…[{len(value) - longest} more characters]"
    if isinstance(value, dict):
        return {cut(key, 256): cut(each, longest) for key, each in value.items()}
    if isinstance(value, list):
        return [cut(each, longest) for each in value]
    return value
