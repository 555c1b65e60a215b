"""One self-contained page: no script, nothing loaded from anywhere, every value escaped."""

from __future__ import annotations

from typing import Any

import jinja2

from whodunit.escape import clean
from whodunit.model import Report
from whodunit.render.as_json import document


def render(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("whodunit", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_visible(document(report)))


def _visible(value: Any) -> Any:
    """Every text with its hidden characters spelled out, before HTML's own escaping."""
    if isinstance(value, dict):
        return {clean(name): _visible(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_visible(each) for each in value]
    return clean(value) if isinstance(value, str) else value
