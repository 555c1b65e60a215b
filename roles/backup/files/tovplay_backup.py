#!/usr/bin/env python3
"""tovplay-backup: runs and watches pgBackRest, and starts copies of a cluster as it was at an earlier moment.

  tovplay-backup run production full        a backup (the timers do it)
  tovplay-backup watch                      figures and alarms (a timer does it)
  tovplay-backup side production --lsn 0/5000028
  tovplay-backup remove production          stops that copy and deletes it

A copy answers on a socket of its own port, takes no connection from elsewhere, reads only, archives nothing and
subscribes to nothing. Exit codes: 0 done, 1 refused or failed, with one sentence that says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/tovplay/backup/settings.json")
KINDS = ("archive_broken", "backup_failed", "backup_old", "no_backup", "repository_unreadable")
SOCKETS = "/var/run/postgresql"
RECOVERY_SECONDS = 3600
SETTLE_SECONDS = 90  # until a segment that the target is in has reached the archive

# pg_controldata's words, and the settings of a copy that may not be lower than those of the cluster it is of.
CONTROLLED = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}


class BackupError(Exception):
    """What a person has to do something about, in one sentence."""


def command(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BackupError(f"{argv[0]} failed ({done.returncode}): {' '.join(said[-4:])}")
    return done.stdout


def log_line(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


# ---- what the figures say ---------------------------------------------------------------------------------------


def alarms_of(
    stanza: Mapping[str, Any], archive_error: str, last_run: Mapping[str, Any], now: float, max_age: float
) -> dict[str, str]:
    """Alarms of a stanza of `pgbackrest info --output=json`, by kind; `archive_error` is '' when a segment came in."""
    found = {"archive_broken": archive_error} if archive_error else {}
    if last_run.get("result") == "failed":
        found["backup_failed"] = str(last_run.get("detail", ""))
    backups = [each for each in stanza.get("backup", []) if not each.get("error")]
    if not backups:
        found["no_backup"] = str(stanza.get("status", {}).get("message", "there is none"))
    elif now - backups[-1]["timestamp"]["stop"] > max_age:
        found["backup_old"] = f"the last one, {backups[-1]['label']}, is older than {max_age / 3600:g} hours"
    return found


def figures_of(stanza: Mapping[str, Any], alarms: Mapping[str, str], last_run: Mapping[str, Any]) -> list[str]:
    """Lines of Prometheus' text format; times in seconds since the epoch, sizes in bytes."""
    name = stanza["name"]
    lines = [
        f'tovplay_backup_alarm{{stanza="{name}",kind="{kind}"}} {int(kind in alarms)}'
        for kind in KINDS
        if kind != "repository_unreadable"
    ]
    for kind in ("full", "incr"):
        of_kind = [each for each in stanza.get("backup", []) if each["type"] == kind]
        if of_kind:
            stop = of_kind[-1]["timestamp"]["stop"]
            lines.append(f'tovplay_backup_last_timestamp_seconds{{stanza="{name}",type="{kind}"}} {stop}')
            seconds = stop - of_kind[-1]["timestamp"]["start"]
            lines.append(f'tovplay_backup_last_duration_seconds{{stanza="{name}",type="{kind}"}} {seconds}')
            kept = of_kind[-1]["info"]["repository"]["delta"]
            lines.append(f'tovplay_backup_last_bytes{{stanza="{name}",type="{kind}"}} {kept}')
    lines.append(f'tovplay_backup_count{{stanza="{name}"}} {len(stanza.get("backup", []))}')
    if last_run:
        lines.append(f'tovplay_backup_last_run_ok{{stanza="{name}"}} {int(last_run["result"] == "ok")}')
    return lines


def watch(settings: Mapping[str, Any]) -> int:
    state, now = Path(settings["state"]), time.time()
    before = _read(state / "alarms.json")
    alarms: dict[str, dict[str, str]] = {}
    lines = [f"tovplay_backup_checked_timestamp_seconds {now:.0f}"]
    try:
        known = {each["name"]: each for each in json.loads(command("pgbackrest", "info", "--output=json"))}
        unreadable = ""
    except (BackupError, ValueError) as error:
        known, unreadable = {}, str(error)
    lines.append(f'tovplay_backup_alarm{{stanza="",kind="repository_unreadable"}} {int(bool(unreadable))}')
    if unreadable:
        alarms[""] = {"repository_unreadable": unreadable}
    for each in [] if unreadable else settings["stanzas"]:
        name = each["name"]
        stanza, last_run = known.get(name, {"name": name}), _read(state / f"{name}.json")
        alarms[name] = alarms_of(stanza, _archive_error(name), last_run, now, settings["max_age_seconds"])
        lines += figures_of(stanza, alarms[name], last_run)
    for stanza_name, found in alarms.items():
        for kind in sorted(found.keys() - before.get(stanza_name, {}).keys()):
            log_line(event="backup_alarm", kind=kind, stanza=stanza_name, severity="critical", detail=found[kind])
    for stanza_name, found in before.items():
        for kind in sorted(found.keys() - alarms.get(stanza_name, {}).keys()):
            log_line(event="backup_alarm_over", kind=kind, stanza=stanza_name)
    _write(state / "alarms.json", json.dumps(alarms))
    _write(Path(settings["metrics"]) / "backup.prom", "\n".join(lines) + "\n")
    return 0


