"""Production set back, failed over, replaced, and the vault set back: real clusters, each opens an epoch that says so.

Older copies are copies of a stopped cluster's files, as a snapshot of its disk is; the standby is of pg_basebackup.
"""

from __future__ import annotations

import pages
import pytest
from both import alarms, ask, at_full_scale, production, settle, table, until, written

testinfra_hosts = ["docker://tovplay-audit-vault"]

DATA = "/var/lib/postgresql/15"
BIN = "/usr/lib/postgresql/15/bin"
GAP = "SELECT * FROM vault.gap WHERE kind = 'epoch' ORDER BY id DESC LIMIT 1"
OLD_SHADOW = """SELECT count(*) FROM vault.relation r
WHERE r.table_name = 'Game' AND r.epoch = $epoch AND r.archived_as IS NOT NULL"""


def epoch(host):
    return int(ask(host, "SELECT max(n) FROM vault.epoch"))


def service(host, action, cluster="main"):
    host.check_output(f"systemctl {action} postgresql@15-{cluster}")


def copy(host, cluster, name):
    """A copy of the cluster's files, taken while it is down."""
    service(host, "stop", cluster)
    host.check_output(f"rm -rf {DATA}/{name} && cp -a {DATA}/{cluster} {DATA}/{name}")
    service(host, "start", cluster)


def put_back(host, cluster, name):
    service(host, "stop", cluster)
    host.check_output(f"rm -rf {DATA}/{cluster} && mv {DATA}/{name} {DATA}/{cluster}")
    service(host, "start", cluster)


def beat(host):
    host.check_output("systemctl start tovplay-audit-heartbeat@TovPlay.service")


def check_new_epoch(host, before, reason):
    """The epoch, its gap with both ends, the old shadow, a baseline that equals production, a history that goes on."""
    until(lambda: epoch(host) == before + 1, 40)
    assert ask(host, "SELECT reason FROM vault.epoch WHERE n = $n", n=before + 1) == reason
    gap = until(lambda: (found := table(host, GAP)[0])["to_lsn"] and found, 40)
    assert gap["detail"]["reason"] == reason
    assert gap["from_at"] < gap["to_at"]
    assert ask(host, "SELECT gap_to_lsn FROM vault.epoch WHERE n = $n", n=before + 1) == gap["to_lsn"]
    assert ask(host, OLD_SHADOW, epoch=before) != "0"
    assert "new_epoch" in alarms(host)
    settle(host)
    counted = 'SELECT count(*), sum(hashtext(id || title)) FROM public."Game"'
    until(lambda: ask(host, counted) == production(host, counted))
    _, rows = written(host, 'INSERT INTO "Game" VALUES ((SELECT max(id) + 1 FROM "Game"), \'of the new epoch\')')
    assert [row["op"] for row in rows] == ["I"]
    assert ask(host, "SELECT epoch FROM vault.transactions WHERE tx = $tx", tx=rows[0]["tx"]) == str(before + 1)
    assert ask(host, "SELECT count(*) FROM vault.broken_seals()") == "0"
    return gap


def test_production_is_set_back_to_an_older_copy_slot_included(host):
    """And its WAL is ahead of the vault again before the keeper looks: only the heartbeats tell."""
    settle(host)
    copy(host, "main", "older")
    settle(host)
    before = epoch(host)
    beat(host)
    _, rows = written(host, "INSERT INTO \"Game\" VALUES (4000, 'lost by the set back')")
    settle(host)
    host.check_output("systemctl stop tovplay-vault-keeper")
    applied = production(host, "SELECT pg_current_wal_flush_lsn()")
    put_back(host, "main", "older")
    production(
        host, "SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) FROM generate_series(1, 8)"
    )
    assert production(host, "SELECT pg_current_wal_flush_lsn() > '$lsn'", lsn=applied) == "t"
    host.check_output("systemctl start tovplay-vault-keeper")
    gap = check_new_epoch(host, before, "production was set back")
    assert gap["from_lsn"]
    assert gap["from_lsn"] in pages.run(host, "restore", "transactions_after")
    pages.run(host, "restore", "drift")
    assert gap["detail"]["transactions_after"] >= 1
    assert ask(host, "SELECT count(*) FROM vault.history WHERE tx = $tx", tx=rows[0]["tx"]) == "1"
    assert production(host, 'SELECT count(*) FROM "Game" WHERE id = 4000') == "0"


