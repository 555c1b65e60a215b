"""Whatever fails between the two sides: production goes on committing, nothing is lost afterwards, the alarm is heard.

A writer inserts and updates 40 times a second through all of it; how long its longest pause was is asserted, too.
"""

from __future__ import annotations

import contextlib
import time

import pytest
from both import (
    FULL,
    KEEPER,
    alarms,
    ask,
    at_full_scale,
    journal,
    metrics,
    production,
    psql,
    raised,
    settle,
    table,
    until,
)

testinfra_hosts = ["docker://tovplay-audit-vault"]

OUTAGE = 600 if FULL else 60
CUT = 300
DATA = "/var/lib/postgresql/15"
WRITE = """BEGIN;
INSERT INTO "Fault" (note) VALUES (repeat('x', 300)) RETURNING id \\gset
UPDATE "Fault" SET note = 'u' || :id WHERE id = :id;
COMMIT;
"""
PAUSE = """SELECT coalesce(max(extract(epoch FROM at - before)), 0)
FROM (SELECT at, lag(at) OVER (ORDER BY id) AS before FROM "Fault" WHERE at > '$since') s"""
HISTORY = """SELECT h.op, count(*) FROM vault.history h JOIN vault.relation r ON r.id = h.relation
WHERE r.table_name = 'Fault' AND r.valid_to IS NULL GROUP BY 1 ORDER BY 1"""


@pytest.fixture(scope="module", autouse=True)
def writer(host):
    """One table more, which is followed from its first row, and a client that never stops."""
    production(
        host, 'CREATE TABLE "Fault" (id bigserial PRIMARY KEY, note text, at timestamptz DEFAULT clock_timestamp())'
    )
    host.run(f"cat > /tmp/write.sql <<'EOF'\n{WRITE}EOF")
    run = f"pgbench -p 5432 -n -f /tmp/write.sql -c 1 -R 40 -T {4 * OUTAGE + 1800} TovPlay"
    host.check_output(
        f"systemd-run --unit=fault-writer --uid=postgres --setenv=PGOPTIONS='-c audit.reason=writer' {run}"
    )
    until(lambda: production(host, 'SELECT count(*) > 10 FROM "Fault"') == "t")
    until(lambda: metrics(host)["tovplay_vault_applying"] == 1 and metrics(host)["tovplay_vault_alarms"] == 0, 60)
    yield
    host.run("systemctl stop fault-writer")
    host.run("systemctl reset-failed fault-writer")
    production(host, 'DROP TABLE "Fault"')


def now(host):
    return production(host, "SELECT clock_timestamp()")


def check_nothing_is_lost(host, since, pause=10.0, epochs=0):
    """The writer never failed or waited, the history has every change once, every table has the same checksum."""
    assert host.run("systemctl is-active fault-writer").stdout.strip() == "active"
    assert float(production(host, PAUSE, since=since)) < pause
    host.check_output("systemctl kill --signal=STOP fault-writer")
    try:
        until(lambda: metrics(host).get("tovplay_vault_applying") == 1, 60)
        settle(host)
        rows = production(host, 'SELECT count(*) FROM "Fault"')
        if not epochs:
            assert ask(host, HISTORY).split() == [f"I|{rows}", f"U|{rows}"]
        assert ask(host, 'SELECT count(*) FROM public."Fault"') == rows
        assert host.check_output(f"sudo -u postgres {KEEPER} drift") == ""
        assert ask(host, "SELECT count(*) FROM vault.broken_seals()") == "0"
    finally:
        host.check_output("systemctl kill --signal=CONT fault-writer")
    until(lambda: metrics(host)["tovplay_vault_alarms"] == 0, 90)


def test_the_vault_is_down_for_a_while(host):
    since, said = now(host), len(journal(host))
    host.check_output("systemctl stop postgresql@15-vault")
    try:
        until(lambda: raised(host, "keeper", said), 30)
        until(lambda: metrics(host)["tovplay_vault_up"] == 0)
        until(lambda: raised(host, "slot_inactive", said), 30)  # production is still watched
        time.sleep(OUTAGE)
        assert metrics(host)["tovplay_vault_slot_retained_bytes"] > 0
    finally:
        host.check_output("systemctl start postgresql@15-vault")
    check_nothing_is_lost(host, since)
    until(lambda: "keeper" not in str(metrics(host)))
    kinds = "SELECT string_agg(kind, ' ') FROM vault.own_finding WHERE at > '$since'"
    assert {"keeper", "slot_inactive"} <= set(ask(host, kinds, since=since).split())


@at_full_scale
def test_the_vault_is_killed(host):
    since, said = now(host), len(journal(host))
    host.check_output("systemctl kill --signal=KILL postgresql@15-vault")
    until(lambda: "keeper" in alarms(host, said), 30)
    until(lambda: metrics(host)["tovplay_vault_up"] == 1, 60)
    check_nothing_is_lost(host, since)


@contextlib.contextmanager
def no_network(host):
    """Packets between the two sides are dropped without a word, as by a cable that is cut."""
    host.check_output("nft add table inet cut && nft add chain inet cut out '{ type filter hook output priority 0; }'")
    host.check_output("nft add rule inet cut out tcp dport 5432 drop && nft add rule inet cut out tcp sport 5432 drop")
    try:
        yield
    finally:
        host.check_output("nft delete table inet cut")


