"""Settings from the environment (role ingest sets them); units are in the names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Where things are kept and how much of them."""

    events_file: Path = Path("/var/log/tovplay/frontend/events.json")
    replay_folder: Path = Path("/var/lib/tovplay/ingest/replay")
    assets: Path = Path("/srv/tovplay_ingest/static")
    events_file_bytes: int = 50_000_000
    events_files_kept: int = 3
    replay_total_bytes: int = 2_000_000_000
    replay_session_bytes: int = 30_000_000
    # Empty: the playback page shows no log lines.
    loki_url: str = ""
    loki_hours: int = 24 * 14


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """`INGEST_<NAME>` for each field that shall differ from its default."""
    given: dict[str, Any] = {}
    for name, default in asdict(Settings()).items():
        text = environment.get(f"INGEST_{name.upper()}")
        if text is not None:
            given[name] = type(default)(text)
    return Settings(**given)
