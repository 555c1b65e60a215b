#!/usr/bin/python3
"""Keeper of the audit vault: follows production's publications, seals, anchors, measures and raises the alarm.

tovplay-vault-keeper sync [--check]   shadows, subscription and epoch as production is now; prints what it did
tovplay-vault-keeper drift            compares every shadow with production, now
tovplay-vault-keeper run              all of it, for ever (tovplay-vault-keeper.service)

Runs as the cluster's own user, since PostgreSQL 15 lets only a superuser own and refresh a subscription.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras

SUBSCRIPTION = "tovplay_vault"
PUBLICATIONS = "tovplay_audit_rows, tovplay_audit_meta"
SUBSCRIBED = """
SELECT n.nspname || '.' || c.relname FROM pg_subscription_rel r
JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
NEW_SEALS = """
SELECT n, encode(root, 'hex') AS root, first_id, last_id, rows, horizon_xid, at FROM vault.seal WHERE n > %s ORDER BY n
"""


class KeeperError(Exception):
    """What a person has to do something about, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """/etc/tovplay/audit_vault.json."""

    vault: str
    production: str
    policies: Sequence[Mapping[str, str]]
    anchors: Path
    metrics: Path
    seal_seconds: float = 5
    drift_seconds: float = 300
    silence_seconds: float = 60
    lag_bytes: int = 268435456
    keep_days: int = 30

    @classmethod
    def read(cls, path: Path) -> Settings:
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "anchors": Path(values["anchors"]), "metrics": Path(values["metrics"])})


def connect(dsn: str) -> Any:
    connection = psycopg2.connect(dsn, cursor_factory=psycopg2.extras.RealDictCursor)
    connection.autocommit = True
    return connection


def ask(connection: Any, query: str, parameters: Any = None) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [dict(row) for row in cursor.fetchall()] if cursor.description else []


def text_of(name: str) -> str:
    """A query beside this file."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def log_line(**values: Any) -> None:
    print(json.dumps(values, default=str, sort_keys=True), flush=True)


def lsn(text: str | None) -> int:
    high, _, low = (text or "0/0").partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def new_epoch_reason(production: Mapping[str, Any], vault: Mapping[str, Any], anchored: int) -> str | None:
    """Why what comes now does not continue what the vault has; None when it does."""
    if not vault["epoch"]:
        return "first subscription"
    if vault["system_identifier"] and vault["system_identifier"] != production["system_identifier"]:
        return "production is another cluster"
    if vault["timeline"] and vault["timeline"] != production["timeline"]:
        return "production was restored or failed over"
    if lsn(production["lsn"]) < lsn(vault["applied"]):
        return "production was set back"
    if vault["seals"] < anchored:
        return "the vault was set back"
    if vault["subscribed"] and not production["slot"]:
        return "production has lost the slot"
    if production["wal_status"] == "lost":
        return "production gave the slot up, since it kept too much WAL"
    return None


