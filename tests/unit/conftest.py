"""Programs that images/ builds, for the tests that ask the real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def binary() -> Callable[[str], str]:
    """Path of a program; where it is not built, the test is left out with that reason, or fails in `make test`."""

    def find(name: str) -> str:
        cache = os.environ.get("TOVPLAY_CACHE", str(Path.home() / ".cache/tovplay"))
        path = Path(cache) / "bin" / name
        if not path.exists():
            # make check runs before any image is built, too; make test builds them first and leaves nothing out.
            leave = pytest.fail if os.environ.get("TOVPLAY_LEAVE_NOTHING_OUT") else pytest.skip
            leave(f"{path} is not built yet (make images)")
        return str(path)

    return find
