"""The journal's file: position from the file itself, half lines closed, renamed when full."""

from __future__ import annotations

import importlib.util
import json

import pytest
from platform_flows import ROLE

SPEC = importlib.util.spec_from_file_location("journal_export", ROLE / "files/journal_export.py")
export = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(export)


def entry(number: int, message: str = "x") -> bytes:
    return json.dumps({"MESSAGE": message, "__CURSOR": f"s=a;i={number}"}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "cursor"),
    [
        (None, None),
        (b"", None),
        (entry(1) + entry(2), "s=a;i=2"),
        (entry(1) + entry(2)[:-9], "s=a;i=1"),
        (entry(1) + b'{"__CURSOR": "s=a;i=9"\n', "s=a;i=1"),  # a half line that was closed
        (entry(1, "y" * (3 << 20)), "s=a;i=1"),
        (entry(1) + entry(2, '"__CURSOR": "forged"'), "s=a;i=2"),
        (entry(1) + b'["__CURSOR"]\n\xff\n', "s=a;i=1"),
    ],
    ids=["no file", "empty", "last", "half line", "closed half", "long entry", "forged", "not an object"],
)
def test_position_is_the_last_whole_entry(content, cursor, tmp_path):
    path = tmp_path / "journal.json"
    if content is not None:
        path.write_bytes(content)
    assert export.last_cursor([path]) == cursor


def test_position_survives_a_rename(tmp_path):
    path = tmp_path / "journal.json"
    path.write_bytes(entry(1))
    export.make_room(path, 10, 2)
    assert not path.exists()
    assert export.last_cursor([path, *export.older(path, 2)]) == "s=a;i=1"


def test_half_line_is_closed_and_never_cut(tmp_path):
    path = tmp_path / "journal.json"
    path.write_bytes(entry(1) + b"half")
    export.make_room(path, 1 << 20, 2)
    assert path.read_bytes() == entry(1) + b"half\n"


def test_the_oldest_file_falls_away(tmp_path):
    path = tmp_path / "journal.json"
    for number in range(4):
        path.write_bytes(entry(number))
        export.make_room(path, 10, 2)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal.json.1", "journal.json.2"]
    assert (tmp_path / "journal.json.1").read_bytes() == entry(3)


@pytest.mark.parametrize(
    ("content", "start"),
    [(b"", 'JOURNAL_START="--since=1 day ago"\n'), (entry(7), 'JOURNAL_START="--after-cursor=s=a;i=7"\n')],
    ids=["first start", "later start"],
)
def test_where_journalctl_starts(content, start, tmp_path):
    path, environment = tmp_path / "journal.json", tmp_path / "start.env"
    path.write_bytes(content)
    export.prepare(path, 1 << 20, 2, "1 day ago", environment)
    assert environment.read_text() == start
