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
    return {"schema": SCHEMA, **data(dataclasses.asdict(report))}


def render(report: Report) -> str:
    """ASCII only: a terminal that shows it cannot be steered by what a log contained."""
    return plain(document(report))


def plain(value: Any) -> str:
    text = json.dumps(data(value), indent=2, ensure_ascii=True)
    return text.replace("\x7f", "\\u007f") + "\n"


def data(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: data(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [data(each) for each in value]
    return utc(value) if isinstance(value, datetime) else value
