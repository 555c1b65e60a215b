"""What tovplay-backup concludes: alarms, figures, targets and the settings of a copy."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "roles/backup/files"))
backup = importlib.import_module("tovplay_backup")

NOW = 1_000_000
FULL = {
    "type": "full",
    "label": "20260504-013000F",
    "error": False,
    "timestamp": {"start": NOW - 130, "stop": NOW - 100},
    "info": {"repository": {"delta": 4096}},
}
# pg_controldata 15.18
CONTROL = """wal_level setting:                    logical
max_connections setting:              100
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
track_commit_timestamp setting:       on
"""


@pytest.mark.parametrize(
    ("backups", "archive_error", "last_run", "kinds"),
    [
        ([FULL], "", {"result": "ok"}, set()),
        ([FULL], "", {}, set()),
        ([], "", {}, {"no_backup"}),
        ([{**FULL, "error": True}], "", {}, {"no_backup"}),
        ([{**FULL, "timestamp": {"start": 0, "stop": 1}}], "", {}, {"backup_old"}),
        ([FULL], "timeout", {"result": "failed", "detail": "full"}, {"archive_broken", "backup_failed"}),
    ],
    ids=["fine", "never by timer", "none", "only a broken one", "old", "all fails"],
)
def test_alarms(backups, archive_error, last_run, kinds):
    stanza = {"name": "production", "backup": backups}
    assert set(backup.alarms_of(stanza, archive_error, last_run, NOW, 3600)) == kinds


def test_every_alarm_has_a_figure_also_when_it_is_quiet():
    lines = backup.figures_of({"name": "p", "backup": [FULL]}, {"backup_old": "it is"}, {"result": "ok"})
    assert 'tovplay_backup_alarm{stanza="p",kind="backup_old"} 1' in lines
    assert 'tovplay_backup_alarm{stanza="p",kind="archive_broken"} 0' in lines
    assert f'tovplay_backup_last_timestamp_seconds{{stanza="p",type="full"}} {NOW - 100}' in lines
    assert 'tovplay_backup_last_run_ok{stanza="p"} 1' in lines


def options(**given):
    nothing = {"time": None, "lsn": None, "xid": None, "inclusive": False, "set": None}
    return argparse.Namespace(**{**nothing, **given})


@pytest.mark.parametrize(
    ("given", "argv"),
    [
        ({"lsn": "0/5000028"}, ["--type=lsn", "--target=0/5000028", "--target-exclusive", "--target-action=promote"]),
        (
            {"time": "2026-05-04T03:02:01.5Z"},
            ["--type=time", "--target=2026-05-04 03:02:01.500000+00", "--target-exclusive", "--target-action=promote"],
        ),
        (
            {"xid": "771", "set": "20260504-013000F", "inclusive": True},
            ["--type=xid", "--target=771", "--set=20260504-013000F", "--target-action=promote"],
        ),
    ],
)
def test_a_moment_becomes_a_target(given, argv):
    assert backup.target_of(options(**given)) == argv


@pytest.mark.parametrize(
    "given", [{}, {"lsn": "0/1", "xid": "2"}, {"lsn": "0/1 --force"}, {"time": "noon"}, {"time": "2026-05-04 03:02:01"}]
)
def test_no_moment_no_copy(given):
    with pytest.raises(backup.BackupError):
        backup.target_of(options(**given))


def test_a_copy_takes_the_clusters_limits_and_no_part_in_replication():
    text = backup.configuration(CONTROL, 5440)
    for line in ("max_connections = 100", "max_locks_per_transaction = 64", "max_worker_processes = 8", "port = 5440"):
        assert line in text.splitlines()
    for line in ("archive_mode = off", "listen_addresses = ''", "max_logical_replication_workers = 0"):
        assert line in text.splitlines()