@at_full_scale
def test_the_network_between_them_is_cut(host):
    since, said = now(host), len(journal(host))
    with no_network(host):
        until(lambda: raised(host, "production_unreachable", said), 60)
        psql(host, "postgres", 5432, 'ALTER DATABASE "TovPlay" IS_TEMPLATE false')
        time.sleep(CUT)
        refused = psql(host, "postgres", 5432, 'DROP DATABASE "TovPlay" WITH (FORCE)').stderr
        psql(host, "postgres", 5432, 'ALTER DATABASE "TovPlay" IS_TEMPLATE true')
        assert "is used by an active logical replication slot" in refused
    check_nothing_is_lost(host, since)


@contextlib.contextmanager
def small_disk(host, cluster, part, spare_mb):
    """A part of the cluster's files on a file system of its own, with so much room to spare."""
    unit, place = f"postgresql@15-{cluster}", f"{DATA}/{cluster}{part}"
    host.check_output(f"systemctl stop {unit}")
    size = int(host.check_output(f"du -sm {place}").split()[0]) + spare_mb
    host.check_output(
        f"mv {place} {place}.away && install -d -o postgres -g postgres -m 0700 {place}"
        f" && mount -t tmpfs -o size={size}m,uid=postgres,gid=postgres,mode=0700 tmpfs {place}"
        f" && cp -a {place}.away/. {place} && systemctl start {unit}"
        " && systemctl restart tovplay-vault-keeper"  # whose own view of the file systems is as old as itself
    )
    try:
        yield place
    finally:
        host.check_output(
            f"systemctl stop {unit}; rm -rf {place}.away && cp -a {place} {place}.away && umount {place}"
            f" && rmdir {place} && mv {place}.away {place} && systemctl start {unit}"
            " && systemctl restart tovplay-vault-keeper"
        )


@at_full_scale
def test_the_vaults_disk_is_full(host):
    since, said = now(host), len(journal(host))
    with small_disk(host, "vault", "", 60) as place:
        until(lambda: metrics(host)["tovplay_vault_up"] == 1, 60)
        free = int(host.check_output(f"df --output=avail -m {place}").split()[-1])
        host.check_output(
            f"fallocate -l {free - 2}M {place}/ballast || dd if=/dev/zero of={place}/ballast bs=1M count={free}"
        )
        until(lambda: raised(host, "disk_low", said), 30)
        production(host, 'INSERT INTO "Fault" (note) SELECT repeat(md5(i::text), 100) FROM generate_series(1, 20000) i')
        production(host, "UPDATE \"Fault\" SET note = 'u' WHERE length(note) = 3200")
        failing = {"keeper", "apply_error", "not_applying", "slot_inactive"}
        until(
            lambda: failing & set(alarms(host, said)) and any(f'"{kind}"' in str(metrics(host)) for kind in failing), 90
        )
        time.sleep(5)
        host.check_output(f"rm {place}/ballast && mount -o remount,size=2g {place}")
        check_nothing_is_lost(host, since)


@at_full_scale
def test_the_slot_never_fills_productions_disk(host):
    """The vault is away for longer than production keeps WAL: the slot is given up, and an epoch says so."""
    before, said = int(ask(host, "SELECT max(n) FROM vault.epoch")), len(journal(host))
    bounds = "ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'", "ALTER SYSTEM SET max_wal_size = '96MB'"
    host.check_output("systemctl kill --signal=STOP fault-writer")  # production is restarted twice for its small disk
    with small_disk(host, "main", "/pg_wal", 400):
        for statement in (*bounds, "SELECT pg_reload_conf()"):
            psql(host, "postgres", 5432, statement)
        host.check_output("systemctl restart fault-writer")
        since = now(host)
        settle(host)
        host.check_output("systemctl stop postgresql@15-vault")
        for _ in range(10):
            fill = (
                "SELECT count(pg_logical_emit_message(false, 'f', repeat('x', 1000000))) FROM generate_series(1, 100)"
            )
            production(host, fill + "; CHECKPOINT")
        until(lambda: raised(host, "slot_fills_disk", said) or raised(host, "slot_lost", said), 30)
        until(lambda: raised(host, "slot_lost", said), 30)
        assert (
            production(host, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'tovplay_vault'") == "lost"
        )
        assert float(production(host, PAUSE, since=since)) < 10
        host.check_output("systemctl start postgresql@15-vault")
        until(lambda: int(ask(host, "SELECT max(n) FROM vault.epoch")) == before + 1, 60)
        check_nothing_is_lost(host, since, epochs=1)
        gap = table(host, "SELECT * FROM vault.gap ORDER BY id DESC LIMIT 1")[0]
        assert gap["detail"]["reason"] == "production gave the slot up, since it kept too much WAL"
        assert gap["from_at"] < gap["to_at"]
        assert gap["from_lsn"] == gap["detail"]["applied_before"]
        assert "new_epoch" in alarms(host, said)
        for name in ("max_slot_wal_keep_size", "max_wal_size"):
            psql(host, "postgres", 5432, f"ALTER SYSTEM RESET {name}")
        host.check_output("systemctl stop fault-writer")
