#!/usr/bin/python3
"""Keeper of the audit vault: follows production's publications, seals, anchors, measures and raises the alarm.

tovplay-vault-keeper sync [--check]   shadows, subscription and epoch as production is now; prints what it did
tovplay-vault-keeper drift            compares every shadow with production, now
tovplay-vault-keeper run              all of it, for ever (tovplay-vault-keeper.service)

Runs as the cluster's own user, since PostgreSQL 15 lets only a superuser own and refresh a subscription.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from keeper_alarms import PATIENCE, in_vault, lag, on_production
from keeper_common import (
    HOLD,
    SUBSCRIPTION,
    KeeperError,
    Settings,
    append,
    ask,
    connect,
    last_anchor,
    log_line,
    text_of,
    write_metrics,
)
from keeper_epoch import (
    ALL,
    Outside,
    continues_until,
    forgotten,
    heard,
    new_epoch_reason,
    note_position,
    vault_went_back,
)

UPKEEP_SECONDS = 3600
PUBLICATIONS = "tovplay_audit_rows, tovplay_audit_meta"
SUBSCRIBED = """
SELECT n.nspname || '.' || c.relname FROM pg_subscription_rel r
JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
NEW_SEALS = """
SELECT n, encode(root, 'hex') AS root, first_id, last_id, rows, horizon_xid, at FROM vault.seal WHERE n > %s ORDER BY n
"""


