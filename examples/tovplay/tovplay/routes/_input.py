"""Read what a client sent, or refuse it with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import abort, request

PAGE = 50
MAX_PAGE = 200


def body() -> dict:
    data = request.get_json(silent=True)
    if not isinstance(data, dict):
        abort(400, "send a JSON object")
    return data


def text(data: dict, name: str, longest: int) -> str:
    value = data.get(name, "")
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        abort(400, f"{name} must be text of at most {longest} characters")
    return value


def number(data: dict, name: str, low: int, high: int) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        abort(400, f"{name} must be a whole number from {low} to {high}")
    return value


def moment(data: dict, name: str) -> datetime:
    try:
        value = datetime.fromisoformat(text(data, name, 40))
    except ValueError:
        abort(400, f"{name} must be a date and time in ISO 8601")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def page() -> tuple[int, int]:
    """The offset and limit that the query string asks for, within bounds."""
    limit = request.args.get("limit", PAGE, type=int)
    offset = request.args.get("offset", 0, type=int)
    return max(0, min(offset, 2**31 - 1)), max(1, min(limit, MAX_PAGE))
