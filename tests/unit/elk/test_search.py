"""tovplay-search: which indices and snapshots go, and what the role renders and refuses."""

from __future__ import annotations

import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def module(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


search = module("roles/elk/files/tovplay_search.py")
elk = module("filter_plugins/elk.py")
MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
SETTINGS = {
    "cluster_name": "tovplay",
    "host": "one",
    "listen_address": "10.0.0.1",
    "http_port": 9200,
    "transport_port": 9300,
    "members": [],
    "initial_masters": [],
    "memory": "2g",
    "mmap": True,
    "replicas": 0,
    "retention": {"audit": "2160h"},
    "retention_default": "720h",
    "snapshot_keep": 2,
}
PASSWORDS = {f"tovplay_{name}": f"{name}-password-1" for name in ("admin", "writer", "reader")}


@pytest.mark.parametrize(
    ("index", "now", "gone"),
    [
        # The last line of 30 November is written at its end: 24 hours later it is a day old, not earlier.
        ("tovplay-debug-2026.11.30", MIDNIGHT + timedelta(hours=24), True),
        ("tovplay-debug-2026.11.30", MIDNIGHT + timedelta(hours=24, seconds=-1), False),
        ("tovplay-audit-2026.11.30", MIDNIGHT + timedelta(hours=24), False),
        ("tovplay-unheard-2026.11.30", MIDNIGHT + timedelta(hours=48), True),
        ("tovplay-unheard-2026.11.30", MIDNIGHT + timedelta(hours=47), False),
        ("tovplay-debug-kept", MIDNIGHT + timedelta(days=999), False),
        ("other-debug-2026.11.30", MIDNIGHT + timedelta(days=999), False),
    ],
)
def test_an_index_goes_when_its_last_line_is_too_old(index, now, gone):
    assert search.expired([index], {"debug": "24h", "audit": "2160h"}, "48h", now) == ([index] if gone else [])


def snapshots(*states: str) -> list[dict]:
    return [{"snapshot": f"s{n}", "state": state, "start_time_in_millis": n} for n, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "gone"),
    [
        (["SUCCESS", "SUCCESS"], []),
        (["SUCCESS", "SUCCESS", "SUCCESS"], ["s0"]),
        (["SUCCESS", "FAILED", "SUCCESS", "SUCCESS"], ["s1", "s0"]),
        (["SUCCESS", "SUCCESS", "PARTIAL", "FAILED"], []),
    ],
)
def test_a_broken_snapshot_never_costs_a_complete_one(states, gone):
    assert search.surplus(snapshots(*states), 2) == gone


def test_a_node_alone_and_a_cluster_are_rendered():
    assert elk.elk_config(SETTINGS)["discovery.type"] == "single-node"
    cluster = elk.elk_config({**SETTINGS, "members": ["one", "two"], "initial_masters": ["one"]})
    assert cluster["discovery.seed_hosts"] == ["one:9300", "two:9300"]
    assert cluster["cluster.initial_master_nodes"] == ["one"]
    assert "discovery.type" not in cluster
    later = elk.elk_config({**SETTINGS, "members": ["one", "two"]})
    assert "cluster.initial_master_nodes" not in later


@pytest.mark.parametrize(("memory", "heap"), [("1g", 512), ("1500m", 750), ("128g", 31 * 1024)])
def test_half_of_the_memory_is_heap(memory, heap):
    assert f"-Xms{heap}m\n-Xmx{heap}m\n" in elk.elk_jvm_options(memory)


def test_a_password_file_is_the_same_again_and_another_on_another_host():
    first = elk.elk_users(PASSWORDS, "one")
    assert first == elk.elk_users(PASSWORDS, "one") != elk.elk_users(PASSWORDS, "two")
    assert "password-1" not in first


@pytest.mark.parametrize(
    ("changed", "passwords", "said"),
    [
        ({}, {"tovplay_admin": "CHANGE_ME"}, "vault_elk_admin_password is missing"),
        ({}, {"tovplay_writer": PASSWORDS["tovplay_reader"]}, "have the same password"),
        ({"retention_default": "30d"}, {}, "The retention of the default is 30d"),
        ({"memory": "512m"}, {}, "write at least 768m"),
        ({"snapshot_keep": 0}, {}, "keep at least one"),
        ({"members": ["two"]}, {}, "elk_members does not name one"),
        ({"initial_masters": ["two"]}, {}, "not in elk_members"),
        ({"members": ["one", "two"], "listen_address": "127.0.0.1"}, {}, "set elk_listen_address"),
        ({"replicas": 1}, {}, "cannot hold replicas"),
    ],
)
def test_what_cannot_work_is_said(changed, passwords, said):
    assert elk.elk_problems(SETTINGS, PASSWORDS) == []
    problems = elk.elk_problems({**SETTINGS, **changed}, {**PASSWORDS, **passwords})
    assert len(problems) == 1 and said in problems[0]
