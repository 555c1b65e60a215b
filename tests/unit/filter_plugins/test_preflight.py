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
