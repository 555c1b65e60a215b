"""Waiting for something that the scenario's host does by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_for(question: Callable[[], Answer], seconds: float = 60, why: str = "", *, pause: float = 1) -> Answer:
    """The first true answer to `question`, asked until `seconds` are over.

    Each question starts a process in the host, and others run beside this scenario: `pause` seconds lie between two.
    """
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {why or question}")
        time.sleep(pause)
    return answer
