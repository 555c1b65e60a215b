# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Grafana dashboards as values: read, map data sources, compare, decide. Nothing here talks to a server.

Classic dashboards only (schema v1), the form that files, SDKs and both of Grafana's APIs have in common. What Grafana
adds or migrates on its own is no difference: only keys that the file has are compared, and a commit message carries the
file's fingerprint, so that a version that came from this very file is known whatever Grafana made of it.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Any
Dashboard = dict[str, Json]

CREATE, UPDATE, SAME, KEPT, DELETE = "create", "update", "same", "kept", "delete"

# util.IsValidShortUID of Grafana: both APIs refuse others.
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MARKER = re.compile(r"\[sha256:([0-9a-f]{64})\]")
# Grafana's own, of every installation: https://grafana.com/docs/grafana/latest/datasources/#special-data-sources
_BUILT_IN = {"grafana", "-- Grafana --", "-- Mixed --", "-- Dashboard --"}
# Numbers and marks of one installation, and what Grafana rewrites when it migrates a dashboard.
_SERVER_KEYS = {"id", "version", "iteration", "meta", "gnetId", "schemaVersion", "__inputs", "__requires", "__elements"}
_PANEL_SERVER_KEYS = {"pluginVersion"}


class DashboardError(Exception):
    """A file that cannot become a dashboard; the message names file, place and what to do."""


@dataclasses.dataclass(frozen=True)
class Live:
    """What the server has under a uid. `message` is that of the newest version; None: the server does not tell."""

    spec: Dashboard
    folder: str = ""
    version: str = ""
    message: str | None = None
    by: str = ""
    provisioned: bool = False

    @property
    def fingerprint(self) -> str | None:
        found = _MARKER.search(self.message or "")
        return found.group(1) if found else None

    @property
    def made_by_hand(self) -> bool:
        return self.message is not None and self.fingerprint is None


@dataclasses.dataclass(frozen=True)
class Plan:
    uid: str
    title: str
    action: str
    before: str = ""
    after: str = ""
    by: str = ""
    differences: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.action in (CREATE, UPDATE, DELETE)

    @property
    def diff(self) -> dict[str, str]:
        name = f"dashboard {self.uid}"
        return {"before_header": name, "after_header": name, "before": self.before, "after": self.after}


def parse(text: str, path: str) -> Dashboard:
    """The file's dashboard, complete enough for Grafana. Every error names file and place."""

    def once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DashboardError(f"{path}: key {twice!r} stands twice in one object; keep one")
        return found

    def no_constant(name: str) -> None:
        raise DashboardError(f"{path}: {name} is no JSON; write a number or null")

    try:
        spec = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise DashboardError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError:
        raise DashboardError(f"{path}: it is nested too deeply") from None
    check(spec, path)
    return spec


def check(spec: Json, path: str) -> None:
    """Refuse what Grafana would refuse, or would take and never show."""
    if not isinstance(spec, dict):
        raise DashboardError(f"{path}: $ is a {_kind(spec)}, not an object; export the dashboard as JSON")
    if {"elements", "layout"} <= spec.keys() or ("spec" in spec and "apiVersion" in spec):
        raise DashboardError(f"{path}: $ is a resource or schema v2; export it as a classic (v1) dashboard")
    if isinstance(spec.get("dashboard"), dict):
        raise DashboardError(f"{path}: $.dashboard is the dashboard of an API answer; keep that object only")
    if not isinstance(spec.get("title"), str) or not spec["title"].strip():
        raise DashboardError(f"{path}: $.title is missing or empty; every dashboard needs one")
    if not isinstance(spec.get("uid"), str) or not _UID.fullmatch(spec["uid"]):
        raise DashboardError(
            f"{path}: $.uid is {spec.get('uid')!r}; give 1 to 40 letters, digits, - or _, "
            "since without a uid of its own a second import makes a second dashboard"
        )
    for key, kind in {"panels": list, "tags": list, "templating": dict, "annotations": dict, "time": dict}.items():
        if not isinstance(spec.get(key, kind()), kind):
            raise DashboardError(f"{path}: $.{key} is a {_kind(spec[key])}, not {_KINDS[kind]}")
    seen: dict[int, str] = {}
    for where, panel in panels(spec):
        if not isinstance(panel, dict):
            raise DashboardError(f"{path}: {where} is a {_kind(panel)}, not an object")
        if not isinstance(panel.get("type"), str):
            raise DashboardError(f"{path}: {where}.type is missing; name the panel's plugin")
        if not isinstance(panel.get("targets", []), list):
            raise DashboardError(f"{path}: {where}.targets is a {_kind(panel['targets'])}, not a list")
        if (number := panel.get("id")) is not None:
            if number in seen:
                raise DashboardError(f"{path}: {where}.id is {number}, as {seen[number]}.id; links would open either")
            seen[number] = where


def panels(spec: Dashboard) -> Iterator[tuple[str, Json]]:
    """Each panel with its place, those of collapsed rows too."""
    for index, panel in enumerate(spec.get("panels", [])):
        yield f"$.panels[{index}]", panel
        if isinstance(panel, dict) and isinstance(panel.get("panels"), list):
            for inner, nested in enumerate(panel["panels"]):
                yield f"$.panels[{index}].panels[{inner}]", nested