def _archive_error(stanza: str) -> str:
    """A segment is closed on the cluster and looked for in the repository: the whole way, or why not."""
    try:
        command("pgbackrest", f"--stanza={stanza}", "--archive-timeout=20", "--io-timeout=5", "check")
    except BackupError as error:
        return str(error)
    return ""


def run(settings: Mapping[str, Any], stanza: str, kind: str) -> int:
    _stanza(settings, stanza)
    state, started = Path(settings["state"]), time.time()
    told: dict[str, Any] = {"result": "ok", "type": kind, "at": started}
    try:
        print(command("pgbackrest", f"--stanza={stanza}", f"--type={kind}", "backup"), end="")
    except BackupError as error:
        told |= {"result": "failed", "detail": str(error)}
    _write(state / f"{stanza}.json", json.dumps({**told, "seconds": round(time.time() - started, 1)}))
    watch(settings)
    if told["result"] == "failed":
        raise BackupError(f"backup of {stanza}: {told['detail']}")
    return 0


# ---- a copy of an earlier moment ----------------------------------------------------------------------------------


def target_of(options: argparse.Namespace) -> list[str]:
    """pgBackRest's options: stops before the named moment, unless told otherwise."""
    given = [(kind, getattr(options, kind)) for kind in ("time", "lsn", "xid") if getattr(options, kind)]
    if len(given) != 1:
        raise BackupError("say one moment: --time, --lsn or --xid")
    kind, value = given[0]
    if kind == "time":
        value = _moment(value)
    elif not re.fullmatch({"lsn": r"[0-9A-F]+/[0-9A-F]+", "xid": r"\d+"}[kind], value):
        raise BackupError(f"--{kind} {value!r}: write it as PostgreSQL does, 0/5000028 or 1234")
    exclusive = [] if options.inclusive else ["--target-exclusive"]
    chosen = [f"--set={options.set}"] if options.set else []
    return [f"--type={kind}", f"--target={value}", *exclusive, *chosen, "--target-action=promote"]


