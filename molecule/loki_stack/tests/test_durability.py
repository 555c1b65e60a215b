"""Nothing is lost when files are renamed, when anything is killed, or when Loki is away; and the test would notice."""

from __future__ import annotations

import importlib
import re
import sys
import time
from pathlib import Path

import pytest
from lines import HOST, PLAIN, SHIPPERS, query, run, wait_for

PROJECT = Path(__file__).parents[3]
FACTOR = 150  # ten minutes become four seconds
CONFIG = "/etc/tovplay/otelcol/config.yaml"

sys.path.insert(0, str(PROJECT / "tests/full"))
outage = importlib.import_module("outage")

RENAMES = """
import os, sys, time
path, mark = sys.argv[1:]
for number in range(2000):
    with open(path, "a") as file:
        file.write(f"{mark} {number:08d}\\n")
    if number % 400 == 399:
        os.rename(path, path + ".1")
    time.sleep(0.002)
"""


def test_renamed_files_lose_nothing():
    """Five times in some five seconds, each time over the file renamed before."""
    mark, since = f"renamed-{int(time.time())}", time.time() - 1
    run("python3", "-c", RENAMES, PLAIN, mark)
    assert outage.settled(HOST, SHIPPERS["otelcol"], mark, 2000, since)["lost"] == 0


def test_the_journal_loses_nothing():
    """Its exporter is killed twice and its file renamed while lines come."""
    mark, since = f"journal-{int(time.time())}", time.time() - 1
    unit = "tovplay-journal-export.service"
    before = run("sh", "-c", "ls -i /var/log/tovplay/journald/journal.json")
    for part in range(4):
        run("sh", "-c", f"for n in $(seq {part * 25} {part * 25 + 24}); do logger --tag test {mark} $n; done")
        if part in (0, 2):
            run("systemctl", "kill", "--signal=KILL", unit)
        if part == 1:
            run("sh", "-c", "head -c 70000 /dev/zero | tr '\\0' x | fold -w 1000 | logger --tag filler")
            time.sleep(1)
            run("systemctl", "start", "tovplay-journal-rotate.service")
    found = wait_for(f'{{host="{HOST}", job="journald"}} |= "{mark}"', since, count=100, timeout=20)
    assert sorted({int(entry.line.split()[-1]) for entry in found}) == list(range(100))
    assert {entry.metadata["identifier"] for entry in found} == {"test"}
    assert run("sh", "-c", "ls -i /var/log/tovplay/journald/journal.json") != before, "was not renamed"


def test_an_outage_loses_nothing():
    result = outage.outage(HOST, SHIPPERS["otelcol"], "otelcol", FACTOR)
    assert result.written > 1000 and result.canary_sent > 50
    assert (result.lost, result.canary_lost) == (0, 0)


@pytest.fixture
def default_retry_limit():
    """The exporter's own default, five minutes, by the same factor as the outage."""
    good = run("cat", CONFIG)
    bad, count = re.subn(r"max_elapsed_time: 0s", f"max_elapsed_time: {300 / FACTOR:.0f}s", good)
    assert count == 1
    place(bad)
    yield
    place(good)


def place(config: str) -> None:
    run("sh", "-c", f"cat > {CONFIG}", data=config.encode())
    run("docker", "restart", "otelcol")


def test_default_retry_limits_turn_that_red(default_retry_limit):
    result = outage.outage(HOST, SHIPPERS["otelcol"], "otelcol", FACTOR)
    assert result.lost > 0
    assert result.canary_lost > 0


def test_all_is_quiet_again():
    """After everything above the shipper works on, and Loki never refused a line."""
    since = time.time()
    run("logger", "quiet again")
    assert wait_for(f'{{host="{HOST}", job="journald"}} |= "quiet again"', since)
    assert query(f'{{host="{HOST}", job="docker"}} |= "too far behind"', since - 300) == []