class Keeper:
    """One vault, one production."""

    def __init__(self, settings: Settings, check: bool = False) -> None:
        self.settings = settings
        self.check = check
        self.alarms: dict[str, Any] = {}
        self.noise: dict[str, tuple[int, int]] = {}
        self.compared: Any = None  # the session in which all heartbeats were compared
        self.drifting = 0  # tables that differed when they were compared last
        self.wrong_since: dict[str, float] = {}
        self.findings: list[tuple[datetime, str, str]] = []
        self.errors_before: int | None = None
        self.started = time.monotonic()

    def vault(self) -> Any:
        try:
            return connect(self.settings.vault)
        except psycopg2.Error as error:
            raise KeeperError(f"the vault does not answer: {str(error).strip()}") from error

    def production(self) -> Any:
        try:
            return connect(self.settings.production)
        except psycopg2.Error as error:
            raise KeeperError(
                f"production does not let the vault in: {str(error).strip()}; converge the databases first "
                "(roles postgresql and audit_capture)"
            ) from error

    # -- follow ---------------------------------------------------------------------------------------------------

    def look(self, vault: Any) -> dict[str, Any]:
        """How the vault stands."""
        return ask(vault, text_of("vault.sql"), {"name": SUBSCRIPTION})[0]

    def look_there(self, production: Any, vault: Any) -> dict[str, Any]:
        """How production stands; None for a vault that is away."""
        there = ask(production, text_of("production.sql"), {"name": SUBSCRIPTION, "hold": HOLD})[0]
        # A production that was set back has ended the session: all heartbeats in a new one, then the last.
        count = 1 if production is self.compared else ALL
        return {**there, "forgot": bool(vault and there["beats"] and forgotten(production, heard(vault, count)))}

    def outside(self) -> Outside:
        return Outside.read(self.settings.anchors, self.settings.position)

    def sync(self, vault: Any, production: Any) -> Iterator[str]:
        """Brings shadows, subscription and epoch to what production is now; yields what it does."""
        # The vault first: else what is applied in between makes production look as if it had been set back.
        here = self.look(vault)
        there = self.look_there(production, vault)
        self.compared = production
        reason = new_epoch_reason(there, here, self.outside())
        if reason:
            yield f"epoch {here['epoch'] + 1}: {reason}"
            self.open_epoch(vault, production, reason, there, here)
            here = here if self.check else self.look(vault)
        if not self.check:
            note_position(self.settings.position, here)
        changed = self.write(
            vault, "SELECT vault.set_policies(%s::jsonb) AS changed", json.dumps(self.settings.policies)
        )
        if changed and changed[0]["changed"]:
            yield "column policies"
        tables = ask(production, text_of("describe.sql"))[0]["tables"]
        if not tables:
            raise KeeperError("production publishes nothing to the vault; converge role audit_capture there first")
        # A worker that fails has met a shape of which no event told: then known tables follow the catalog, too.
        failing = self.errors_before is not None and (here["errors"] or 0) > self.errors_before
        for row in self.write(vault, "SELECT vault.adopt(%s::jsonb, %s) AS done", json.dumps(tables), failing):
            yield row["done"]
        published = {f"{table['schema']}.{table['table']}" for table in tables}
        yield from self.subscribe(vault, production, here, published)
        self.write(vault, "SELECT vault.close_gaps()")

    def subscribe(self, vault: Any, production: Any, here: Mapping[str, Any], published: set[str]) -> Iterator[str]:
        if not here["subscribed"]:
            yield "subscription"
            if not self.check:
                drop_slots(production, here["own_system"])  # of one that was made and not finished
            self.write(
                vault,
                f"CREATE SUBSCRIPTION {SUBSCRIPTION} CONNECTION %s PUBLICATION {PUBLICATIONS}",
                self.settings.production,
            )
            return
        if here["conninfo"] != self.settings.production:
            yield "connection of the subscription"
            self.write(vault, f"ALTER SUBSCRIPTION {SUBSCRIPTION} CONNECTION %s", self.settings.production)
        if not here["enabled"]:
            yield "subscription enabled"
            self.write(vault, f"ALTER SUBSCRIPTION {SUBSCRIPTION} ENABLE")
        if {next(iter(row.values())) for row in ask(vault, SUBSCRIBED)} != published:
            yield "publication refreshed"
            self.write(vault, f"ALTER SUBSCRIPTION {SUBSCRIPTION} REFRESH PUBLICATION")

    def open_epoch(
        self, vault: Any, production: Any, reason: str, there: Mapping[str, Any], here: Mapping[str, Any]
    ) -> None:
        if here["subscribed"]:
            self.write(vault, f"ALTER SUBSCRIPTION {SUBSCRIPTION} DISABLE")
            self.write(vault, f"ALTER SUBSCRIPTION {SUBSCRIPTION} SET (slot_name = NONE)")
            self.write(vault, f"DROP SUBSCRIPTION {SUBSCRIPTION}")
        until = continues_until(reason, vault, production, here["applied"])
        if not self.check:
            drop_slots(production, here["own_system"])
            log_line(event="vault_alarm", kind="new_epoch", severity="critical", detail={"reason": reason, **until})
        self.write(
            vault,
            "SELECT vault.open_epoch(%s, %s, %s, %s, %s, %s::pg_lsn, %s::pg_lsn)",
            reason,
            there["system_identifier"],
            there["timeline"],
            self.outside().anchored,
            until["at"],
            until["lsn"],
            here["applied"],
        )

    def write(self, vault: Any, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return [] if self.check else ask(vault, query, parameters)

    # -- seal -----------------------------------------------------------------------------------------------------

    def seal(self, vault: Any) -> None:
        ask(vault, "SELECT n FROM vault.seal_now()")
        rows = ask(vault, NEW_SEALS, (last_anchor(self.settings.anchors),))
        for row in rows:
            log_line(event="vault_seal", **row)
        append(self.settings.anchors, rows)

    # -- compare --------------------------------------------------------------------------------------------------

    def drift(self, vault: Any, production: Any) -> Iterator[dict[str, Any]]:
        """Tables whose shadow differs. A table that is being written differs by chance, never twice by the same sum."""
        for table in ask(vault, "SELECT * FROM vault.comparable()"):
            try:
                there = ask(production, table["on_production"])[0]
                wait_until_applied(vault, production)
                here = ask(vault, table["on_vault"])[0]
            except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn):
                continue  # its shape is changing: one side has the change already
            difference = (there["rows"] - here["rows"], int(there["sum"] - here["sum"]))
            if difference != (0, 0) and self.noise.get(table["name"]) == difference:
                yield {"table": table["name"], "rows_on_production": there["rows"], "rows_in_vault": here["rows"]}
            self.noise[table["name"]] = difference

    # -- watch ----------------------------------------------------------------------------------------------------

    def watch(
        self, vault: Any, here: Mapping[str, Any] | None, there: Mapping[str, Any] | None, wrong: Mapping[str, Any]
    ) -> None:
        """Metrics, alarms and findings from a look at each side; None for the side that did not answer."""
        found = dict(wrong)
        if there:
            found |= on_production(there, self.settings)
        if here:
            found |= in_vault(here, self.settings, time.monotonic() - self.started, self.errors_before)
            self.errors_before = here["errors"] or 0
        free = shutil.disk_usage(self.settings.data)
        if free.free < free.total * self.settings.disk_free_percent / 100:
            found["disk_low"] = {"free": free.free, "of": free.total}
        self.raise_alarms(self.lasting(found))
        if vault:
            self.write_findings(vault)
        self.measure(here if vault else None, there, free.free)  # it may have gone since it was looked at

    def lasting(self, wrong: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are wrong for longer than one waits for them to mend by themselves."""
        now = time.monotonic()
        self.wrong_since = {kind: self.wrong_since.get(kind, now) for kind in wrong}
        return {kind: wrong[kind] for kind in wrong if now - self.wrong_since[kind] >= PATIENCE.get(kind, 0)}

    def raise_alarms(self, wrong: Mapping[str, Any]) -> None:
        """One line and one finding when an alarm begins, one line when it ends."""
        for kind in sorted(wrong.keys() - self.alarms.keys()):
            log_line(event="vault_alarm", kind=kind, severity="critical", detail=wrong[kind])
            self.find(kind, wrong[kind])
        for kind in sorted(self.alarms.keys() - wrong.keys()):
            log_line(event="vault_alarm_over", kind=kind)
        self.alarms = dict(wrong)

    def find(self, kind: str, detail: Mapping[str, Any]) -> None:
        """A finding of now; it is written when the vault can be written to."""
        self.findings.append((datetime.now(UTC), kind, json.dumps(detail, default=str)))

    def write_findings(self, vault: Any) -> None:
        insert = "INSERT INTO vault.own_finding (at, kind, severity, detail) VALUES (%s, %s, 'critical', %s)"
        try:
            while self.findings:
                ask(vault, insert, self.findings[0])
                del self.findings[0]
        except psycopg2.Error as error:  # a full disk: they wait, and the alarm is out
            log_line(event="vault_findings_wait", count=len(self.findings), detail=str(error).strip())

    def measure(self, here: Mapping[str, Any] | None, there: Mapping[str, Any] | None, free: int) -> None:
        values: dict[str, Any] = {
            "tovplay_vault_up": int(here is not None),
            "tovplay_vault_production_reachable": int(there is not None),
            "tovplay_vault_alarms": len(self.alarms),
            "tovplay_vault_disk_free_bytes": free,
            "tovplay_vault_checked_timestamp_seconds": int(time.time()),
        }
        if there:
            values |= {
                "tovplay_vault_slot_active": int(bool(there["active"])),
                "tovplay_vault_production_held": int(there["held"]),
                "tovplay_vault_slot_retained_bytes": there["retained"],
                "tovplay_vault_lag_bytes": lag(there),
            }
        if here:
            values |= {
                "tovplay_vault_applying": int(here["working"]),
                "tovplay_vault_heartbeat_age_seconds": here["heartbeat_age"],
                "tovplay_vault_seal_age_seconds": here["seal_age"],
                "tovplay_vault_seals": here["seals"],
                "tovplay_vault_epoch": here["epoch"],
                "tovplay_vault_drifting_tables": self.drifting,
            }
        values |= {f'tovplay_vault_alarm{{kind="{kind}"}}': 1 for kind in sorted(self.alarms)}
        try:
            write_metrics(self.settings.metrics / "audit_vault.prom", values)
        except OSError as error:  # a full disk: the old figures stay, and their timestamp tells
            log_line(event="vault_metrics", detail=str(error))


@dataclass
class Loop:
    """The service: every few seconds a seal, a look at both sides, and what waits."""

    keeper: Keeper
    vault: Any = None
    production: Any = None
    last_drift: float = field(default_factory=time.monotonic)
    last_upkeep: float | None = None

    def run(self) -> None:
        while True:
            self.round()
            time.sleep(self.keeper.settings.seal_seconds)

    def round(self) -> None:
        """One side that does not answer never keeps the keeper from looking at the other."""
        keeper, here, there = self.keeper, None, None
        wrong: dict[str, Any] = {}
        try:
            self.vault = self.vault or keeper.vault()
            here = keeper.look(self.vault)
            if back := vault_went_back(here, keeper.outside()):
                wrong["vault_went_back"] = {"reason": back}  # production must answer before an epoch can begin
            elif here["epoch"]:
                keeper.seal(self.vault)
                note_position(keeper.settings.position, here)
        except (psycopg2.Error, KeeperError, OSError) as error:
            wrong["keeper"] = {"reason": str(error).strip()}
            self.vault = closed(self.vault)
        try:
            self.production = self.production or keeper.production()
            there = keeper.look_there(self.production, self.vault)
        except (psycopg2.Error, KeeperError) as error:
            wrong["production_unreachable"] = {"reason": str(error).strip()}
            self.production = closed(self.production)
        if self.vault and self.production:
            try:
                with contextlib.suppress(psycopg2.errors.LockNotAvailable):  # in the next round
                    self.follow()
            except (psycopg2.Error, KeeperError, OSError) as error:
                wrong["keeper"] = {"reason": str(error).strip()}
                self.vault, self.production = closed(self.vault), closed(self.production)
        keeper.watch(self.vault, here, there, wrong)

    def follow(self) -> None:
        """What needs both sides."""
        keeper, now = self.keeper, time.monotonic()
        for done in keeper.sync(self.vault, self.production):
            log_line(event="vault_sync", done=done)
        if now - self.last_drift > keeper.settings.drift_seconds:
            self.last_drift = now
            keeper.drifting = 0
            for detail in keeper.drift(self.vault, self.production):
                log_line(event="vault_alarm", kind="drift", severity="critical", detail=detail)
                keeper.find("drift", detail)
                keeper.drifting += 1
        if self.last_upkeep is None or now - self.last_upkeep > UPKEEP_SECONDS:
            self.last_upkeep = now
            ask(self.vault, "SELECT vault.ensure_days()")
            for row in ask(self.vault, "SELECT * FROM vault.retire(%s)", (keeper.settings.keep_days,)):
                log_line(event="vault_retired", **row)
                append(keeper.settings.anchors, [{"event": "vault_retired", **row}])


def closed(connection: Any) -> None:
    """For a connection that has failed: the next round makes a new one."""
    if connection is not None:
        with contextlib.suppress(psycopg2.Error):
            connection.close()


def drop_slots(production: Any, own_system: int) -> None:
    """The old slot, and what its table copies left, hold WAL for nobody; a worker that uses one is on its way out."""
    query = """
    SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = %s OR slot_name ~ ('^pg_[0-9]+_sync_[0-9]+_' || %s || '$')
    """
    for _ in range(50):
        try:
            ask(production, query, (SUBSCRIPTION, own_system))
            return
        except psycopg2.errors.ObjectInUse:
            time.sleep(0.2)
    raise KeeperError(f"slot {SUBSCRIPTION} on production is in use by somebody else; find out by whom")


def wait_until_applied(vault: Any, production: Any, seconds: float = 10) -> None:
    wanted = ask(production, "SELECT pg_current_wal_flush_lsn()::text AS lsn")[0]["lsn"]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        row = ask(
            production,
            "SELECT confirmed_flush_lsn >= %s AS done FROM pg_replication_slots WHERE slot_name = %s",
            (wanted, SUBSCRIPTION),
        )
        if row and row[0]["done"]:
            return
        time.sleep(0.2)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("/etc/tovplay/audit_vault.json"))
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sync").add_argument("--check", action="store_true")
    commands.add_parser("drift")
    commands.add_parser("run")
    chosen = parser.parse_args(arguments)
    keeper = Keeper(Settings.read(chosen.config), check=getattr(chosen, "check", False))
    try:
        if chosen.command == "run":
            Loop(keeper).run()
        vault = keeper.vault()
        production = keeper.production()
        if chosen.command == "sync":
            for done in keeper.sync(vault, production):
                print(done)
        else:
            list(keeper.drift(vault, production))
            for detail in keeper.drift(vault, production):
                print(json.dumps(detail))
    except (KeeperError, psycopg2.Error) as error:
        print(str(error).strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
