"""/etc/tovplay/whodunit.toml: where the witnesses are."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from whodunit import WhodunitError

PATH = Path("/etc/tovplay/whodunit.toml")


@dataclass(frozen=True, slots=True)
class Config:
    vault: str = "postgresql:///vault?host=/var/run/postgresql&port=5433"
    production: str = ""  # for undo; --to wins
    pooled_roles: tuple[str, ...] = ()  # roles that many people share through a pooler
    context_keys: Path | None = None
    anchors: Path | None = None
    loki_url: str = "http://127.0.0.1:3100"
    loki_user: str = ""
    loki_password_file: Path | None = None
    loki_ca: str = ""
    jaeger_url: str = ""
    trace_url: str = ""  # where people see traces and recorded sessions: an id is appended
    replay_url: str = ""
    timeout_seconds: float = 30.0
    page_people: Mapping[str, str] = field(default_factory=dict)  # login at the web server -> read | investigate


def load(path: Path | None = None) -> Config:
    """The file's settings; without a file, the defaults. A name that does not exist is refused, not ignored."""
    chosen = path or Path(os.environ.get("WHODUNIT_CONFIG", PATH))
    try:
        text = chosen.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is not None:
            raise WhodunitError(f"there is no {path}") from None
        return Config()
    except OSError as error:
        raise WhodunitError(f"cannot read {chosen}: {error.strerror}; members of group whodunit can") from error
    try:
        given: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WhodunitError(f"{chosen}: {error}") from error
    types = {each.name: str(each.type) for each in fields(Config)}
    unknown = sorted(set(given) - set(types))
    if unknown:
        raise WhodunitError(f"{chosen}: no such settings: {', '.join(unknown)}")
    return Config(**{name: _typed(types[name], value) for name, value in given.items()})


def _typed(kind: str, value: Any) -> Any:
    if kind.startswith("Path"):
        return Path(value) if value else None
    if kind.startswith("Mapping"):
        return {str(name): str(each) for name, each in value.items()}
    if kind.startswith("tuple"):
        return tuple(str(each) for each in value)
    return float(value) if kind == "float" else str(value)
