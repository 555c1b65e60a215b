"""What Grafana would ask for each panel: variables and macros filled in as its data sources do it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "queries/dashboards/json"


@dataclasses.dataclass(frozen=True)
class Asked:
    """One query of one panel; `kind` is its data source, `instant` a question about one moment."""

    dashboard: str
    panel: str
    kind: str
    text: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} ({self.kind})"


def load() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def asked(kind: str, values: Mapping[str, str] | None = None, *, seconds: int = 3600) -> Iterator[Asked]:
    """Every query to a data source, also those behind annotations; `values` replace the variables' defaults.

    `seconds` is the range: until now in SQL, and what $__range stands for in LogQL and PromQL.
    """
    for name, board in load().items():
        given = {variable["name"]: variable["query"] for variable in board["templating"].get("list", [])}
        given |= {key: value for key, value in (values or {}).items() if key in given}
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                source = target.get("datasource") or panel["datasource"]
                if source["uid"] == kind:
                    text = target.get("rawSql") or target.get("expr") or json.dumps(target)
                    instant = target.get("queryType") == "instant" or target.get("instant", False)
                    yield Asked(name, panel["title"], kind, filled(text, given, seconds), instant)
        for mark in board["annotations"].get("list", []):
            if mark["datasource"]["uid"] == kind:
                yield Asked(name, f"mark {mark['name']}", kind, filled(mark["expr"], given, seconds), False)


def filled(text: str, values: Mapping[str, str], seconds: int) -> str:
    """https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/ and the data sources' macros."""
    since = f"(now() - interval '{seconds} seconds')"
    text = re.sub(r"\$__timeFilter\(([^)]+)\)", rf"\1 BETWEEN {since} AND now()", text)
    text = re.sub(
        r"\$__timeGroupAlias\(([^,]+), \$__interval\)",
        r"to_timestamp(floor(extract(epoch FROM \1) / 60) * 60) AS time",
        text,
    )
    for name, size in {
        "__auto": "60s",
        "__interval": "60s",
        "__rate_interval": "240s",
        "__range": f"{seconds}s",
    }.items():
        text = text.replace(f"${name}", size)

    def value(match: re.Match[str]) -> str:
        name, form = match.group(1) or match.group(3), match.group(2)
        if name not in values:
            return match.group(0)
        if form == "sqlstring":
            return "'" + values[name].replace("'", "''") + "'"
        return re.escape(values[name]) if form == "regex" else values[name]

    return re.sub(r"\$(?:\{(\w+)(?::(\w+))?\}|([A-Za-z_]\w*))", value, text)
