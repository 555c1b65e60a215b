"""docs/guide-map.md has no dead entry: paths, commands and variables exist, and every heading of the guide has rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MAP = ROOT / "docs" / "guide-map.md"
HEADINGS_OF_THE_GUIDE = 25
LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
MAKE = re.compile(r"`make ([a-z-]+)(?: (\w+)=(\w+))?")
QUERY = re.compile(r"`tools/query (\d+)([^`]*)`")


@dataclass(frozen=True)
class Row:
    id: str
    guide: str
    here: str
    variables: tuple[str, ...]
    check: str
    status: str


def rows(text: str) -> list[Row]:
    return [
        _row(*(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]))
        for line in text.splitlines()
        if re.match(r"\| [A-Z]\d?-\d+ \|", line)
    ]


def _row(identity: str, guide: str, here: str, variables: str, check: str, status: str) -> Row:
    return Row(identity, guide, here, tuple(re.findall(r"`(\w+)`", variables)), check, status)


def headings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for prefix, heading in re.findall(r"(?m)^\| ([A-Z]\d?) \| (.+) \|$", text):
        found.setdefault(prefix, []).append(heading)
    return found


@cache
def known_variables() -> frozenset[str]:
    files = [*ROOT.glob("group_vars/all/*.yml"), *ROOT.glob("roles/*/defaults/**/*.yml")]
    return frozenset(name for path in files for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {})


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))


def dead(row: Row) -> list[str]:
    """What a row names and what does not exist, or what its status forbids."""
    text = f"{row.guide} {row.here} {row.check}"
    complaints = [f"no file {link}" for link in LINK.findall(text) if not (MAP.parent / link).exists()]
    for target, name, value in MAKE.findall(text):
        if target not in make_targets():
            complaints.append(f"no target make {target}")
        if name == "ROLE" and not (ROOT / "molecule" / value / "molecule.yml").exists():
            complaints.append(f"no scenario {value}")
        if name == "BENCH" and not (ROOT / "bench" / value / "run").exists():
            complaints.append(f"no benchmark {value}")
    for number, _ in QUERY.findall(text):
        if not list((ROOT / "queries").glob(f"0{number}-*.yml")):
            complaints.append(f"no query {number}")
    complaints += [f"no variable {name}" for name in row.variables if name not in known_variables()]
    if row.status not in ("done", "changed", "planned", "dropped"):
        complaints.append(f"unknown status {row.status}")
    if row.status in ("planned", "dropped") and (row.check or row.variables or LINK.search(text)):
        complaints.append(f"{row.status}, and yet it points to something")
    if row.status in ("done", "changed") and not row.check:
        complaints.append("nothing tells how to check it")
    if row.status == "changed" and not row.here:
        complaints.append("nothing tells what changed")
    return complaints


ROWS = rows(MAP.read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_row_is_alive(row: Row) -> None:
    assert not dead(row), f"{row.id}: {'; '.join(dead(row))}"


def test_every_heading_of_the_guide_has_rows_and_every_row_a_heading() -> None:
    named = headings(MAP.read_text(encoding="utf-8"))
    assert sum(len(titles) for titles in named.values()) == HEADINGS_OF_THE_GUIDE
    assert {row.id.partition("-")[0] for row in ROWS} == set(named)


def test_an_id_is_used_once_and_counted_up() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    for prefix in headings(MAP.read_text(encoding="utf-8")):
        numbers = [int(one.partition("-")[2]) for one in ids if one.partition("-")[0] == prefix]
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_link_outside_of_rows_is_alive_too() -> None:
    for document in (MAP, ROOT / "README.md", ROOT / "docs" / "ports.md", ROOT / "docs" / "fields.md"):
        links = LINK.findall(document.read_text(encoding="utf-8"))
        paths = [link.split("#")[0] for link in links if "://" not in link]
        assert [path for path in paths if not (document.parent / path).exists()] == [], document.name


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("| X-1 | a | [gone](../roles/gone) | | `make test` | done |", "no file ../roles/gone"),
        ("| X-1 | a | b | | `make nothing` | done |", "no target make nothing"),
        ("| X-1 | a | b | | `make molecule ROLE=gone` | done |", "no scenario gone"),
        ("| X-1 | a | b | `pgbouncer_pool_mod` | `make test` | done |", "no variable pgbouncer_pool_mod"),
        ("| X-1 | a | b | | `tools/query 9` | done |", "no query 9"),
        ("| X-1 | a | b | | | done |", "nothing tells how to check it"),
        ("| X-1 | a | b | | `make test` | planned |", "planned, and yet it points to something"),
        ("| X-1 | a | [b](ports.md) | | | planned |", "planned, and yet it points to something"),
        ("| X-1 | a | | | `make test` | changed |", "nothing tells what changed"),
        ("| X-1 | a | b | | `make test` | soon |", "unknown status soon"),
    ],
)
def test_a_dead_entry_is_noticed(line: str, complaint: str) -> None:
    assert complaint in dead(rows(line)[0])
