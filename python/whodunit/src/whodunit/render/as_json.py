"""The report for programs; the schema is beside the package: schema.json."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Any

from whodunit.model import Report, utc

SCHEMA = "whodunit/1"


def document(report: Report) -> dict[str, Any]:
    """Plain data, times as text."""
    return {"schema": SCHEMA, **_plain(dataclasses.asdict(report))}


def render(report: Report) -> str:
    """ASCII only: a terminal that shows it cannot be steered by what a log contained."""
    return plain(document(report))


def plain(data: Any) -> str:
    text = json.dumps(_plain(data), indent=2, ensure_ascii=True)
    return text.replace("\x7f", "\\u007f") + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return utc(value) if isinstance(value, datetime) else value
