"""What keeper and holder of the audit vault share: settings, questions to both sides, journal, metrics, anchors."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras

SUBSCRIPTION = "tovplay_vault"  # and its slot on production
HOLD = "tovplay_hold"  # the holder's slot there


class KeeperError(Exception):
    """What a person has to do something about, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """/etc/tovplay/audit_vault.json."""

    vault: str
    production: str
    policies: Sequence[Mapping[str, str]]
    anchors: Path
    position: Path
    data: Path
    metrics: Path
    seal_seconds: float = 5
    drift_seconds: float = 300
    silence_seconds: float = 60
    lag_bytes: int = 268435456
    hold_bytes: int = 134217728
    keep_days: int = 30
    disk_free_percent: int = 10

    @classmethod
    def read(cls, path: Path) -> Settings:
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, **{name: Path(values[name]) for name in ("anchors", "position", "data", "metrics")}})


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


def write_metrics(path: Path, values: Mapping[str, Any]) -> None:
    """Whole or not at all, for a scraper that reads text files; None is left out."""
    lines = [f"{name} {value}\n" for name, value in values.items() if value is not None]
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(lines), encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object a line, on the disk when this returns; a line that a full disk has cut is closed first."""
    if not rows:
        return
    cut = tail(path, 1) not in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if cut else "")
        file.writelines(json.dumps(row, default=str, sort_keys=True) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def tail(path: Path, size: int) -> bytes:
    """The last bytes of a file that may not exist."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def last_anchor(path: Path) -> int:
    """Number of the last seal that has left the cluster; 0 before the first. Lines that are cut are none."""
    for line in reversed(tail(path, 65536).splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["n"])
    return 0
