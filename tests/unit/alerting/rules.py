"""The rules as the role renders them with its defaults, for tests and for whoever wants to look at them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import yaml

from filter_plugins.alerting import alert_rules

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "alerting"


def defaults() -> dict[str, Any]:
    files = sorted((ROLE / "defaults/main").glob("*.yml"))
    values = {name: value for path in files for name, value in yaml.safe_load(path.read_text()).items()}
    return {
        **values,
        "alerting_application_roles": ["raz@tovtech.org"],
        "__alerting_thresholds": values["alerting_thresholds_default"],
    }


def rendered(template: Path) -> str:
    """One file of rules: `<< … >>` are values of the role, as tasks/ renders them."""
    environment = jinja2.Environment(  # noqa: S701  # no HTML
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["regex_escape"] = re.escape
    return alert_rules(environment.from_string(template.read_text()).render(defaults()), "docs/alerts")


def _of(folder: str) -> dict[str, str]:
    return {
        path.name.removesuffix(".j2"): rendered(path) for path in sorted((ROLE / "templates" / folder).glob("*.j2"))
    }


def prometheus_rules() -> dict[str, str]:
    return _of("prometheus/rules")


def loki_rules() -> dict[str, str]:
    return _of("loki")


def alerts(files: dict[str, str]) -> list[dict[str, Any]]:
    return [rule for text in files.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
