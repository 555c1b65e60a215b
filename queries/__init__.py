"""The forensic queries: one YAML file each, rendered to LogQL with values that cannot leave their place.

In a template `<< name >>` gives the LogQL literal of a text, quotes included; inside a regular expression in backquotes
it is `<< name | re >>`. Nothing that either gives contains a quote or a backquote that could end a string.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

FOLDER = Path(__file__).parent

# What an address of the API is about: its route where the application names it, else its path with the ids taken out.
# One value per path would be more series than Loki answers (500).
ENDPOINT = (
    r"label_format endpoint=`{{ .method }} {{ if .route }}{{ .route }}{{ else }}"
    r'{{ regexReplaceAll "/([0-9]+|[0-9a-f-]{32,36})\\b" .path "/:id" }}{{ end }}`'
)


class QueryError(Exception):
    """What the user asked for cannot be asked; the message says what can."""


class LogQL(str):
    """Text that stands in a query as it is."""

    __slots__ = ()


@dataclass(frozen=True)
class Parameter:
    """A value that the question leaves open."""

    default: str
    means: str
    type: str = "text"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """One question; `lines` selects the evidence, `answer` sums it up (`shape`: log, table or curve)."""

    id: int
    title: str
    question: str
    range: str
    direction: str
    parameters: Mapping[str, Parameter]
    lines: str
    answer: str
    shape: str
    seed: str
    seed_fault: str
    demo: Mapping[str, Any]


def load(folder: Path = FOLDER) -> dict[int, Query]:
    """Every query by its number."""
    queries = [_query(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("[0-9]*.yml"))]
    return {query.id: query for query in queries}


def _query(data: dict[str, Any]) -> Query:
    named = {
        name: Parameter(**{**options, "default": str(options["default"]), "choices": tuple(options.get("choices", ()))})
        for name, options in data.pop("parameters", {}).items()
    }
    return Query(parameters=named, **data)


def answers_on_demo() -> dict[int, Query]:
    """Queries that the demo's own logs answer now; `demo` tells with which values, and after which event.

    The others wait for what `demo.needs` names.
    """
    return {number: query for number, query in load().items() if query.demo["answers"] == "now"}


def asked(query: Query, values: Mapping[str, str] | None = None) -> str:
    """The question in words."""
    defaults = {name: parameter.default for name, parameter in query.parameters.items()}
    return query.question.format(**{**defaults, **(values or {})})


def render(query: Query, values: Mapping[str, str], *, lines: bool = False, window: str | None = None) -> str:
    """LogQL of a query, or only of its evidence; `window` is the time that a table sums up."""
    unknown = sorted(set(values) - set(query.parameters))
    if unknown:
        takes = ", ".join(query.parameters) or "no parameter"
        raise QueryError(f"query {query.id} has no parameter {', '.join(unknown)}; it takes {takes}")
    checked = {
        name: _checked(name, parameter, values.get(name, parameter.default))
        for name, parameter in query.parameters.items()
    }
    checked |= {
        "range": _checked("range", _RANGE, query.range if window is None else window),
        "endpoint": LogQL(ENDPOINT),
    }
    evidence = _render(query.lines, checked)
    return evidence if lines else _render(query.answer, {**checked, "lines": LogQL(evidence)})


_RANGE = Parameter(default="1h", means="the time to look at", type="duration")


def _checked(name: str, parameter: Parameter, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{name} is not UTF-8") from error
    if parameter.choices and value not in parameter.choices:
        raise QueryError(f"{name} is one of {', '.join(parameter.choices)}, not {value!r}")
    return _TYPES[parameter.type](name, value)


def _duration(name: str, value: str) -> LogQL:
    if not re.fullmatch(r"([0-9]+(ms|s|m|h|d|w))+", value, re.ASCII):
        raise QueryError(f"{name} is a duration such as 90s, 15m, 24h or 7d, not {value!r}")
    return LogQL(value)


def _number(name: str, value: str) -> LogQL:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value, re.ASCII):
        raise QueryError(f"{name} is a number, not {value!r}")
    return LogQL(value)


def _address(name: str, value: str) -> str:
    first, _, last = value.partition("-")
    try:
        if last:
            ipaddress.ip_address(first), ipaddress.ip_address(last)
        else:
            ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise QueryError(f"{name} is an address, a network or first-last, not {value!r}") from error
    return value


def _anything(_name: str, value: str) -> str:
    return value


_TYPES: Mapping[str, Callable[[str, str], str]] = {
    "text": _anything,
    "duration": _duration,
    "number": _number,
    "address": _address,
}


def literal(value: str) -> LogQL:
    """LogQL's double-quoted string (Go's syntax; JSON's is a part of it)."""
    return LogQL(json.dumps(value, ensure_ascii=False).replace("`", r"\x60").replace("\x7f", r"\x7f"))


def in_regex(value: str) -> LogQL:
    """The value as a regular expression that matches nothing else."""
    escaped = re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", value)
    return LogQL(re.sub(r'[\x00-\x1f\x7f"`]', lambda found: f"\\x{ord(found.group()):02x}", escaped))


_environment = jinja2.Environment(  # noqa: S701 - LogQL, not HTML: `finalize` quotes everything that nothing else did
    variable_start_string="<<",
    variable_end_string=">>",
    block_start_string="<%",
    block_end_string="%>",
    comment_start_string="<#",
    comment_end_string="#>",
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: value if isinstance(value, LogQL) else literal(value),
)
_environment.filters["re"] = in_regex


def _render(template: str, values: Mapping[str, str]) -> str:
    return _environment.from_string(template).render(values).strip()