class Keeper:
    """One vault, one production."""

    def __init__(self, settings: Settings, check: bool = False) -> None:
        self.settings = settings
        self.check = check
        self.alarms: dict[str, Any] = {}
        self.noise: dict[str, tuple[int, int]] = {}
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

    def sync(self, vault: Any, production: Any) -> Iterator[str]:
        """Brings shadows, subscription and epoch to what production is now; yields what it does."""
        # The vault first: else what is applied in between makes production look as if it had been set back.
        here = ask(vault, text_of("vault.sql"), {"name": SUBSCRIPTION})[0]
        there = ask(production, text_of("production.sql"), {"name": SUBSCRIPTION})[0]
        reason = new_epoch_reason(there, here, last_anchor(self.settings.anchors))
        if reason:
            yield f"epoch {here['epoch'] + 1}: {reason}"
            self.open_epoch(vault, production, reason, there, here)
            here = here if self.check else ask(vault, text_of("vault.sql"), {"name": SUBSCRIPTION})[0]
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
        yield from self.subscribe(vault, here, {f"{table['schema']}.{table['table']}" for table in tables})

    def subscribe(self, vault: Any, here: Mapping[str, Any], published: set[str]) -> Iterator[str]:
        if not here["subscribed"]:
            yield "subscription"
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
        if there["slot"] and not self.check:
            drop_slot(production)
        self.write(
            vault,
            "SELECT vault.open_epoch(%s, %s, %s, %s::pg_lsn, %s)",
            reason,
            there["system_identifier"],
            there["timeline"],
            there["lsn"],
            last_anchor(self.settings.anchors),
        )

    def write(self, vault: Any, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return [] if self.check else ask(vault, query, parameters)

    # -- seal -----------------------------------------------------------------------------------------------------

    def seal(self, vault: Any) -> None:
        ask(vault, "SELECT n FROM vault.seal_now()")
        rows = ask(vault, NEW_SEALS, (last_anchor(self.settings.anchors),))
        with self.settings.anchors.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, default=str, sort_keys=True) + "\n")
                log_line(event="vault_seal", **row)
            file.flush()
            os.fsync(file.fileno())

    # -- compare --------------------------------------------------------------------------------------------------

    def drift(self, vault: Any, production: Any) -> Iterator[dict[str, Any]]:
        """Tables whose shadow differs. A table that is being written differs by chance, never twice by the same sum."""
        for table in ask(vault, "SELECT * FROM vault.comparable()"):
            there = ask(production, table["on_production"])[0]
            wait_until_applied(vault, production)
            here = ask(vault, table["on_vault"])[0]
            difference = (there["rows"] - here["rows"], int(there["sum"] - here["sum"]))
            if difference != (0, 0) and self.noise.get(table["name"]) == difference:
                yield {"table": table["name"], "rows_on_production": there["rows"], "rows_in_vault": here["rows"]}
            self.noise[table["name"]] = difference

    # -- watch ----------------------------------------------------------------------------------------------------

    def watch(self, vault: Any, there: Mapping[str, Any] | None) -> None:
        """Compares both sides with what is healthy: metrics, alarms, findings."""
        here = ask(vault, text_of("vault.sql"), {"name": SUBSCRIPTION})[0]
        wrong: dict[str, Any] = {}
        lag = None
        if there is None:
            wrong["production_unreachable"] = {}
        else:
            lag = max(0, lsn(there["lsn"]) - lsn(there["confirmed"])) if there["slot"] else None
            if not there["slot"] or there["wal_status"] == "lost":
                wrong["slot_lost"] = {"wal_status": there["wal_status"]}
            elif not there["active"]:
                wrong["slot_inactive"] = {}
            if lag is not None and lag > self.settings.lag_bytes:
                wrong["lag"] = {"bytes": lag}
            if there["retained"] and there["keep"] and there["retained"] > there["keep"] / 2:
                wrong["slot_fills_disk"] = {"retained": there["retained"], "kept_at_most": there["keep"]}
        if not here["working"]:
            wrong["not_applying"] = {}
        if self.errors_before is not None and (here["errors"] or 0) > self.errors_before:
            wrong["apply_error"] = {"errors": here["errors"], "reason": "in the vault's own log"}
        self.errors_before = here["errors"] or 0
        # From before the keeper began it knows of no silence: the first beat of a new vault needs its time.
        age = here["heartbeat_age"] if here["heartbeat_age"] is not None else time.monotonic() - self.started
        if age > self.settings.silence_seconds:
            wrong["silence"] = {"seconds": round(age)}
        if here["rest"]:
            wrong["rows_outside_days"] = {"rows": here["rest"]}
        self.raise_alarms(vault, wrong)
        self.write_metrics(here, there, lag)

    def raise_alarms(self, vault: Any, wrong: Mapping[str, Any]) -> None:
        """One line and one finding when an alarm begins, one line when it ends."""
        for kind in wrong.keys() - self.alarms.keys():
            log_line(event="vault_alarm", kind=kind, severity="critical", detail=wrong[kind])
            self.find(vault, kind, "critical", wrong[kind])
        for kind in self.alarms.keys() - wrong.keys():
            log_line(event="vault_alarm_over", kind=kind)
        self.alarms = dict(wrong)

    def find(self, vault: Any, kind: str, severity: str, detail: Mapping[str, Any]) -> None:
        ask(
            vault,
            "INSERT INTO vault.own_finding (kind, severity, detail) VALUES (%s, %s, %s)",
            (kind, severity, json.dumps(detail, default=str)),
        )

    def write_metrics(self, here: Mapping[str, Any], there: Mapping[str, Any] | None, lag: int | None) -> None:
        values = {
            "tovplay_vault_up": 1,
            "tovplay_vault_applying": int(here["working"]),
            "tovplay_vault_production_reachable": int(there is not None),
            "tovplay_vault_slot_active": int(bool(there and there["active"])),
            "tovplay_vault_slot_retained_bytes": there and there["retained"],
            "tovplay_vault_lag_bytes": lag,
            "tovplay_vault_heartbeat_age_seconds": here["heartbeat_age"],
            "tovplay_vault_seal_age_seconds": here["seal_age"],
            "tovplay_vault_seals": here["seals"],
            "tovplay_vault_epoch": here["epoch"],
            "tovplay_vault_alarms": len(self.alarms),
            "tovplay_vault_checked_timestamp_seconds": int(time.time()),
        }
        lines = [f"{name} {value}\n" for name, value in values.items() if value is not None]
        lines += [f'tovplay_vault_alarm{{kind="{kind}"}} 1\n' for kind in sorted(self.alarms)]
        fresh = self.settings.metrics.with_suffix(".new")
        fresh.write_text("".join(lines), encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(self.settings.metrics)


@dataclass
class Loop:
    """The service: every few seconds a seal, a look at both sides, and what waits."""

    keeper: Keeper
    last_drift: float = field(default_factory=time.monotonic)
    last_upkeep: float = 0

    def run(self) -> None:
        vault = production = None
        while True:
            try:
                vault = vault if vault and not vault.closed else self.keeper.vault()
                production = self.round(vault, production)
            except (psycopg2.Error, KeeperError) as error:
                log_line(event="vault_alarm", kind="keeper", severity="critical", detail=str(error).strip())
                vault = production = None
            time.sleep(self.keeper.settings.seal_seconds)

    def round(self, vault: Any, production: Any) -> Any:
        keeper = self.keeper
        keeper.seal(vault)
        try:
            production = production if production and not production.closed else keeper.production()
            there = ask(production, text_of("production.sql"), {"name": SUBSCRIPTION})[0]
        except (psycopg2.Error, KeeperError) as error:
            log_line(event="vault_production", detail=str(error).strip())
            keeper.watch(vault, None)
            return None
        for done in keeper.sync(vault, production):
            log_line(event="vault_sync", done=done)
        keeper.watch(vault, there)
        now = time.monotonic()
        if now - self.last_drift > keeper.settings.drift_seconds:
            self.last_drift = now
            for detail in keeper.drift(vault, production):
                log_line(event="vault_alarm", kind="drift", severity="critical", detail=detail)
                keeper.find(vault, "drift", "critical", detail)
        if not self.last_upkeep or now - self.last_upkeep > 3600:
            self.last_upkeep = now
            ask(vault, "SELECT vault.ensure_days()")
            ask(vault, "SELECT vault.retire(%s)", (keeper.settings.keep_days,))
        return production


def last_anchor(path: Path) -> int:
    """Number of the last seal that has left the cluster; 0 before the first."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = [line for line in file.read().splitlines() if line.endswith(b"}")]
    return int(json.loads(lines[-1])["n"]) if lines else 0


def drop_slot(production: Any) -> None:
    """The old slot holds WAL for nobody; a worker that still uses it is on its way out."""
    for _ in range(30):
        try:
            ask(production, "SELECT pg_drop_replication_slot(%s)", (SUBSCRIPTION,))
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
