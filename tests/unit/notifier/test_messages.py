"""Whatever comes in, what goes out is within Discord's limits, calls nobody, and hides nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


def load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


messages = load("tovplay_messages", "roles/notifier/files/messages.py")
discord = load("tovplay_stand_in", "tests/stand_in/discord.py")

TEXT = st.text(max_size=9000)
EMBED = st.fixed_dictionaries({}, optional={"title": TEXT, "description": TEXT, "color": st.integers(), "url": TEXT})
BODY = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT,
        "username": st.text(max_size=200),
        "embeds": st.lists(EMBED, max_size=14),
        "allowed_mentions": st.just({"parse": ["everyone"]}),
        "avatar_url": TEXT,
    },
)


@given(BODY, st.floats(0, 1e6))
def test_discord_takes_every_message(body: dict[str, Any], waited: float) -> None:
    message = messages.late(messages.clean_message(body), waited)
    assert discord.problem(message) is None
    assert message["allowed_mentions"] == {"parse": []}


def test_the_stand_in_refuses_what_discord_refuses() -> None:
    assert discord.problem({}) == "Cannot send an empty message"
    assert discord.problem({"content": "x" * 2001}) == "too long"
    assert discord.problem({"embeds": [{"title": "x" * 257}]}) == "embeds: too long"
    assert discord.problem({"embeds": [{"description": "x" * 4000}] * 2}) == "embeds: more than 6000 characters"
    assert discord.problem({"embeds": [{"color": 1}]}) == "embeds: empty"


def test_characters_that_forge_are_taken_out() -> None:
    body = {"embeds": [{"title": "a\u202eb\u200bc\x1b[31m", "description": "line\nline"}]}
    (embed,) = messages.clean_message(body)["embeds"]
    assert embed == {"title": "abc[31m", "description": "line\nline"}


def test_a_cut_is_marked() -> None:
    assert messages.cut("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        ({"Retry-After": "2"}, '{"retry_after": 0.4}', 0.4),
        ({"Retry-After": "65"}, "no json", 65),
        ({}, "", 5),
        ({}, '{"retry_after": 1e9}', 3600),
    ],
)
def test_how_long_discord_wants_us_to_wait(headers: dict[str, str], text: str, seconds: float) -> None:
    assert messages.retry_after(headers, text) == seconds


def test_waits_grow_to_a_minute() -> None:
    assert 0.8 <= messages.backoff(0) <= 1.2
    assert 48 <= messages.backoff(30) <= 72
