"""What no other file here has run of the runbooks; the wanted DROP DATABASE comes last, and a dump brings it back."""

from __future__ import annotations

import pages
import pytest
from both import ask, at_full_scale, metrics, production, psql, settle, until

testinfra_hosts = ["docker://tovplay-audit-vault"]
pytestmark = at_full_scale

DUMP = "/var/lib/postgresql/TovPlay.dump"
FREE = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'tovplay_vault'"


def epoch(host):
    return int(ask(host, "SELECT max(n) FROM vault.epoch"))


def follows(host):
    """Until the newest epoch is followed and its gap is closed."""
    until(lambda: metrics(host).get("tovplay_vault_applying") == 1, 60)
    until(lambda: ask(host, "SELECT count(*) FROM vault.gap WHERE to_at IS NULL") == "0", 60)
    settle(host)


def test_the_first_look(host):
    assert "tovplay_vault_up 1" in pages.run(host, "README", "audit_vault.prom")
    assert "vault" in pages.run(host, "README", "journalctl")
    assert "first subscription" in pages.run(host, "README", "FROM vault.epoch")


def test_a_slot_that_fills_is_given_more_room(host):
    settle(host)
    pages.run(host, "slot", "safe_wal_size")
    pages.run(host, "slot", "pg_stat_subscription")
    pages.run(host, "slot", "postgresql-vault-*.json")
    pages.run(host, "slot", "_sync_")
    pages.run(host, "slot", "SET max_slot_wal_keep_size = '20GB'")
    until(lambda: production(host, "SHOW max_slot_wal_keep_size") == "20GB")
    pages.run(host, "slot", "RESET max_slot_wal_keep_size")
    until(lambda: production(host, "SHOW max_slot_wal_keep_size") == "10GB")


def test_a_slot_is_given_up_knowingly_and_the_epoch_has_the_gap(host):
    before = epoch(host)
    pages.run(host, "slot", "stop tovplay-vault-keeper")
    pages.run(host, "slot", "DISABLE")
    until(lambda: production(host, FREE) == "t")
    pages.run(host, "slot", "pg_drop_replication_slot('")
    pages.run(host, "slot", "start tovplay-vault-keeper")
    until(lambda: epoch(host) == before + 1, 60)
    follows(host)
    pages.run(host, "slot", "SELECT active")
    until(lambda: pages.quiet(host), 60)
    pages.run(host, "slot", "grep -c alarm{")


def test_a_disk_that_is_full(host):
    pages.run(host, "disk-full", "df -h")
    pages.run(host, "disk-full", "pg_stat_user_tables")
    pages.run(host, "disk-full", "legal_hold")
    pages.run(host, "disk-full", "systemctl status")
    pages.run(host, "disk-full", "ensure_days")
    pages.run(host, "disk-full", "pg_stat_activity")
    pages.run(host, "disk-full", "drift")
    pages.run(host, "disk-full", "grep -c alarm{")


def test_a_major_upgrade_lets_go_first_and_is_followed_afterwards(host):
    """The upgrade itself is what test_epochs.py does with a dump; here is what is around it."""
    before = epoch(host)
    settle(host)
    pages.run(host, "major-upgrade", "<= confirmed_flush_lsn", seconds=20)  # the heartbeat writes WAL, too
    pages.run(host, "major-upgrade", "systemctl stop")
    pages.run(host, "major-upgrade", "DISABLE")
    until(lambda: production(host, FREE) == "t")
    pages.run(host, "major-upgrade", "pg_drop_replication_slot(slot_name)")
    pages.run(host, "major-upgrade", "systemctl start")
    until(lambda: epoch(host) == before + 1, 60)
    follows(host)
    pages.run(host, "major-upgrade", "to_at IS NULL")
    pages.run(host, "major-upgrade", "drift")


@pytest.fixture
def dumped(host):
    settle(host)
    host.check_output(f"sudo -u postgres pg_dump -p 5432 -Fc -f {DUMP} TovPlay")
    yield
    host.check_output(f"rm {DUMP}")


def test_a_wanted_drop_of_the_database_passes_and_the_vault_answers_on(host, dumped):
    before, rows = epoch(host), ask(host, 'SELECT count(*) FROM public."Game"')
    pages.run(host, "drop-database", "drift")
    pages.run(host, "drop-database", "systemctl stop")
    pages.run(host, "drop-database", "DISABLE")
    until(lambda: production(host, FREE) == "t")
    pages.run(host, "drop-database", "IS_TEMPLATE false")
    pages.run(host, "drop-database", "DROP DATABASE")
    assert psql(host, "TovPlay", 5432, "SELECT 1").rc != 0
    pages.run(host, "drop-database", "count(*) FROM pg_replication_slots")
    assert ask(host, 'SELECT count(*) FROM public."Game"') == rows
    host.check_output(f"sudo -u postgres pg_restore -p 5432 --create -d postgres {DUMP}")
    psql(host, "postgres", 5432, 'ALTER DATABASE "TovPlay" IS_TEMPLATE true')
    pages.run(host, "drop-database", "systemctl start")
    until(lambda: epoch(host) == before + 1, 60)
    follows(host)
    pages.run(host, "drop-database", "systemctl disable")
    host.check_output("systemctl enable --now tovplay-vault-keeper tovplay-vault-holder")


def test_no_command_of_the_pages_is_left_unrun(host):
    assert pages.left() == []
