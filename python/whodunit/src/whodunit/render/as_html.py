"""One self-contained page: no script, nothing loaded from anywhere, every value escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from whodunit.escape import clean
from whodunit.model import Report
from whodunit.render import chart
from whodunit.render.as_json import document


def render(report: Report) -> str:
    return environment().get_template("report.html.j2").render(told(report))


def told(report: Report) -> dict[str, Any]:
    """What templates show of a report: texts with their hidden characters spelled out, and the pictures' geometry."""
    return {
        **visible(document(report)),
        "chart": chart.timeline(report),
        "waterfalls": chart.waterfalls(report.spans),
    }


def visible(value: Any) -> Any:
    """Every text with its hidden characters spelled out, before HTML's own escaping."""
    if isinstance(value, dict):
        return {clean(name): visible(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [visible(each) for each in value]
    return clean(value) if isinstance(value, str) else value


@cache
def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("whodunit", folder) for folder in ("templates", "static")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