def map_datasources(spec: Dashboard, mapping: Mapping[str, str], path: str) -> Dashboard:
    """The dashboard with `mapping` (input, uid or name -> uid here) applied; an input that nobody filled is an error.

    Grafana fills `${DS_…}` only in its import form, neither API does it.
    """
    result = copy.deepcopy(spec)
    inputs = {entry.get("name") for entry in spec.get("__inputs", [])}
    if missing := sorted(str(name) for name in inputs if name not in mapping):
        raise DashboardError(f"{path}: $.__inputs wants {', '.join(missing)}; give each in datasources")

    def mapped(name: str) -> str:
        bare = name.removeprefix("${").removesuffix("}")
        return mapping.get(name, mapping.get(bare, name))

    for _, holder, key in _references(result, "$"):
        value = holder[key]
        if isinstance(value, str):
            holder[key] = mapped(value)
        elif isinstance(value, dict) and isinstance(value.get("uid"), str):
            value["uid"] = mapped(value["uid"])
    return result


def datasource_uids(spec: Dashboard) -> dict[str, str]:
    """Each data source that the dashboard names outright, and where it does first; variables are left out."""
    found: dict[str, str] = {}
    for where, holder, key in _references(spec, "$"):
        value = holder[key]
        uid = value.get("uid") if isinstance(value, dict) else value
        if isinstance(uid, str) and uid and not uid.startswith("$") and uid not in _BUILT_IN:
            found.setdefault(uid, where)
    return found


def _references(node: Json, where: str) -> Iterator[tuple[str, dict[str, Json], str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "datasource":
                yield f"{where}.{key}", node, key
            else:
                yield from _references(value, f"{where}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _references(value, f"{where}[{index}]")


def normalised(spec: Dashboard) -> Dashboard:
    """What people made, without what belongs to one server."""
    result = {key: copy.deepcopy(value) for key, value in spec.items() if key not in _SERVER_KEYS}
    for _, panel in panels(result):
        if isinstance(panel, dict):
            for key in _PANEL_SERVER_KEYS & panel.keys():
                del panel[key]
    return result


def fingerprint(spec: Dashboard, folder: str) -> str:
    text = json.dumps([normalised(spec), folder], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def commit_message(message: str, spec: Dashboard, folder: str) -> str:
    return f"{message} [sha256:{fingerprint(spec, folder)}]".strip()


def plan_present(desired: Dashboard, folder: str, live: Live | None, *, overwrite: bool = False) -> Plan:
    """What has to happen so that the server has `desired` in `folder`."""
    uid, title = desired["uid"], desired["title"]
    wanted = normalised(desired)
    after = _text(wanted, folder)
    if live is None:
        return Plan(uid, title, CREATE, "", after)
    found = _projected(normalised(live.spec), wanted)
    before = _text(found, live.folder)
    differences = tuple(_differences(_pruned(found), _pruned(wanted), "$"))
    if live.folder != folder:
        differences = (f"folder: {live.folder or 'General'} instead of {folder or 'General'}", *differences)
    if live.made_by_hand and not overwrite:
        return Plan(uid, title, KEPT, before, after, live.by, differences or ("fields that the file does not have",))
    from_this_file = live.fingerprint == fingerprint(desired, folder) and live.folder == folder
    if not live.made_by_hand and (from_this_file or not differences):
        return Plan(uid, title, SAME)
    return Plan(uid, title, UPDATE, before, after, live.by, differences)


def plan_absent(uid: str, live: Live | None, *, overwrite: bool = False) -> Plan:
    if live is None:
        return Plan(uid, "", SAME)
    title = str(live.spec.get("title", ""))
    if live.made_by_hand and not overwrite:
        return Plan(uid, title, KEPT, by=live.by, differences=("somebody made or edited it",))
    return Plan(uid, title, DELETE, _text(normalised(live.spec), live.folder), "")


def _projected(live: Json, wanted: Json) -> Json:
    """`live` with the keys that `wanted` has; elements of lists side by side, those too many as they are."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {key: _projected(live[key], wanted[key]) for key in wanted if key in live}
    if isinstance(live, list) and isinstance(wanted, list):
        return [_projected(value, wanted[i]) if i < len(wanted) else value for i, value in enumerate(live)]
    return live


def _pruned(node: Json) -> Json:
    """Without keys that say nothing: Grafana drops them, or adds them."""
    if isinstance(node, dict):
        kept = {key: _pruned(value) for key, value in node.items()}
        return {key: value for key, value in kept.items() if value is not None and value not in ("", [], {})}
    return [_pruned(value) for value in node] if isinstance(node, list) else node


def _differences(live: Json, wanted: Json, where: str) -> Iterator[str]:
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in sorted(live.keys() | wanted.keys()):
            if key not in live or key not in wanted:
                yield f"{where}.{key}: {'missing' if key not in live else 'not in the file'}"
            else:
                yield from _differences(live[key], wanted[key], f"{where}.{key}")
    elif isinstance(live, list) and isinstance(wanted, list):
        if len(live) != len(wanted):
            yield f"{where}: {len(live)} instead of {len(wanted)}"
        for index, (left, right) in enumerate(zip(live, wanted, strict=False)):
            yield from _differences(left, right, f"{where}[{index}]")
    elif live != wanted or isinstance(live, bool) != isinstance(wanted, bool):
        yield f"{where}: {_short(live)} instead of {_short(wanted)}"


def _text(spec: Dashboard, folder: str) -> str:
    shown = {"folder": folder or "General", **_pruned(spec)}
    return json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


_KINDS = {list: "a list", dict: "an object"}


def _kind(value: Json) -> str:
    kinds = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")
