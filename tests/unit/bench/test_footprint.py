"""Which part of a host a process belongs to, whatever the version of cgroups."""

from __future__ import annotations

import pytest

from bench.footprint.processes import part

HOST, LOKI = "a" * 64, "b" * 64
NAMES = {LOKI: "loki"}


@pytest.mark.parametrize(
    ("groups", "name"),
    [
        (f"9:name=systemd:/docker/{HOST}/init.scope\n0::/docker/{HOST}/init.scope", "system"),
        (f"0::/docker/{HOST}/system.slice/system-postgresql.slice/postgresql@15-vault.service", "postgresql@15-vault"),
        (f"4:memory:/docker/{LOKI}\n0::/docker/{LOKI}", "loki"),
        (f"0::/system.slice/docker-{HOST}.scope/system.slice/docker-{LOKI}.scope", "loki"),
        (f"0::/docker/{HOST}/system.slice/docker.service", "docker"),
    ],
    ids=["init", "unit", "container", "container of a scope", "engine"],
)
def test_a_process_belongs_to_its_container_or_unit(groups, name):
    assert part(groups, NAMES) == name
