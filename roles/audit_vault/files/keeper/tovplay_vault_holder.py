#!/usr/bin/python3
"""Holder of the production database: as long as this runs, PostgreSQL refuses DROP DATABASE there, WITH (FORCE), too.

tovplay-vault-holder run        for ever (tovplay-vault-holder.service); to stop it is to let go

The apply worker's slot does the same, but it is free while the subscription is disabled, and between two tries of a
worker that fails. This holds a temporary logical slot in a session of its own and needs nothing of the vault's cluster.
A temporary slot is in use for as long as its session lives and goes with it, so it keeps no WAL for a reader that is
gone. The session reads no rows: it moves the slot forward, which only skims WAL.
"""

from __future__ import annotations

import argparse
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
from keeper_common import HOLD, Settings, ask, connect, log_line, write_metrics

LOOK_SECONDS = 5.0
MOVE_SECONDS = 60.0  # so often without need: the oldest catalog rows that production must keep are not older
RETRY_SECONDS = 1.0
# Production keeps the session, and so the hold, through a cut of ten minutes; then it ends it, and keeps no more WAL.
OPTIONS = (
    "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=60 -c tcp_keepalives_count=10"
    " -c idle_session_timeout=0 -c statement_timeout=0"
)
STATE = """
SELECT active, wal_status, confirmed_flush_lsn::text AS confirmed,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)::bigint AS retained
FROM pg_replication_slots WHERE slot_name = %s
"""
# Of a session of ours that production has not yet noticed to be gone.
DISPLACE = """
SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
WHERE slot_name = %s AND temporary AND active_pid <> pg_backend_pid()
"""


def due(retained: int, limit: int, seconds: float) -> bool:
    """Whether the slot must move on: bytes of WAL that it keeps, bytes that it may, seconds since it moved."""
    return retained > limit or seconds >= MOVE_SECONDS


class Holder:
    """One session on production and what became of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.wrong: str | None = ""  # nothing is held yet, and nothing is wrong yet
        self.moved_at = 0.0

    def take(self) -> Any:
        connection = connect(f"{self.settings.production} options='{OPTIONS}'")
        ask(connection, DISPLACE, (HOLD,))
        ask(connection, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", (HOLD,))
        self.moved_at = time.monotonic()
        if self.wrong is not None:
            log_line(event="vault_hold", slot=HOLD, held=True)
        self.wrong = None
        return connection

    def look(self, connection: Any) -> None:
        """One look: is it ours, how much WAL does it keep, must it move."""
        state = ask(connection, STATE, (HOLD,))[0]
        if due(state["retained"], self.settings.hold_bytes, time.monotonic() - self.moved_at):
            ask(connection, "SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", (HOLD,))
            self.moved_at = time.monotonic()
            state = ask(connection, STATE, (HOLD,))[0]
        self.measure(held=True, retained=state["retained"])

    def measure(self, *, held: bool, retained: int | None = None) -> None:
        values = {
            "tovplay_vault_hold": int(held),
            "tovplay_vault_hold_retained_bytes": retained,
            "tovplay_vault_hold_checked_timestamp_seconds": int(time.time()),
        }
        write_metrics(self.settings.metrics / "audit_vault_hold.prom", values)

    def lost(self, error: Exception) -> None:
        """One line when it begins."""
        if self.wrong is None or not self.wrong:
            log_line(event="vault_alarm", kind="not_held", severity="critical", detail=str(error).strip())
        self.wrong = str(error).strip()
        self.measure(held=False)

    def run(self) -> None:
        while True:
            try:
                connection = self.take()
                while True:
                    self.look(connection)
                    select.select([connection], [], [], LOOK_SECONDS)  # wakes at once when production ends the session
            except (psycopg2.Error, IndexError) as error:
                self.lost(error)
                time.sleep(RETRY_SECONDS)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("/etc/tovplay/audit_vault.json"))
    parser.add_subparsers(dest="command", required=True).add_parser("run")
    chosen = parser.parse_args(arguments)
    Holder(Settings.read(chosen.config)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