def _moment(text: str) -> str:
    """The one spelling that pgBackRest, which chooses a backup by it, and PostgreSQL both read."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise BackupError(f"--time {text!r}: write it with the time zone, '2026-05-04 03:02:01+00'")
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def configuration(control: str, port: int) -> str:
    """postgresql.conf of a copy, from what pg_controldata says about the cluster it is of."""
    pairs = (line.split(":", 1) for line in control.splitlines() if ":" in line)
    values = {CONTROLLED[name]: value.strip() for name, value in pairs if name in CONTROLLED}
    lines = [f"{name} = {value}" for name, value in sorted(values.items())]
    return "\n".join(
        [
            *lines,
            f"port = {port}",
            "listen_addresses = ''",
            f"unix_socket_directories = '{SOCKETS}'",
            "shared_buffers = 64MB",
            "wal_level = logical",
            "archive_mode = off",
            "fsync = off",  # it can be made again
            "autovacuum = off",
            "max_logical_replication_workers = 0",  # a copy of the vault must not subscribe to production
            "default_transaction_read_only = on",
            "log_timezone = UTC",
            "",
        ]
    )


def side(settings: Mapping[str, Any], options: argparse.Namespace) -> int:
    stanza = _stanza(settings, options.stanza)
    directory, port = Path(settings["directory"]) / options.stanza, options.port or settings["port"]
    bin_ = Path(f"/usr/lib/postgresql/{stanza['version']}/bin")
    wanted = target_of(options)
    if not (bin_ / "postgres").exists():
        raise BackupError(f"{bin_} is not here: install postgresql-{stanza['version']}, as {options.stanza} has it")
    if directory.exists():
        raise BackupError(f"there is a copy in {directory}; tovplay-backup remove {options.stanza} takes it away")
    if Path(f"{SOCKETS}/.s.PGSQL.{port}").exists():
        raise BackupError(f"port {port} is taken on this host; choose another one with --port")
    started = time.monotonic()
    _restore(settings, options.stanza, directory, wanted)
    control = command(str(bin_ / "pg_controldata"), str(directory))
    (directory / "postgresql.conf").write_text(configuration(control, port))
    (directory / "pg_hba.conf").write_text("local all postgres peer\n")
    (directory / "pg_ident.conf").write_text("")
    restored = time.monotonic()
    _recover(bin_, directory, port)
    if broken := _ask(port, "SELECT string_agg(datname, ', ') FROM pg_database WHERE datconnlimit = -2"):
        print(f"{broken}: its files went before its DROP DATABASE was committed; choose an LSN before the statement")
    print(
        f"{options.stanza} as it was: files in {restored - started:.1f} s, WAL in {time.monotonic() - restored:.1f} s\n"
        f"  sudo -u postgres psql -h {SOCKETS} -p {port} -d DATABASE\n"
        f"  sudo -u postgres tovplay-backup remove {options.stanza}"
    )
    return 0


def _recover(bin_: Path, directory: Path, port: int) -> None:
    """Starts the copy. The segment with its moment may still be on its way to the archive: then it is started again."""
    log, deadline = directory / "side.log", time.monotonic() + SETTLE_SECONDS
    start = (str(bin_ / "pg_ctl"), "-D", str(directory), "-l", str(log), "-w", "-t", str(RECOVERY_SECONDS), "start")
    while True:
        log.unlink(missing_ok=True)
        try:
            command(*start)
            return _await_promotion(port)
        except BackupError as error:
            fatal = [line for line in log.read_text().splitlines() if "FATAL" in line][-1:] if log.exists() else []
            if "before configured recovery target" not in " ".join(fatal) or time.monotonic() > deadline:
                raise BackupError(f"{' '.join(fatal) or error} All of it: {log}") from error
        time.sleep(5)


def _restore(settings: Mapping[str, Any], stanza: str, directory: Path, wanted: Sequence[str]) -> None:
    """Files of the newest backup before the moment; the last segments may still be on their way, so not the WAL."""
    directory.mkdir(mode=0o700)
    argv = ["pgbackrest", f"--config={settings['config']}", f"--stanza={stanza}", f"--pg1-path={directory}", *wanted]
    try:
        command(*argv, "restore")
    except BackupError:
        shutil.rmtree(directory)
        raise


def _await_promotion(port: int) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while _ask(port, "SELECT pg_is_in_recovery()") != "f":
        if time.monotonic() > deadline:
            raise BackupError(f"the copy has not reached its moment within {RECOVERY_SECONDS} s")
        time.sleep(0.2)


def _ask(port: int, query: str) -> str:
    return command("psql", "-XAtq", "-h", SOCKETS, "-p", str(port), "-d", "postgres", "-c", query).strip()


def remove(settings: Mapping[str, Any], stanza: str) -> int:
    known = _stanza(settings, stanza)
    directory = Path(settings["directory"]) / stanza
    if not directory.exists():
        raise BackupError(f"there is no copy in {directory}")
    if (directory / "postmaster.pid").exists():
        control = f"/usr/lib/postgresql/{known['version']}/bin/pg_ctl"
        command(control, "-D", str(directory), "-m", "immediate", "-w", "stop")
    shutil.rmtree(directory)
    return 0


# ---- command line ---------------------------------------------------------------------------------------------------


def _stanza(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for each in settings["stanzas"]:
        if each["name"] == name:
            return dict(each)
    raise BackupError(f"no stanza is called {name}: {', '.join(each['name'] for each in settings['stanzas'])}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tovplay-backup", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    told = {"run": "make a backup", "remove": "delete a copy", "side": "start a copy of an earlier moment"}
    for name, words in told.items():
        commands.add_parser(name, help=words).add_argument("stanza")
    commands.add_parser("watch", help="write figures, raise alarms")
    commands.choices["run"].add_argument("kind", choices=("full", "incr"))
    one = commands.choices["side"]
    one.add_argument("--time", help="'2026-05-04 03:02:01+00'")
    one.add_argument("--lsn", help="0/5000028")
    one.add_argument("--xid", help="a transaction; with DROP DATABASE rather an LSN from before the statement")
    one.add_argument("--inclusive", action="store_true", help="with that moment itself")
    one.add_argument("--set", help="label of a backup; needed with --xid when the newest one is later")
    one.add_argument("--port", type=int, help="of the copy's socket")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = arguments(argv)
    try:
        if not os.access(SETTINGS, os.R_OK) or os.geteuid() == 0:
            raise BackupError(f"run it as the owner of the clusters: sudo -u postgres tovplay-backup {' '.join(argv)}")
        settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
        if options.command == "run":
            return run(settings, options.stanza, options.kind)
        if options.command == "side":
            return side(settings, options)
        return remove(settings, options.stanza) if options.command == "remove" else watch(settings)
    except BackupError as error:
        print(f"tovplay-backup: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
