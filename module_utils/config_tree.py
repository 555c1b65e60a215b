"""Decide what a daemon's configuration directory needs: pure comparison, no writing.

A file's state is its bytes, mode and numeric owner; a plan is the list of paths whose state differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

REDACTED = "secret content, sha256 {digest}…"


class ConfigTreeError(Exception):
    """An input that cannot become a configuration tree; the message is one sentence with the next step."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One regular file as it has to be; uid or gid None means: the account does not exist yet (check mode only)."""

    path: Path
    content: bytes
    mode: int
    uid: int | None
    gid: int | None
    secret: bool = False


@dataclasses.dataclass(frozen=True)
class WantedDirectory:
    path: Path
    mode: int
    uid: int | None
    gid: int | None


def resolve(root: Path, path: str) -> Path:
    """Absolute location of `path`; a relative one lives below root and may not climb out of it."""
    if not path or path.endswith("/"):
        raise ConfigTreeError(f"The file path {path!r} names no file; give a name below {root} or an absolute path.")
    joined = Path(os.path.normpath(root / path))
    if not path.startswith("/") and root not in joined.parents:
        raise ConfigTreeError(f"The file path {path!r} leaves {root}; write it absolute if that is meant.")
    return joined


def refuse_duplicates(paths: Iterable[Path]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise ConfigTreeError(f"{path} is listed twice; keep one entry, or the last one would silently win.")
        seen.add(path)


def parse_mode(mode: str) -> int:
    """Octal string such as "0640"; symbolic modes depend on what is there, so they are refused."""
    try:
        value = int(mode, 8)
    except (TypeError, ValueError):
        raise ConfigTreeError(f'The mode {mode!r} is not octal; write it quoted, like "0640".') from None
    if not 0 <= value <= 0o7777:
        raise ConfigTreeError(f'The mode {mode!r} is out of range; write it quoted, like "0640".')
    return value


def _merge(below: object, above: object) -> object:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}
    return above


def merge_json(path: Path, ours: str) -> bytes:
    """Our JSON object laid over the one in `path`: keys that are not ours stay, keys that are get our value.

    A file that already says all of it is returned byte for byte, whatever its formatting.
    """
    wanted = json.loads(ours)
    before = path.read_bytes() if path.is_file() else b""
    try:
        existing = json.loads(before) if before.strip() else {}
    except json.JSONDecodeError as error:
        raise ConfigTreeError(
            f"{path} line {error.lineno} is not JSON ({error.msg}); repair it by hand first."
        ) from None
    if not isinstance(existing, dict):
        raise ConfigTreeError(f"{path} holds no JSON object; repair it by hand first.")
    merged = _merge(existing, wanted)
    if before and merged == existing:
        return before
    return (json.dumps(merged, indent=2) + "\n").encode()


def file_differs(wanted: Wanted) -> bool:
    try:
        info = wanted.path.lstat()
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(info.st_mode):
        return True
    state = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return state != (wanted.mode, wanted.uid, wanted.gid) or wanted.path.read_bytes() != wanted.content


def directory_differs(wanted: WantedDirectory) -> bool:
    try:
        info = wanted.path.stat()
    except FileNotFoundError:
        return True
    return (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) != (wanted.mode, wanted.uid, wanted.gid)


def _shown(content: bytes | None, secret: bool) -> str:
    if content is None:
        return ""
    if secret:
        return REDACTED.format(digest=hashlib.sha256(content).hexdigest()[:8]) + "\n"
    return content.decode("utf-8", errors="replace")


def file_diff(wanted: Wanted) -> dict[str, str]:
    """Before and after of one file in Ansible's diff shape; secrets appear as the start of their digest."""
    before = wanted.path.read_bytes() if wanted.path.is_file() else None
    return {
        "before_header": str(wanted.path),
        "after_header": str(wanted.path),
        "before": _shown(before, wanted.secret),
        "after": _shown(wanted.content, wanted.secret),
    }
