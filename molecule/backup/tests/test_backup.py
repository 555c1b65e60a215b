"""A database dropped and its copy of the moment before, a broken archive, refusals; two hosts and TLS between."""

from __future__ import annotations

import json
import time

import pytest
import yaml

testinfra_hosts = ["docker://tovplay-backup-repo"]

FIGURES = "/var/lib/tovplay/metrics/backup.prom"
ROWS = "SELECT md5(string_agg(t::text, ',' ORDER BY id)), count(*) FROM kept t"


@pytest.fixture(scope="module")
def production():
    import testinfra

    return testinfra.get_host("docker://tovplay-backup")


def sql(host, query, database="postgres", port=5432):
    return host.check_output(
        "sudo -u postgres psql -XAt -v ON_ERROR_STOP=1 -p %s -d %s -c %s", str(port), database, query
    )


def tool(host, words):
    return host.run(f"cd / && sudo -u postgres tovplay-backup {words}")


def figure(host, name):
    lines = host.file(FIGURES).content_string.splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(name)]


def look(host):
    """What the timer does; a broken archive takes some seconds to be sure of."""
    assert tool(host, "watch").rc == 0


def alarm(host, kind):
    return figure(host, f'tovplay_backup_alarm{{stanza="production",kind="{kind}"}}')


@pytest.fixture(scope="module")
def wiped(host, production):
    """A first backup, rows after it, and DROP DATABASE; where it was before, and the rows' checksum."""
    deadline = time.monotonic() + 60
    while '"backup":[]' in host.check_output("sudo -u postgres pgbackrest info --output=json"):
        assert time.monotonic() < deadline, host.check_output("journalctl -t tovplay-backup")
        time.sleep(1)
    sql(production, "CREATE DATABASE shop")
    sql(production, "CREATE TABLE kept (id int PRIMARY KEY, t text)", "shop")
    sql(production, "INSERT INTO kept SELECT n, md5(n::text) FROM generate_series(1, 20000) n", "shop")
    host.check_output("systemctl start tovplay-backup-incr@production.service")
    sql(production, "UPDATE kept SET t = t || 'after the backup' WHERE id % 2 = 0", "shop")
    moment = {"rows": sql(production, ROWS, "shop"), "lsn": sql(production, "SELECT pg_current_wal_lsn()")}
    moment["time"] = sql(production, "SELECT clock_timestamp()")
    moment["xid"] = (
        sql(production, "INSERT INTO kept VALUES (0, 'wrong'); SELECT 1", "shop")
        and sql(
            production,
            "WITH w AS (DELETE FROM kept WHERE id > 5 RETURNING 1) SELECT pg_current_xact_id(), count(*) FROM w",
            "shop",
        ).partition("|")[0]
    )
    sql(production, "DROP DATABASE shop")
    sql(production, "SELECT pg_switch_wal()")
    look(host)
    return moment


def test_backups_are_there_and_measured(host, wiped):
    assert figure(host, "tovplay_backup_count")[0] >= 2
    for kind in ("archive_broken", "backup_failed", "backup_old", "no_backup"):
        assert alarm(host, kind) == [0], kind
    assert time.time() - figure(host, 'tovplay_backup_last_timestamp_seconds{stanza="production",type="incr"')[0] < 300
    assert figure(host, "tovplay_backup_last_run_ok") == [1]


def test_the_repository_is_encrypted_and_not_for_everybody(host, wiped):
    archived = host.check_output("find /var/lib/pgbackrest/archive -name '0*.zst' -o -name '0*-*' -type f | head -1")
    assert host.check_output("head -c 8 %s", archived) == "Salted__"
    for path in ("/etc/pgbackrest.conf", "/etc/tovplay/backup/restore.conf"):
        assert (host.file(path).user, host.file(path).group, host.file(path).mode) == ("root", "postgres", 0o640)


def test_the_clusters_host_does_not_know_the_passphrase(production):
    assert "cipher" not in production.file("/etc/pgbackrest.conf").content_string


@pytest.mark.parametrize("kind", ["lsn", "time"])
def test_a_dropped_database_stands_beside(host, wiped, kind):
    done = tool(host, f"side production --{kind} '{wiped[kind]}'")
    assert done.rc == 0, done.stderr
    try:
        assert sql(host, ROWS, "shop", 5440) == wiped["rows"]
        writes = host.run("sudo -u postgres psql -p 5440 -d shop -c 'DELETE FROM kept'")
        assert "read-only transaction" in writes.stderr
        again = tool(host, f"side production --{kind} '{wiped[kind]}'")
        assert again.rc == 1 and "tovplay-backup remove production" in again.stderr
        assert sql(host, "SHOW archive_mode", "shop", 5440) == "off"
    finally:
        assert tool(host, "remove production").rc == 0
    assert not host.file("/var/lib/tovplay/restore/production").exists


