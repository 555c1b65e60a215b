"""The module around the pure core: file, check mode, what it answers and what it never says."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils import basic, pg_roles, pg_scram
from ansible.module_utils.pgbouncer_userlist import ServerRole, UserlistError, parse
from ansible.module_utils.testing import patch_module_args

from library import pgbouncer_userlist

OWN = {"owner": str(os.getuid()), "group": str(os.getgid()), "iterations": 2}
STORED = str(pg_scram.derive("pencil", b"0123456789abcdef", 2))


class FakeServer:
    """pg_authid for one test; `refuses` makes ALTER ROLE fail."""

    def __init__(self, roles, refuses=False):
        self.stored, self.refuses, self.altered = dict(roles), refuses, {}

    def __call__(self, login):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def roles(self, names):
        return {name: role for name, role in self.stored.items() if name in names}

    def alter(self, secrets):
        if self.refuses:
            raise UserlistError("PostgreSQL said: no")
        self.altered.update(secrets)
        self.stored.update({name: ServerRole(secret) for name, secret in secrets.items()})


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    path = tmp_path / "userlist.txt"

    def run(users=None, *, server=None, check=False, **params):
        monkeypatch.setattr(pg_roles, "Server", server)
        monkeypatch.setattr(pg_roles, "AVAILABLE", True)
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", None)
        args = {"path": str(path), **OWN, "users": users or [], "_ansible_check_mode": check, "_ansible_diff": True}
        args |= {"postgresql": {}} if server else {}
        with patch_module_args(args | params), pytest.raises(SystemExit):
            pgbouncer_userlist.main()
        out, err = capsys.readouterr()
        result = json.loads(out)
        result["shown"] = out + err
        return result

    run.path = path
    return run


def user(name="a", **more):
    return {"name": name, **({} if {"verifier", "state"} & set(more) else {"password": "pencil"}), **more}


def test_writes_once_then_changes_nothing(run):
    first = run([user()])
    assert first["changed"]
    assert first["added"] == first["users"] == ["a"]
    assert run.path.stat().st_mode & 0o7777 == 0o640
    before = run.path.read_text()
    assert not run([user()])["changed"]
    assert run.path.read_text() == before


def test_check_mode_is_the_same_path_without_the_write(run):
    server = FakeServer({"a": ServerRole(None)})
    dry = run([user()], server=server, check=True)
    assert not run.path.exists()
    assert not server.altered
    wet = run([user()], server=server)
    assert {k: dry[k] for k in ("changed", "added", "altered_roles", "diff")} == {
        k: wet[k] for k in ("changed", "added", "altered_roles", "diff")
    }
    assert not run([user()], server=server, check=True)["changed"]


def test_server_and_file_get_the_same_verifier(run):
    server = FakeServer({"a": ServerRole(None)})
    result = run([user()], server=server)
    assert result["altered_roles"] == ["a"]
    assert parse(run.path.read_text()).secrets == server.altered
    assert result["drift"] == []


def test_drift_is_reported_and_repaired(run):
    run([user(), user("foreign", verifier=STORED, method="verifier")])
    changed = FakeServer({"a": ServerRole(STORED.replace("4", "5")), "foreign": ServerRole(None)})
    result = run([user()], server=changed)
    assert [(d["name"], d["repaired"]) for d in result["drift"]] == [("a", True), ("foreign", False)]
    assert [d["name"] for d in run([user()], server=changed)["drift"]] == ["foreign"]


def test_a_refusing_server_leaves_the_file(run):
    run([user()])
    before = run.path.read_bytes()
    result = run([user(password="rotated")], server=FakeServer({"a": ServerRole(None)}, refuses=True))
    assert result["failed"]
    assert result["msg"] == f"PostgreSQL said: no; {run.path} is as it was."
    assert run.path.read_bytes() == before
    assert [p.name for p in run.path.parent.iterdir()] == ["userlist.txt"]


def test_an_unreachable_server_is_an_error_but_not_in_a_dry_run(run):
    def unreachable(login):
        raise UserlistError("PostgreSQL said: connection refused")

    assert "connection refused" in run([user()], server=unreachable)["msg"]
    dry = run([user(), user("b", method="verifier", password=None)], server=unreachable, check=True)
    assert dry["added"] == ["a", "b"]
    # Where Ansible's controller code is loaded too, a warning is printed, and wrapped, instead of answered.
    assert "not compared with PostgreSQL" in " ".join(dry["shown"].split())


def test_a_broken_file_is_refused_or_replaced_whole(run):
    run.path.write_text('"ok" "x"\n"broken "y"\n')
    refused = run([user()])
    assert f"{run.path}: line 2" in refused["msg"]
    assert run.path.read_text() == '"ok" "x"\n"broken "y"\n'
    assert run([user()], exclusive=True)["users"] == ["a"]
    run.path.write_bytes(b'"\xff" "x"\n')
    assert "not UTF-8" in run([user()])["msg"]
    assert run([user()], exclusive=True)["users"] == ["a"]


def test_attributes_are_part_of_the_state(run):
    run([user()])
    run.path.chmod(0o644)
    assert run([user()])["changed"]
    assert run.path.stat().st_mode & 0o7777 == 0o640


MODES = [("world-readable", "0644", "everybody"), ("not-octal", "rw", "not octal")]


@pytest.mark.parametrize(("mode", "why"), [row[1:] for row in MODES], ids=[row[0] for row in MODES])
def test_refuses_modes(run, mode, why):
    assert why in run([user()], mode=mode)["msg"]
    assert not run.path.exists()


def test_refuses_unknown_accounts_but_not_before_they_exist(run):
    assert "no owner 'pgb-nobody'" in run([user()], owner="pgb-nobody")["msg"]
    assert run([user()], owner="pgb-nobody", check=True)["changed"]


def test_a_change_that_was_never_applied_is_reported_again(run, tmp_path):
    marker = tmp_path / "applied"
    run([user()], applied_marker=str(marker))
    assert run([user()], applied_marker=str(marker))["changed"]
    marker.touch()
    assert not run([user()], applied_marker=str(marker))["changed"]
    assert run([user(password="rotated")], applied_marker=str(marker))["changed"]
    assert not marker.exists()


def test_nothing_it_says_holds_a_secret(run):
    secrets = ["first secret", "second secret", "third secret", STORED]
    server = FakeServer({"a": ServerRole(STORED), "b": ServerRole(STORED)})
    said = [
        run([user(password=secrets[0])], server=server)["shown"],
        run([user(password=secrets[1]), user("b", method="verifier", verifier=STORED)], server=server)["shown"],
        run([user(password=secrets[2] + "\n")])["shown"],
        run([user(password=STORED)])["shown"],
        run([user("b", method="plain", password=secrets[0])])["shown"],
    ]
    written = parse(run.path.read_text()).secrets.values()
    for text in said:
        for secret in [*secrets, *written]:
            assert secret not in text
