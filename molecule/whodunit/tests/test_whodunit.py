"""Wipe a captured production beside its vault, ask the command, undo; on Debian's own Python packages."""

from __future__ import annotations

import json
import time

import pytest

testinfra_hosts = ["docker://tovplay-whodunit"]

TABLES = ('"User"', '"Game"', '"GameRequest"')


def psql(host, query, database="TovPlay", port=5432):
    return host.check_output(
        "sudo -u postgres psql -X -q -At -v ON_ERROR_STOP=1 -p %s -d %s -c %s", str(port), database, query
    )


def run(host, user, *arguments):
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    return host.run(f"sudo -u {user} -g whodunit -H /usr/local/bin/whodunit {quoted}")


def ask(host, *arguments, user="dana"):
    done = run(host, user, *arguments)
    assert done.rc == 0, done.stderr
    return done.stdout


def settle(host):
    """Until the vault has applied what production has committed."""
    lsn = psql(host, "SELECT pg_current_wal_flush_lsn()")
    end = time.monotonic() + 40
    applied = f"SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = 'tovplay_vault'"
    while psql(host, applied) != "t":
        assert time.monotonic() < end, "the vault does not follow"
        time.sleep(0.2)


def wipe(host, statements):
    """One transaction with a reason; the incident that the vault makes of it."""
    xid = psql(host, f"BEGIN; SET LOCAL audit.reason = 'molecule'; {statements}; SELECT pg_current_xact_id(); COMMIT")
    settle(host)
    return f"e{psql(host, 'SELECT max(n) FROM vault.epoch', 'vault', 5433)}-x{xid.splitlines()[-1]}"


def checksums(host):
    return [
        psql(host, f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t") for name in TABLES
    ]


WIPES = {
    "a wipe that cascades": ('DELETE FROM "User"', {("public.User", "D"): 300, ("public.Game", "D"): 100}),
    "update without where": ('UPDATE "User" SET email = id::text, balance = NULL', {("public.User", "U"): 300}),
    "truncate": ('TRUNCATE "User" CASCADE', {("public.User", "T"): 300, ("public.GameRequest", "T"): 100}),
    "replica role": (
        'SET LOCAL session_replication_role = replica; DELETE FROM "GameRequest"',
        {("public.GameRequest", "D"): 100},
    ),
    "a mixture": (
        'UPDATE "Game" SET title = \'x\' WHERE id < 50; DELETE FROM "Game" WHERE id < 20;'
        " INSERT INTO \"Game\" (title, owner) VALUES ('new', 1)",
        {("public.Game", "U"): 49, ("public.Game", "D"): 19},
    ),
    "drop table": ('DROP TABLE "GameRequest"', {("public.GameRequest", "X"): 100}),
}


@pytest.mark.parametrize("case", WIPES)
def test_who_did_it_and_everything_back(host, case):
    statements, rows = WIPES[case]
    before = checksums(host)
    incident = wipe(host, statements)
    report = json.loads(ask(host, "trace", incident, "--json"))
    told = {each["name"]: each["value"] for each in report["answers"]}
    assert report["incident"] == incident
    assert (told["person"], told["reason"]) == ("postgres", "molecule")
    assert rows.items() <= {(each["table"], each["op"]): each["rows"] for each in report["changes"]}.items()
    assert ask(host, "trace", incident, "--json") == ask(host, "trace", incident, "--json")
    ask(host, "undo", incident, "--apply", user="postgres")
    assert checksums(host) == before
    settle(host)
    assert psql(host, "INSERT INTO \"User\" (email, password_hash) VALUES ('next', 'x') RETURNING id").isdecimal()
    psql(host, "DELETE FROM \"User\" WHERE email = 'next'")
    settle(host)


def test_the_undo_is_itself_undone(host):
    wiped = wipe(host, 'DELETE FROM "Game"')
    after = checksums(host)
    ask(host, "undo", wiped, "--apply", user="postgres")
    settle(host)
    reason = f"undo of {wiped}"
    xid = psql(host, f"SELECT xid FROM vault.transactions WHERE reason = '{reason}'", "vault", 5433)
    ask(host, "undo", f"{wiped.partition('-')[0]}-x{xid}", "--apply", user="postgres")
    assert checksums(host) == after
    settle(host)
    ask(host, "undo", wiped, "--apply", user="postgres")
    assert checksums(host) != after


def test_secrets_are_shown_to_nobody(host):
    password = psql(host, 'SELECT password_hash FROM "User" WHERE id = 7')
    incident = wipe(host, f"UPDATE \"User\" SET balance = 1 WHERE password_hash = '{password}'")
    for form in ([], ["--json"]):
        assert password not in ask(host, "trace", incident, *form)


def test_the_vault_agrees_with_its_anchors(host):
    time.sleep(6)  # the keeper seals every five seconds
    assert "anchors that agree: " in ask(host, "verify")
    assert "none" not in ask(host, "verify").splitlines()[0]


def test_only_members_run_it_and_read_its_secrets(host):
    for path in ("/usr/local/bin/whodunit", "/etc/tovplay/whodunit.toml", "/etc/tovplay/whodunit.keys"):
        file = host.file(path)
        assert (file.user, file.group) == ("root", "whodunit")
        assert file.mode & 0o027 == 0
    assert host.run("sudo -u nobody /usr/local/bin/whodunit last").rc != 0


def test_every_use_is_in_the_journal(host):
    run(host, "dana", "table", "Used")
    lines = host.check_output("journalctl -t whodunit -o cat --no-pager").splitlines()
    used = json.loads(lines[-1])
    assert (used["event"], used["user"], used["arguments"]) == ("whodunit_used", "dana", ["table", "Used"])


def browse(host, path, login=""):
    """What the web server would get from the socket: status and body."""
    header = f"-H 'X-Remote-User: {login}' " if login else ""
    answer = host.run(
        f"curl -s {header}-w '\n%{{http_code}}' --unix-socket /run/tovplay-whodunit/page.sock http://localhost{path}"
    )
    body, _, code = answer.stdout.rpartition("\n")
    return int(code), body


def test_the_page_tells_each_reader_what_the_vault_lets_him_see(host):
    incident = wipe(host, 'DELETE FROM "GameRequest" WHERE game < 5')
    code, told = browse(host, f"/{incident}", "lead")
    assert code == 200 and "4 rows lost" in told and "molecule" in told and "Rows before and after" in told
    assert incident in browse(host, "/", "lead")[1]
    code, told = browse(host, f"/{incident}.json", "boss")
    assert code == 200 and json.loads(told)["samples"] == []
    for login in ("", "dana", "postgres", "whodunit-page"):
        assert browse(host, f"/{incident}", login)[0] == 403
    used = json.loads(
        host.check_output("journalctl -t whodunit -o cat --no-pager -n 500 | grep whodunit_page | tail -1")
    )
    assert (used["user"], used["arguments"]) == ("boss", [f"/{incident}.json"])


def test_the_page_is_reached_by_the_web_server_only(host):
    socket = host.file("/run/tovplay-whodunit/page.sock")
    assert (socket.user, socket.group, socket.mode & 0o007) == ("whodunit-page", "www-data", 0)
    assert host.run("sudo -u nobody curl -s --unix-socket /run/tovplay-whodunit/page.sock http://localhost/").rc != 0
    listening = host.check_output("ss -Hlntp")
    assert "gunicorn" not in listening and "whodunit" not in listening
