"""Nobody drops the audited database, whatever the apply worker does, and the hold costs production no disk."""

from __future__ import annotations

import pytest
from both import alarms, ask, metrics, production, psql, settle, until

testinfra_hosts = ["docker://tovplay-audit-vault"]

HELD = "SELECT active AND temporary FROM pg_replication_slots WHERE slot_name = 'tovplay_hold'"
FREE = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'tovplay_vault'"
RETAINED = """SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn) FROM pg_replication_slots
WHERE slot_name = 'tovplay_hold'"""
REFUSED = "is used by an active logical replication slot"


def drop(host):
    """The worst attempt there is; what production said."""
    return psql(host, "postgres", 5432, 'DROP DATABASE "TovPlay" WITH (FORCE)').stderr


@pytest.fixture
def no_template(host):
    """Without the first of the three locks, so that the slots alone must hold."""
    psql(host, "postgres", 5432, 'ALTER DATABASE "TovPlay" IS_TEMPLATE false')
    yield
    psql(host, "postgres", 5432, 'ALTER DATABASE "TovPlay" IS_TEMPLATE true')


@pytest.fixture
def no_keeper(host):
    """Which would mend at once what the test breaks."""
    host.check_output("systemctl stop tovplay-vault-keeper")
    yield
    host.check_output("systemctl start tovplay-vault-keeper")
    until(lambda: metrics(host)["tovplay_vault_applying"] == 1)


def test_a_template_is_not_dropped_and_nobody_may_copy_it(host):
    assert "cannot drop a template database" in drop(host)
    copiers = "SELECT count(*) FROM pg_roles WHERE rolcreatedb AND NOT rolsuper"
    assert production(host, copiers) == "0"


def test_a_lifted_lock_is_an_alarm(host, no_template):
    until(lambda: metrics(host).get('tovplay_vault_alarm{kind="not_template"}') == 1)
    assert "not_template" in alarms(host)


def test_the_hold_is_there_while_the_subscription_is_disabled(host, no_template, no_keeper):
    ask(host, "ALTER SUBSCRIPTION tovplay_vault DISABLE")
    until(lambda: production(host, FREE) == "t")
    assert REFUSED in drop(host)
    assert production(host, HELD) == "t"
    ask(host, "ALTER SUBSCRIPTION tovplay_vault ENABLE")
    settle(host)


def test_the_hold_is_there_between_two_tries_of_a_worker_that_fails(host, no_template, no_keeper):
    ask(host, 'ALTER TABLE public."Game" RENAME title TO missing')
    production(host, "INSERT INTO \"Game\" VALUES (3000, 'stuck')")
    tries = f'sudo -u postgres psql -XAtp 5432 -d postgres -c "{FREE}" -c \'DROP DATABASE "TovPlay" WITH (FORCE)\' 2>&1'
    said = host.run(f"for i in $(seq 30); do {tries}; done").stdout.splitlines()
    assert sum(REFUSED in line for line in said) == 30
    assert "t" in said, "the worker's own slot was never free: the test has shown nothing"
    ask(host, 'ALTER TABLE public."Game" RENAME missing TO title')
    settle(host)
    assert ask(host, "SELECT count(*) FROM public.\"Game\" WHERE id = '3000'") == "1"


def test_the_hold_moves_on_and_lets_production_recycle_its_wal(host):
    """The scenario lets it keep 16 MB; a slot moves to a record of running transactions, as a checkpoint writes it."""
    fill = "SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) FROM generate_series(1, 64)"
    production(host, fill)
    assert int(production(host, RETAINED)) > 16 * 2**20

    def moved():
        psql(host, "postgres", 5432, "CHECKPOINT")
        return int(production(host, RETAINED)) < 16 * 2**20

    until(moved, 40)
    until(lambda: metrics(host, "audit_vault_hold")["tovplay_vault_hold_retained_bytes"] < 16 * 2**20)


def test_a_holder_that_is_killed_keeps_no_wal_and_comes_back(host):
    before = production(host, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'tovplay_hold'")
    host.check_output("systemctl kill --signal=KILL tovplay-vault-holder")
    until(lambda: production(host, HELD) in ("", "t"))
    until(lambda: production(host, HELD) == "t")
    after = production(host, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'tovplay_hold'")
    assert before != after


def test_a_session_that_production_ends_is_taken_up_again(host):
    production(
        host, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'tovplay_hold'"
    )
    until(lambda: "not_held" in alarms(host, unit="tovplay-vault-holder"))
    until(lambda: production(host, HELD) == "t")
    until(lambda: metrics(host, "audit_vault_hold")["tovplay_vault_hold"] == 1)


def test_who_lets_go_is_told_so_and_the_slot_does_not_outlive_the_holder(host):
    host.check_output("systemctl stop tovplay-vault-holder")
    until(lambda: production(host, HELD) == "")
    until(lambda: metrics(host).get('tovplay_vault_alarm{kind="not_held"}') == 1, 40)
    assert "not_held" in alarms(host)
    host.check_output("systemctl start tovplay-vault-holder")
    until(lambda: production(host, HELD) == "t")
