"""What the vault's keeper concludes from what both sides say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "roles/audit_vault/files/keeper"))
common = importlib.import_module("keeper_common")
epoch = importlib.import_module("keeper_epoch")
alarms = importlib.import_module("keeper_alarms")
holder = importlib.import_module("tovplay_vault_holder")

PRODUCTION = {
    "system_identifier": 7,
    "timeline": 1,
    "lsn": "1/10",
    "slot": True,
    "wal_status": "reserved",
    "forgot": False,
}
OWN = {"own_system": 9, "own_timeline": 1, "own_lsn": "0/50"}
VAULT = {
    "epoch": 1,
    "system_identifier": 7,
    "timeline": 1,
    "applied": "1/0",
    "seals": 5,
    "subscribed": True,
    **OWN,
}
BEFORE = epoch.Outside(5, {**OWN, "own_lsn": "0/40"})


@pytest.mark.parametrize(
    ("production", "vault", "outside", "reason"),
    [
        ({}, {}, BEFORE, None),
        ({}, {"applied": None}, BEFORE, None),
        ({}, {}, epoch.Outside(5, None), None),
        ({}, {"epoch": 0, "subscribed": False}, epoch.Outside(0, None), "first subscription"),
        ({}, {"epoch": 0, "subscribed": False, "seals": 0}, epoch.Outside(5, None), "the vault was rebuilt"),
        ({}, {"epoch": 0, "subscribed": False, "seals": 0}, epoch.Outside(0, OWN), "the vault was rebuilt"),
        ({"system_identifier": 8}, {}, BEFORE, "production is another cluster"),
        ({"timeline": 2}, {}, BEFORE, "production was restored or failed over"),
        ({"lsn": "0/FFFFFFFF"}, {}, BEFORE, "production was set back"),
        ({"forgot": True}, {}, BEFORE, "production was set back"),
        ({}, {"seals": 4}, BEFORE, "the vault was set back"),
        ({}, {"own_lsn": "0/3F"}, BEFORE, "the vault was set back"),
        ({}, {"own_timeline": 2}, BEFORE, "the vault was set back"),
        ({}, {"own_system": 10}, BEFORE, "the vault was set back"),
        ({"slot": False}, {}, BEFORE, "production has lost the slot"),
        ({"slot": False}, {"subscribed": False}, BEFORE, None),
        ({"wal_status": "lost"}, {}, BEFORE, "production gave the slot up, since it kept too much WAL"),
    ],
)
def test_what_does_not_continue_opens_an_epoch(production, vault, outside, reason):
    assert epoch.new_epoch_reason({**PRODUCTION, **production}, {**VAULT, **vault}, outside) == reason


def test_a_position_that_was_noted_is_read_again(tmp_path):
    epoch.note_position(tmp_path / "position.json", {**VAULT, **OWN})
    assert epoch.Outside.read(tmp_path / "none", tmp_path / "position.json") == epoch.Outside(0, OWN)
    (tmp_path / "position.json").write_text('{"own_ls', encoding="utf-8")
    assert epoch.Outside.read(tmp_path / "none", tmp_path / "position.json").position is None


@pytest.mark.parametrize(("text", "number"), [(None, 0), ("0/0", 0), ("0/1F", 31), ("2/0", 2 << 32)])
def test_a_position_in_wal_is_a_number(text, number):
    assert common.lsn(text) == number


@pytest.mark.parametrize(
    ("content", "n"),
    [
        ("", 0),
        ('{"n": 1}\n{"n": 12}\n', 12),
        ('{"n": 3}\n{"n": 4, "ro', 3),
        ('{"n": 3}\n{"n": 4, "ro{"n": 4}\n', 3),
    ],
    ids=["empty", "last line", "a line cut by a crash is none", "nor one that another was written behind"],
)
def test_the_last_anchor_is_the_last_whole_line(tmp_path, content, n):
    file = tmp_path / "anchors.jsonl"
    file.write_text(content, encoding="utf-8")
    assert common.last_anchor(file) == n


def test_no_file_is_no_anchor(tmp_path):
    assert common.last_anchor(tmp_path / "none") == 0


def test_an_anchor_never_shares_its_line_with_one_that_was_cut(tmp_path):
    file = tmp_path / "anchors.jsonl"
    file.write_text('{"n": 3}\n{"n": 4, "ro', encoding="utf-8")
    common.append(file, [{"n": 4, "root": "aa"}])
    assert file.read_text(encoding="utf-8").splitlines() == ['{"n": 3}', '{"n": 4, "ro', '{"n": 4, "root": "aa"}']
    assert common.last_anchor(file) == 4


@pytest.mark.parametrize(
    ("retained", "seconds", "moves"), [(0, 0, False), (11, 0, True), (0, 61, True), (10, 59, False)]
)
def test_the_held_slot_moves_when_it_keeps_much_or_for_long(retained, seconds, moves):
    assert holder.due(retained, 10, seconds) is moves


SETTINGS = common.Settings(
    vault="", production="", policies=[], **dict.fromkeys(["anchors", "position", "data", "metrics"], ROOT)
)
THERE = {
    **PRODUCTION,
    "active": True,
    "confirmed": "1/0",
    "retained": 1000,
    "keep": 10 * 2**30,
    "held": True,
    "template": True,
    "stray": None,
}
HERE = {
    "working": True,
    "errors": 0,
    "heartbeat_age": 3.0,
    "unsealed_age": None,
    "open_gaps": 0,
    "rest": 0,
}


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, set()),
        ({"slot": False, "active": None, "wal_status": None}, {"slot_lost"}),
        ({"wal_status": "lost"}, {"slot_lost"}),
        ({"active": False}, {"slot_inactive"}),
        ({"lsn": "1/20000000"}, {"lag"}),
        ({"retained": 6 * 2**30}, {"slot_fills_disk"}),
        ({"keep": -1048576}, {"slot_unbounded"}),
        ({"stray": ["pg_1_sync_2_3"]}, {"slot_stray"}),
        ({"held": False}, {"not_held"}),
        ({"template": False}, {"not_template"}),
    ],
)
def test_what_production_says_raises_its_alarm(changed, kinds):
    assert alarms.on_production({**THERE, **changed}, SETTINGS).keys() == kinds


@pytest.mark.parametrize(
    ("changed", "silent_for", "errors_before", "kinds"),
    [
        ({}, 0, None, set()),
        ({"working": False}, 0, None, {"not_applying"}),
        ({"errors": 3}, 0, 2, {"apply_error"}),
        ({"errors": 3}, 0, 3, set()),
        ({"errors": 3}, 0, None, set()),  # of before the keeper began
        ({"heartbeat_age": 61.0}, 0, None, {"silence"}),
        ({"heartbeat_age": None}, 59, None, set()),
        ({"heartbeat_age": None}, 61, None, {"silence"}),
        ({"unsealed_age": 301.0}, 0, None, {"not_sealed"}),
        ({"open_gaps": 1}, 0, None, {"gap"}),
        ({"rest": 1}, 0, None, {"rows_outside_days"}),
    ],
)
def test_what_the_vault_says_raises_its_alarm(changed, silent_for, errors_before, kinds):
    assert alarms.in_vault({**HERE, **changed}, SETTINGS, silent_for, errors_before).keys() == kinds
