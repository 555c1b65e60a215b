"""The service over an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from tovplay_ingest.app import create_app
from tovplay_ingest.config import Settings


@pytest.fixture
def settings(tmp_path):
    assets = tmp_path / "static"
    assets.mkdir()
    for name in ("agent.js", "recorder-0123456789abcdef.js", "replay.js"):
        (assets / name).write_text(f"// {name}")
    (assets / "secret.txt").write_text("not for everybody")
    return Settings(
        events_file=tmp_path / "log/events.json",
        replay_folder=tmp_path / "replay",
        assets=assets,
        replay_session_bytes=4_000,
        replay_total_bytes=10_000,
    )


@pytest.fixture
def client(settings):
    return create_app(settings).test_client()


@pytest.fixture
def written(settings):
    """`written()`: the lines of the events' file."""

    def read() -> list[dict]:
        path = Path(settings.events_file)
        return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []

    return read


@pytest.fixture
def dropped():
    """`dropped(kind, reason)`: how many since the test began."""

    def value(kind: str, reason: str) -> float:
        return REGISTRY.get_sample_value("tovplay_ingest_dropped_total", {"kind": kind, "reason": reason})

    reasons = ("browser", "content_type", "duplicate", "invalid", "quota", "size", "unwritable")
    before = {(kind, reason): value(kind, reason) for kind in ("events", "replay") for reason in reasons}
    return lambda kind, reason: value(kind, reason) - before[kind, reason]
