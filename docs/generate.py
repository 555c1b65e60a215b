#!/usr/bin/env python3
"""Write what can be generated of the documentation: docs/ports.md, inputs.md, checklist.md and benchmarks-audit.md.

docs/generate.py            writes
docs/generate.py --check    says what is out of date, and writes nothing
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.audit import figures  # noqa: E402


def main(arguments: list[str]) -> int:
    stale = {path: text for path, text in documents(ROOT) if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date; run docs/generate.py")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return int(bool(stale) and "--check" in arguments)


def documents(root: Path) -> Iterator[tuple[Path, str]]:
    """Every generated document with the text that it should have."""
    yield root / "docs" / "ports.md", ports(_variables(root / "group_vars" / "all" / "network.yml"))
    specs = {path.parent.parent.name: path for path in sorted(root.glob("roles/*/meta/argument_specs.yml"))}
    roles = {
        role: (_yaml(path)["argument_specs"]["main"], defaults_of(path.parent.parent)) for role, path in specs.items()
    }
    yield root / "docs" / "inputs.md", all_inputs(roles)
    yield root / "docs" / "checklist.md", checklist(_yaml(root / "playbooks" / "checklist" / "steps.yml"))
    published = json.loads((root / "bench" / "audit" / "published.json").read_text("utf-8"))
    yield root / "docs" / "benchmarks-audit.md", figures.document(published)


def ports(network: Mapping[str, Any]) -> str:
    """One table of every listening port."""
    rows = sorted(network["platform_listeners"], key=lambda one: (int(one["port"]), one["address"]))
    table = _table(
        ("port", "address", "part", "hosts", "who may reach it", "protection"),
        [
            (one["port"], one["address"], one["name"], ", ".join(one["groups"]), one["reach"], _protection(one))
            for one in rows
        ],
    )
    return (
        "<!-- Written by docs/generate.py from group_vars/all/network.yml. -->\n"
        "# Ports\n\n"
        "Everything of the platform that listens, and on which hosts (inventory groups). Between hosts there is TLS\n"
        "and authentication on every hop; `127.0.0.1` is the host itself, "
        f"`{network['platform_bridge_address']}` the bridge of its own containers.\n"
        "The preflight refuses two daemons on one port; the end-to-end test compares this list with what the demo's\n"
        f"hosts really listen on.\n\n{table}"
    )


def _protection(one: Mapping[str, Any]) -> str:
    return f"{one['protection']}; only where `{one['needs']}`" if "needs" in one else str(one["protection"])


def checklist(listed: Mapping[str, Any]) -> str:
    """The steps towards production, one table, and the guide's next steps."""
    rows = [
        (one["step"], one["title"], _code_of(one["run"]), one["changes"], one["downtime"], one["back"])
        for one in listed["checklist_steps"]
    ]
    following = [
        (number, one["title"], ", ".join(map(str, one["steps"])) or "not part of this version")
        for number, one in enumerate(listed["checklist_next_steps"], 1)
    ]
    return (
        "<!-- Written by docs/generate.py from playbooks/checklist/steps.yml. -->\n"
        "# Checklist\n\n"
        "The guide's deployment checklist in its order. `make checklist` asks the running system which steps are done\n"
        "(`ARGS=--long`: with this table's texts, `--json`: for programs); [production.md](production.md) is the\n"
        f"story around it.\n\n{_table(('step', 'the guide', 'run', 'changes', 'downtime', 'way back'), rows)}\n"
        f"## Next steps\n\n{_table(('', 'the guide', 'steps above'), following)}"
    )


def _code_of(run: str) -> str:
    """Tags as the command that takes them, with what must be set in brackets; sentences stay as they are."""
    tags, _, needs = run.partition(" (")
    return (
        f"`ansible-playbook site.yml {tags}`" + (f", needs `{needs[:-1]}`" if needs else "") if run[0] == "-" else run
    )


def all_inputs(roles: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Every role's inputs in one document."""
    head = (
        "<!-- Written by docs/generate.py from roles/*/meta/argument_specs.yml and defaults. -->\n"
        "# Inputs of the roles\n\n"
        "Each may be set in an inventory's `group_vars/all/settings.yml`; a misspelt one is refused before anything\n"
        "changes. *see defaults*: too long for a table, or computed from others.\n"
    )
    sections = [
        f"\n## [{role}](../roles/{role})\n\n{spec['short_description']}.\n\n{inputs(spec['options'], defaults)}"
        for role, (spec, defaults) in roles.items()
        if spec.get("options")
    ]
    return head + "".join(sections)


def inputs(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The inputs of one role."""
    rows = [
        (
            f"`{name}`",
            option["type"] + (f" of {option['elements']}" if "elements" in option else ""),
            _default(defaults[name]) if name in defaults else ("**required**" if option.get("required") else ""),
            _sentence(option["description"]),
        )
        for name, option in options.items()
    ]
    return _table(("input", "type", "default", "effect"), rows)


def defaults_of(role: Path) -> dict[str, Any]:
    """defaults/main.yml, or every file of defaults/main/."""
    files = [role / "defaults" / "main.yml", *sorted(role.glob("defaults/main/*.yml"))]
    return {name: value for path in files if path.exists() for name, value in (_yaml(path) or {}).items()}


def _default(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).strip('"') if value != "" else '""'
    return f"`{text}`" if len(text) <= 48 and "{{" not in text else "see defaults"


def _sentence(description: str | list[str]) -> str:
    return description if isinstance(description, str) else " ".join(description)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ").strip() for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _variables(path: Path) -> Any:
    """Variables of one file, with those filled in that name another one of it."""
    raw = _yaml(path)
    return _filled(raw, raw)


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if isinstance(value, str) and "{{" in value and "|" not in value:
        return jinja2.Template(value, undefined=jinja2.StrictUndefined).render(variables)
    return value


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
