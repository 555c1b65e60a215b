"""The command on Debian's own packages: who may run it, what it leaves behind, and that it fails in one line."""

from __future__ import annotations

import json

testinfra_hosts = ["docker://tovplay-whodunit"]


def as_dana(host, *arguments):
    return host.run("sudo -u dana -H /usr/local/bin/whodunit " + " ".join(arguments))


def test_it_runs_with_debians_packages(host):
    assert "--apply" in as_dana(host, "undo", "--help").stdout
    assert as_dana(host, "--version").rc == 0


def test_a_vault_that_is_not_there_is_said_in_one_line(host):
    result = as_dana(host, "last")
    assert result.rc == 1
    assert result.stderr.startswith("Error: the vault does not answer: ")
    assert "Traceback" not in result.stderr


def test_only_members_run_it_and_read_its_secrets(host):
    for path in ("/usr/local/bin/whodunit", "/etc/tovplay/whodunit.toml", "/etc/tovplay/whodunit.keys"):
        file = host.file(path)
        assert (file.user, file.group) == ("root", "whodunit")
        assert file.mode & 0o027 == 0
    assert host.run("sudo -u nobody /usr/local/bin/whodunit last").rc != 0


def test_every_use_is_in_the_journal(host):
    as_dana(host, "table", "Used")
    lines = host.check_output("journalctl -t whodunit -o cat --no-pager").splitlines()
    used = json.loads(lines[-1])
    assert (used["event"], used["user"], used["arguments"]) == ("whodunit_used", "dana", ["table", "Used"])