def test_the_moment_before_a_transaction(host, wiped):
    """xid: all but that DELETE; the newest backup was before it."""
    done = tool(host, f"side production --xid {wiped['xid']}")
    assert done.rc == 0, done.stderr
    try:
        assert sql(host, "SELECT count(*) FROM kept", "shop", 5440) == "20001"
    finally:
        assert tool(host, "remove production").rc == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("side production", "say one moment"),
        ("side production --lsn 0/1 --xid 5", "say one moment"),
        ("side production --lsn yesterday", "write it as PostgreSQL does"),
        ("side elsewhere --lsn 0/1", "no stanza is called elsewhere: production"),
        ("remove production", "there is no copy in"),
    ],
)
def test_the_command_refuses(host, words, sentence):
    done = tool(host, words)
    assert done.rc == 1 and sentence in done.stderr, done.stderr


def test_root_is_told_who_to_be(host):
    done = host.run("tovplay-backup watch")
    assert done.rc == 1 and "sudo -u postgres tovplay-backup watch" in done.stderr


def test_a_broken_archive_is_an_alarm_and_mends(host, production, wiped):
    assert alarm(host, "archive_broken") == [0]
    production.check_output("systemctl stop pgbackrest.service")
    try:
        failed = host.run("cd / && sudo -u postgres env PGBACKREST_IO_TIMEOUT=3 tovplay-backup run production incr")
        assert failed.rc == 1 and "backup of production: pgbackrest failed" in failed.stderr
        assert alarm(host, "archive_broken") == alarm(host, "backup_failed") == [1]
        raised = [json.loads(line) for line in failed.stdout.splitlines() if line.startswith('{"event')]
        assert {each["kind"] for each in raised if each["event"] == "backup_alarm"} == {
            "archive_broken",
            "backup_failed",
        }
    finally:
        production.check_output("systemctl start pgbackrest.service")
    host.check_output("systemctl start tovplay-backup-incr@production.service")
    assert alarm(host, "archive_broken") == alarm(host, "backup_failed") == [0]
    assert "backup_alarm_over" in host.check_output("journalctl -q -o cat -t tovplay-backup")


def test_a_certificate_opens_only_its_own_backups(production):
    said = production.check_output("cd / && sudo -u postgres pgbackrest --stanza=elsewhere info")
    assert "access denied" in said


def test_check_mode_finds_nothing_and_shows_no_passphrase(converge):
    done = converge(check=True)
    assert done.returncode == 0 and done.stdout.count("changed=0") == 2, done.stdout[-3000:]
    changed = converge(check=True, backup_passphrase="another-passphrase-of-enough-length")
    assert "another-passphrase" not in changed.stdout and "molecule-repository" not in changed.stdout
    assert "changed=0" in changed.stdout and "changed=1" in changed.stdout


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"backup_passphrase": "short"}, "openssl rand -hex 32 into vault_backup_passphrase"),
        ({"backup_stanzas": []}, "backup_stanzas is empty"),
        ({"backup_stanzas": [{"name": "a/b", "version": 15}]}, "is no name of a directory"),
        ({"backup_stanzas": [{"name": "a", "version": 15}, {"name": "a", "version": 15}]}, "a is there twice"),
        (
            {"backup_repository_host": "x", "backup_stanzas": [{"name": "a", "version": 15, "host": "y"}]},
            "name only this host's own clusters here",
        ),
        ({"backup_s3": {"bucket": "b", "key": "k"}}, "backup_s3 lacks endpoint, region, secret"),
        ({"backup_process_max": 0}, "backup_process_max is 0: it must be 1 or more."),
        ({"backup_pki_directory": "/nowhere"}, "run ansible-playbook site.yml --tags pki first"),
    ],
    ids=lambda value: yaml.safe_dump(value)[:30] if isinstance(value, dict) else "",
)
def test_it_refuses(refusal, variables, sentence):
    refusal(sentence, **variables)


def test_production_goes_back_in_place_and_its_archive_goes_on(host, production, converge):
    """The last one, since it takes the cluster back; without the word it does not."""
    restore = "../../playbooks/restore.yml"
    refused = converge(playbook=restore)
    assert refused.returncode != 0 and "say -e restore_over=production" in " ".join(refused.stdout.split())
    sql(production, "CREATE DATABASE again")
    sql(production, "CREATE TABLE kept AS SELECT n AS id FROM generate_series(1, 1000) n", "again")
    lsn = sql(production, "SELECT pg_current_wal_lsn()")
    sql(production, "TRUNCATE kept", "again")
    sql(production, "SELECT pg_switch_wal()")
    look(host)
    done = converge(playbook=restore, restore_over="production", restore_lsn=lsn)
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql(production, "SELECT count(*) FROM kept", "again") == "1000"
    look(host)
    assert alarm(host, "archive_broken") == [0]
