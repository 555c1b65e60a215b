"""What the vault's keeper concludes from what both sides say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
path = ROOT / "roles/audit_vault/files/keeper/tovplay_vault_keeper.py"
spec = importlib.util.spec_from_file_location("tovplay_vault_keeper", path)
keeper = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = keeper
spec.loader.exec_module(keeper)

PRODUCTION = {"system_identifier": 7, "timeline": 1, "lsn": "1/10", "slot": True, "wal_status": "reserved"}
VAULT = {"epoch": 1, "system_identifier": 7, "timeline": 1, "applied": "1/0", "seals": 5, "subscribed": True}


@pytest.mark.parametrize(
    ("production", "vault", "anchored", "reason"),
    [
        ({}, {}, 5, None),
        ({}, {"applied": None}, 5, None),
        ({}, {"epoch": 0, "subscribed": False}, 0, "first subscription"),
        ({"system_identifier": 8}, {}, 5, "production is another cluster"),
        ({"timeline": 2}, {}, 5, "production was restored or failed over"),
        ({"lsn": "0/FFFFFFFF"}, {}, 5, "production was set back"),
        ({}, {"seals": 4}, 5, "the vault was set back"),
        ({"slot": False}, {}, 5, "production has lost the slot"),
        ({"slot": False}, {"subscribed": False}, 5, None),
        ({"wal_status": "lost"}, {}, 5, "production gave the slot up, since it kept too much WAL"),
    ],
)
def test_what_does_not_continue_opens_an_epoch(production, vault, anchored, reason):
    assert keeper.new_epoch_reason({**PRODUCTION, **production}, {**VAULT, **vault}, anchored) == reason


@pytest.mark.parametrize(("text", "number"), [(None, 0), ("0/0", 0), ("0/1F", 31), ("2/0", 2 << 32)])
def test_a_position_in_wal_is_a_number(text, number):
    assert keeper.lsn(text) == number


@pytest.mark.parametrize(
    ("content", "n"),
    [("", 0), ('{"n": 1}\n{"n": 12}\n', 12), ('{"n": 3}\n{"n": 4, "ro', 3)],
    ids=["empty", "last line", "a line cut by a crash is none"],
)
def test_the_last_anchor_is_the_last_whole_line(tmp_path, content, n):
    file = tmp_path / "anchors.jsonl"
    file.write_text(content, encoding="utf-8")
    assert keeper.last_anchor(file) == n


def test_no_file_is_no_anchor(tmp_path):
    assert keeper.last_anchor(tmp_path / "none") == 0
