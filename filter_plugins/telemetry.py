"""Log sources as inventory data -> flows: checked, with every default filled in, the input of each shipper's renderer.

A renderer cannot import this file (Ansible loads filter plugins alone), so what it gets is plain data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypedDict

from ansible.errors import AnsibleFilterError

JSON = Mapping[str, Any]
LABEL_VALUE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
SOURCE_KEYS = {"name", "groups", "paths", "rotated", "envelope", "job", "log_class", "format", "routes", "filename"}
ROUTE_KEYS = {"when", "job", "log_class", "format"}


class Route(TypedDict):
    """Labels and format of the lines that `when` selects; an empty `when` selects the rest."""

    when: dict[str, str]
    job: str
    log_class: str
    format: str


class Flow(TypedDict):
    """One source as a shipper reads it."""

    name: str
    paths: list[str]
    rotated: list[str]
    envelope: str
    envelope_fields: dict[str, str]
    filename: bool
    routes: list[Route]


def log_sources_of(sources: Iterable[JSON], group_names: Iterable[str]) -> list[JSON]:
    """Those sources that exist on a host of these groups."""
    mine = {"all", *group_names}
    return [source for source in sources if mine & set(source.get("groups", ["all"]))]


def log_flows(sources: Iterable[JSON], formats: JSON, envelopes: JSON) -> list[Flow]:
    """Check the sources and resolve them; the message of a refusal names the source and the remedy."""
    flows = [_flow(source, formats, envelopes) for source in sources]
    names = [flow["name"] for flow in flows]
    for name in names:
        if names.count(name) > 1:
            raise AnsibleFilterError(f"log source {name}: the name is used twice; positions on disk need it unique")
    return flows


def _flow(source: JSON, formats: JSON, envelopes: JSON) -> Flow:
    name = str(source.get("name", ""))
    if not LABEL_VALUE.match(name):
        raise AnsibleFilterError(f"log source {name!r}: a name is made of a-z, 0-9, _ and -")
    _only(name, source, SOURCE_KEYS)
    envelope = source.get("envelope", "none")
    if envelope not in envelopes:
        _refuse(name, f"unknown envelope {envelope!r}; known are {', '.join(sorted(envelopes))}")
    paths, rotated = list(source.get("paths") or []), list(source.get("rotated", []))
    for path in [*paths, *rotated]:
        if not str(path).startswith("/"):
            _refuse(name, f"path {path!r} is not absolute")
    if not paths:
        _refuse(name, "it has no paths")
    routes = [_route(name, route, formats, envelopes[envelope]) for route in source.get("routes", [])]
    rest = _route(name, {key: source.get(key) for key in ("job", "log_class", "format")}, formats, {})
    return Flow(
        name=name,
        paths=paths,
        rotated=rotated,
        envelope=envelope,
        envelope_fields=dict(envelopes[envelope]),
        filename=bool(source.get("filename", False)),
        routes=[*routes, rest],
    )


def _route(name: str, route: JSON, formats: JSON, envelope_fields: JSON) -> Route:
    _only(name, route, ROUTE_KEYS)
    for label in ("job", "log_class"):
        if not LABEL_VALUE.match(str(route.get(label) or "")):
            _refuse(name, f"{label} {route.get(label)!r} is no label value (a-z, 0-9, _ and -)")
    if route.get("format") not in formats:
        _refuse(name, f"unknown format {route.get('format')!r}; known are {', '.join(sorted(formats))}")
    when = dict(route.get("when", {}))
    for key, pattern in when.items():
        if key != "line" and key not in envelope_fields:
            _refuse(name, f"`when` cannot look at {key!r}; possible are {', '.join(['line', *envelope_fields])}")
        try:
            re.compile(pattern)
        except re.error as error:
            _refuse(name, f"pattern {pattern!r} of `when` is wrong: {error}")
    return Route(when=when, job=route["job"], log_class=route["log_class"], format=route["format"])


def _only(name: str, given: JSON, known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        _refuse(name, f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _refuse(name: str, reason: str) -> NoReturn:
    raise AnsibleFilterError(f"log source {name}: {reason}")


class Within(TypedDict):
    """A pattern whose named groups become fields, looked for in a lifted field or in a key of the parsed line."""

    source: str
    lifted: bool
    pattern: str
    names: list[str]


class Format(TypedDict):
    """What a renderer needs to know of a format; absent parts are empty."""

    parser: str
    pattern: str
    time: dict[str, str]
    fields: dict[str, list[str]]
    drop: dict[str, str]
    columns: list[str]
    within: list[Within]
    names: list[str]


def log_formats(formats: JSON) -> dict[str, Format]:
    """Fill in defaults, and the list of all fields that each format can fill."""
    return {name: _format(name, form) for name, form in formats.items()}


def _format(name: str, form: JSON) -> Format:
    if form["parser"] not in ("none", "json", "regex", "pgaudit"):
        raise AnsibleFilterError(f"log format {name}: unknown parser {form['parser']!r}")
    fields = {field: [keys] if isinstance(keys, str) else list(keys) for field, keys in form.get("fields", {}).items()}
    within = [
        Within(
            source=rule.get("from", rule.get("key", "")),
            lifted="from" in rule,
            pattern=rule["pattern"],
            names=re.findall(r"\?P<(\w+)>", rule["pattern"]),
        )
        for rule in form.get("within", [])
    ]
    columns = list(form.get("columns", []))
    names = {*fields, *columns, *(name for rule in within for name in rule["names"])}
    return Format(
        parser=form["parser"],
        pattern=form.get("pattern", ""),
        time=dict(form.get("time", {})),
        fields=fields,
        drop=dict(form.get("drop", {})),
        columns=columns,
        within=within,
        names=sorted(names | ({"table_name"} if columns else set())),
    )


def log_mounts(flows: Iterable[Flow], roots: Iterable[str]) -> list[dict[str, Any]]:
    """What a shipper's container must see: the known root that holds a path, else the path's own directory."""
    wanted: set[str] = set()
    for flow in flows:
        for path in [*flow["paths"], *flow["rotated"]]:
            fixed = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0]
            wanted.add(next((root for root in roots if (fixed + "/").startswith(root.rstrip("/") + "/")), fixed))
    return [{"source": path, "target": path, "read_only": True} for path in sorted(wanted)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        functions = (log_sources_of, log_flows, log_formats, log_mounts)
        return {function.__name__: function for function in functions}