@at_full_scale
def test_production_fails_over_to_a_standby(host):
    settle(host)
    before = epoch(host)
    beat(host)
    shared = production(host, "SELECT max(lsn) FROM audit.heartbeat")
    host.check_output(
        f"rm -rf {DATA}/standby && sudo -u postgres {BIN}/pg_basebackup -h /var/run/postgresql -p 5432"
        f" -D {DATA}/standby -X stream -c fast"
    )
    service(host, "stop")
    host.check_output(
        f"rm -rf {DATA}/main && mv {DATA}/standby {DATA}/main && sudo -u postgres touch {DATA}/main/standby.signal"
    )
    service(host, "start")
    pages.run(host, "failover", "pg_promote")
    pages.run(host, "failover", "pg_is_in_recovery")
    assert int(production(host, "SELECT timeline_id FROM pg_control_checkpoint()")) in (1, 2)  # it may lag
    gap = check_new_epoch(host, before, "production was restored or failed over")
    assert ask(host, "SELECT timeline FROM vault.epoch WHERE n = $n", n=before + 1) == "2"
    pages.run(host, "failover", "gap_from_lsn")
    pages.run(host, "failover", "drift")
    assert ask(host, "SELECT '$a'::pg_lsn >= '$b'::pg_lsn", a=gap["from_lsn"], b=shared) == "t"


@at_full_scale
def test_production_is_replaced_by_another_cluster_from_a_dump(host):
    settle(host)
    before = epoch(host)
    was = production(host, "SELECT system_identifier FROM pg_control_system()")
    host.check_output("sudo -u postgres pg_dumpall -p 5432 -f /var/lib/postgresql/all.sql")
    service(host, "stop")
    host.check_output(f"rm -rf {DATA}/main && sudo -u postgres {BIN}/initdb --locale=C.UTF-8 -D {DATA}/main")
    service(host, "start")
    host.run("sudo -u postgres psql -X -q -p 5432 -f /var/lib/postgresql/all.sql postgres")
    assert production(host, "SELECT system_identifier FROM pg_control_system()") != was
    check_new_epoch(host, before, "production is another cluster")
    assert production(host, "SELECT datistemplate FROM pg_database WHERE datname = 'TovPlay'") == "t"


def test_the_vault_is_set_back_to_an_older_copy(host):
    """Seals of later numbers are anchored outside, and the rows between would be missing without a word."""
    settle(host)
    copy(host, "vault", "older-vault")
    settle(host)
    before = epoch(host)
    _, rows = written(host, "INSERT INTO \"Game\" VALUES (5000, 'seen, and lost by the vault')")
    until(lambda: int(ask(host, "SELECT vault.horizon()")) > rows[0]["tx"])
    sealed = int(ask(host, "SELECT max(n) FROM vault.seal"))
    pages.run(host, "vault-rebuilt", "tail -n 1")
    pages.run(host, "vault-rebuilt", "max(at)")
    pages.run(host, "vault-rebuilt", "systemctl stop")
    put_back(host, "vault", "older-vault")
    host.check_output("systemctl start tovplay-vault-keeper tovplay-vault-holder")
    gap = check_new_epoch(host, before, "the vault was set back")
    assert ask(host, "SELECT after_seal FROM vault.epoch WHERE n = $n", n=before + 1) >= str(sealed)
    assert ask(host, "SELECT count(*) FROM vault.seal WHERE n = $n", n=sealed) == "0"
    pages.run(host, "vault-rebuilt", "after_seal")
    lost_at = production(host, "SELECT max(at) FROM audit.context WHERE table_name = 'public.\"Game\"'")
    assert gap["from_at"] < lost_at.replace(" ", "T")
    assert ask(host, "SELECT count(*) FROM public.\"Game\" WHERE id = '5000'") == "1"


@pytest.fixture(autouse=True, scope="module")
def clean(host):
    yield
    host.check_output(f"rm -rf {DATA}/older {DATA}/older-vault {DATA}/standby /var/lib/postgresql/all.sql")
