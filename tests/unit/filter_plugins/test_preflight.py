"""The preflight's judgements, one row each."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from filter_plugins import preflight

ROLES = str(Path(__file__).resolve().parents[3] / "roles")


def test_a_typo_is_refused_with_the_likely_spelling():
    (sentence,) = preflight.unknown_inputs(["docker_host_package", "docker_host_daemon", "ansible_user"], ROLES)
    assert "docker_host_package is no input of role docker_host" in sentence
    assert "did you mean docker_host_packages?" in sentence


@pytest.mark.parametrize(
    ("value", "useless"),
    [("", True), ("  ", True), (None, True), ("CHANGE_ME", True), ("your_webhook_id", True), ("s3cret", False)],
)
def test_secrets_that_are_none(value, useless):
    assert preflight.useless_secrets({"vault_x": value}) == (["vault_x"] if useless else [])


@pytest.mark.parametrize(
    ("addresses", "clash"),
    [
        pytest.param(("127.0.0.1", "127.0.0.1"), True, id="same-address"),
        pytest.param(("127.0.0.1", "0.0.0.0"), True, id="wildcard"),  # noqa: S104
        pytest.param(("127.0.0.1", "172.17.0.1"), False, id="two-addresses"),
    ],
)
def test_port_clashes(addresses, clash):
    listeners = [{"name": n, "address": a, "port": p} for n, a, p in zip("ab", addresses, (80, "80"), strict=True)]
    assert bool(preflight.port_clashes(listeners)) is clash


def test_entries_follow_their_groups():
    entries = [{"n": 1, "groups": ["app"]}, {"n": 2, "groups": ["watch"]}, {"n": 3}]
    assert [e["n"] for e in preflight.for_groups(entries, ["app", "databases"])] == [1, 3]


def test_an_entry_leaves_out_hosts_of_other_groups():
    entries = [{"n": 1, "groups": ["watch"], "except": ["app"]}]
    assert [e["n"] for e in preflight.for_groups(entries, ["watch"])] == [1]
    assert preflight.for_groups(entries, ["watch", "app"]) == []


@pytest.mark.parametrize(
    ("free", "sentences"),
    [
        pytest.param(["3000 /", "3000 /"], [], id="enough"),
        pytest.param(
            ["2999 /", "2999 /"], ["/ has 2999 MB free, and 3000 MB are needed (2000 for WAL, 1000 for logs)"], id="sum"
        ),
        pytest.param(
            ["2000 /pg data", "999 /"], ["/ has 999 MB free, and 1000 MB are needed (1000 for logs)"], id="two"
        ),
    ],
)
def test_room_is_counted_by_file_system(free, sentences):
    wanted = [{"path": "/pg data", "mb": 2000, "for": "WAL"}, {"path": "/var/log", "mb": 1000, "for": "logs"}]
    assert [one.partition(";")[0] for one in preflight.space_problems(wanted, free)] == sentences


def test_a_living_holder_is_respected_and_a_dead_one_is_not():
    owner = preflight.converge_owner("me")
    assert owner["controller"] == socket.gethostname()
    assert not preflight.converge_owner_gone(owner, hours=4)
    assert preflight.converge_owner_gone({**owner, "started": "1"}, hours=4), "the same PID, used again"
    assert preflight.converge_owner_gone({**owner, "pid": 2**22 + os.getpid()}, hours=4)


@pytest.mark.parametrize(("since", "gone"), [("2020-01-01T00:00:00Z", True), ("2999-01-01T00:00:00Z", False)])
def test_of_another_controller_only_the_age_is_known(since, gone):
    holder = {"controller": "elsewhere", "pid": 1, "started": "1", "since": since}
    assert preflight.converge_owner_gone(holder, hours=4) is gone
