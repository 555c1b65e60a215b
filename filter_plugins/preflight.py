"""Filters with which the preflight judges an inventory and the converge's lock, on the controller."""

from __future__ import annotations

import difflib
import functools
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

# libyaml's parser where there is one: the specs of all roles take the other one most of a second.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLACEHOLDERS = ("CHANGE", "YOUR_", "PLACEHOLDER", "EXAMPLE_", "TODO", "XXX")


@functools.cache
def role_inputs(roles_dir: str) -> dict[str, list[str]]:
    """Inputs of every role that has an argument spec: {role: [variable, …]}."""
    inputs = {}
    for spec in sorted(Path(roles_dir).glob("*/meta/argument_specs.yml")):
        entry_points = yaml.load(spec.read_text(encoding="utf-8"), _LOADER)["argument_specs"].values()  # noqa: S506
        inputs[spec.parent.parent.name] = sorted({name for entry in entry_points for name in entry.get("options", {})})
    return inputs


def unknown_inputs(variables: Iterable[str], roles_dir: str) -> list[str]:
    """Sentences about variables that carry a role's prefix and that no role reads, with the likely spelling."""
    inputs = role_inputs(roles_dir)
    known = {name for names in inputs.values() for name in names}
    sentences = []
    for variable in sorted(variables):
        role = max((r for r in inputs if variable.startswith(f"{r}_")), key=len, default=None)
        if role is None or variable in known:
            continue
        near = difflib.get_close_matches(variable, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; its inputs are in roles/{role}/defaults/main.yml."
        sentences.append(f"{variable} is no input of role {role}{hint}")
    return sentences


def useless_secrets(secrets: Mapping[str, Any]) -> list[str]:
    """Names of `vault_*` variables whose value is empty or still a placeholder; values are never returned."""
    return sorted(
        name
        for name, value in secrets.items()
        if not isinstance(value, (dict, list))
        and (not str(value or "").strip() or any(str(value).upper().startswith(mark) for mark in PLACEHOLDERS))
    )


def port_clashes(listeners: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about listeners `{name, address, port}` of one host that would take the same port.

    0.0.0.0 covers every address, so it clashes with each of them.
    """
    sentences = []
    for index, one in enumerate(listeners):
        for other in listeners[index + 1 :]:
            overlap = one["address"] == other["address"] or "0.0.0.0" in (one["address"], other["address"])  # noqa: S104
            if int(str(one["port"])) == int(str(other["port"])) and overlap:
                sentences.append(
                    f"{one['name']} and {other['name']} both listen on port {one['port']}; "
                    "give one of them another port."
                )
    return sentences


def space_problems(wanted: Sequence[Mapping[str, Any]], free: Sequence[str]) -> list[str]:
    """Sentences about file systems with less room than all `{path, mb, for}` on them need together.

    `free` has a line for each of `wanted`: megabytes that are free, and where the file system is mounted.
    """
    needs: dict[str, list[Mapping[str, Any]]] = {}
    room = {}
    for need, line in zip(wanted, free, strict=True):
        available, target = line.split(maxsplit=1)
        room[target] = int(available)
        needs.setdefault(target, []).append(need)
    return [
        f"{target} has {room[target]} MB free, and {sum(int(one['mb']) for one in those)} MB are needed "
        f"({', '.join(str(one['mb']) + ' for ' + str(one['for']) for one in those)}); "
        "make room, or lower platform_space."
        for target, those in needs.items()
        if room[target] < sum(int(one["mb"]) for one in those)
    ]


def for_groups(entries: Sequence[Mapping[str, Any]], group_names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Entries whose `groups` has one of the host's groups, or `all`, and whose `except` has none.

    One without `groups` is meant for every host.
    """
    names = set(group_names)
    return [
        entry
        for entry in entries
        if ("groups" not in entry or set(entry["groups"]) & {"all", *names})
        and not set(entry.get("except", [])) & names
    ]


def _process_started(pid: int) -> str | None:
    """Start time of a process of this machine in clock ticks since boot, or None when there is none (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])


def converge_owner(user: str) -> dict[str, str | int]:
    """Who converges: this controller and the ansible-playbook process that evaluates the filter."""
    pid = found = os.getpid()
    while pid > 1:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if any(Path(word.decode(errors="replace")).name == "ansible-playbook" for word in words):
            found = pid
        pid = _parent(pid)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "controller": socket.gethostname(),
        "user": user,
        "pid": found,
        "started": _process_started(found) or "",
        "since": now,
    }


def converge_owner_gone(holder: Mapping[str, Any], hours: float) -> bool:
    """Whether a lock's holder cannot be at work any more.

    On this controller the process is looked up; of another one only the age is known.
    """
    if not holder:
        return True
    if holder.get("controller") == socket.gethostname():
        return _process_started(int(str(holder["pid"]))) != str(holder.get("started"))
    since = datetime.strptime(str(holder["since"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return (datetime.now(UTC) - since).total_seconds() > hours * 3600


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "unknown_inputs": unknown_inputs,
            "useless_secrets": useless_secrets,
            "port_clashes": port_clashes,
            "space_problems": space_problems,
            "for_groups": for_groups,
            "converge_owner": converge_owner,
            "converge_owner_gone": converge_owner_gone,
        }
