#!/usr/bin/python3
"""Keep the file into which tovplay-journal-export.service lets journalctl write.

    journal-export prepare FILE BYTES KEEP SINCE ENVIRONMENT   before journalctl starts
    journal-export full FILE BYTES                             exit code 0 when the file has reached its size

The position is the last cursor in the file itself, so whatever kills journalctl, nothing is skipped: it goes on after
the last whole entry. The file is only ever appended to or renamed, never truncated.
"""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path

BLOCK = 1 << 20


def older(path: Path, keep: int) -> list[Path]:
    return [path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1)]


def full(path: Path, limit: int) -> bool:
    return path.exists() and path.stat().st_size >= limit


def make_room(path: Path, limit: int, keep: int) -> None:
    """Close a line that a kill has cut in two, then rename a full file; the oldest falls away."""
    if full(path, 1):
        with path.open("rb+") as stream:
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
    if full(path, limit):
        names = [path, *older(path, keep)]
        for source, target in reversed(list(pairwise(names))):
            if source.exists():
                source.rename(target)


def last_cursor(files: list[Path]) -> str | None:
    """Cursor of the last whole entry in the newest file that has one, read from its end."""
    for path in files:
        if not path.exists():
            continue
        with path.open("rb") as stream:
            at, tail = stream.seek(0, os.SEEK_END), b""
            while at:
                at, size = max(0, at - BLOCK), min(at, BLOCK)
                stream.seek(at)
                tail = stream.read(size) + tail
                lines = tail.split(b"\n")
                for line in reversed(lines if at == 0 else lines[1:]):
                    cursor = cursor_of(line)
                    if cursor:
                        return cursor
    return None


def cursor_of(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry.get("__CURSOR") if isinstance(entry, dict) else None


def prepare(path: Path, limit: int, keep: int, since: str, environment: Path) -> None:
    make_room(path, limit, keep)
    cursor = last_cursor([path, *older(path, keep)])
    start = f"--after-cursor={cursor}" if cursor else f"--since={since}"
    environment.write_text(f'JOURNAL_START="{start}"\n', encoding="utf-8")


def main() -> None:
    verb, path, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if verb == "full":
        sys.exit(0 if full(path, limit) else 1)
    prepare(path, limit, int(sys.argv[4]), sys.argv[5], Path(sys.argv[6]))


if __name__ == "__main__":
    main()
