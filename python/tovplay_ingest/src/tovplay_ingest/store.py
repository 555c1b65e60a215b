"""Recorded sessions on disk: a folder each, a gzipped file a batch, named by the time that it covers.

    <session>/<first event, ms>-<last event, ms>-<batch>.json.gz

What is too old is removed from outside (systemd-tmpfiles), so sizes are measured, not remembered for long.
"""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

_SESSION = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"(\d{13})-(\d{13})-([0-9a-f]{32})\.json\.gz")
_MEASURE_SECONDS = 30


class QuotaError(Exception):
    """There is no room for this part; the message says which quota."""


@dataclass(frozen=True)
class Recording:
    """One session: times in milliseconds of the browser's clock, size in bytes on disk."""

    session: str
    started: int
    ended: int
    parts: int
    size: int


class ReplayStore:
    """Parts of recordings. A part is on disk when `add` returns, also after a power cut."""

    def __init__(self, folder: Path, total_bytes: int, session_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._total_bytes = total_bytes
        self._session_bytes = session_bytes
        self._lock = Lock()
        self._sizes: dict[str, int] = {}
        self._measured = float("-inf")

    def add(self, session: str, batch: str, started: int, ended: int, body: bytes) -> bool:
        """Keep a part; False when it was there already. QuotaError, OSError: it is not kept."""
        folder = self._folder / session
        packed = gzip.compress(body, compresslevel=6)
        with self._lock:
            sizes = self._measure()
            if any(folder.glob(f"*-{batch}.json.gz")):
                return False
            if sizes.get(session, 0) + len(packed) > self._session_bytes:
                raise QuotaError("session")
            if sum(sizes.values()) + len(packed) > self._total_bytes:
                raise QuotaError("total")
            folder.mkdir(exist_ok=True)
            _write(folder / f"{started:013}-{ended:013}-{batch}.json.gz", packed)
            sizes[session] = sizes.get(session, 0) + len(packed)
        return True

    def size(self) -> int:
        """Bytes of all recordings."""
        with self._lock:
            return sum(self._measure().values())

    def recordings(self) -> list[Recording]:
        """All of them, the latest first."""
        found = [recording for entry in os.scandir(self._folder) if (recording := self.recording(entry.name))]
        return sorted(found, key=lambda one: one.started, reverse=True)

    def recording(self, session: str) -> Recording | None:
        parts = list(self._parts(session))
        if not parts:
            return None
        return Recording(
            session,
            started=min(started for started, _, _ in parts),
            ended=max(ended for _, ended, _ in parts),
            parts=len(parts),
            size=sum(path.stat().st_size for _, _, path in parts),
        )

    def bodies(self, session: str) -> Iterator[bytes]:
        """The parts as they were sent, in the order of their first events."""
        for _, _, path in sorted(self._parts(session)):
            yield gzip.decompress(path.read_bytes())

    def _parts(self, session: str) -> Iterator[tuple[int, int, Path]]:
        folder = self._folder / session
        if not _SESSION.fullmatch(session) or not folder.is_dir():
            return
        for path in folder.iterdir():
            if match := _PART.fullmatch(path.name):
                yield int(match[1]), int(match[2]), path

    def _measure(self) -> dict[str, int]:
        if time.monotonic() - self._measured > _MEASURE_SECONDS:
            self._sizes = {
                folder.name: sum(path.stat().st_size for path in folder.iterdir())
                for folder in self._folder.iterdir()
                if folder.is_dir()
            }
            self._measured = time.monotonic()
        return self._sizes


def _write(path: Path, content: bytes) -> None:
    """The file appears whole or not at all."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
