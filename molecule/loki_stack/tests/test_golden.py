"""Lines of every source, through both shippers into one Loki: the same labels, the same metadata, the right time."""

from __future__ import annotations

import time
from collections import defaultdict

import pytest
from lines import FILES, GOLDEN, SHIPPERS, at, docker_line, docker_path, get, query, run, wait_for, write


@pytest.fixture(scope="module")
def landed():
    """Writes all golden lines once; gives what Loki has of each shipper, and the moment of writing."""
    moment = round(time.time() - 1, 3)
    since, files = moment - 0.01, defaultdict(bytes)
    for golden in GOLDEN:
        line = at(golden["line"], moment)
        if golden["source"] == "containers":
            container, stream = golden["container"], golden.get("stream", "stdout")
            files[docker_path(container)] += docker_line(container, line + "\n", stream, moment)
        else:
            files[FILES[golden["source"]]] += line.encode() + b"\n"
    for path, content in files.items():
        write(path, content)
    expected = {golden.get("body", at(golden["line"], moment)) for golden in GOLDEN}
    for label in SHIPPERS.values():
        wait_until_there(expected, label, since)
    time.sleep(1)  # for a second copy, which would be wrong
    return moment, {name: query(f'{{host="{label}"}}', since) for name, label in SHIPPERS.items()}


def wait_until_there(lines: set[str], label: str, since: float) -> None:
    """Up to 40 s: Promtail looks for new files every 10 s. What is missing then, the tests name one by one."""
    end = time.monotonic() + 40
    while lines - {entry.line for entry in query(f'{{host="{label}"}}', since)} and time.monotonic() < end:
        time.sleep(0.5)


@pytest.mark.parametrize("shipper", SHIPPERS)
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda one: one["id"])
def test_line_lands(golden, shipper, landed):
    moment, entries = landed
    body = golden.get("body", at(golden["line"], moment))
    found = [entry for entry in entries[shipper] if entry.line == body]
    assert len(found) == 1, f"{len(found)} records of one line"
    assert found[0].labels == {**golden["labels"], "host": SHIPPERS[shipper]}
    assert found[0].metadata == golden["metadata"]
    if "NOW_" in golden["line"] or golden["source"] == "containers":
        assert found[0].time == pytest.approx(moment, abs=0.0011)


def test_both_shippers_agree_on_everything_else_of_the_host(landed):
    """The host's own lines, which nobody wrote for a test: journal, packages, Docker."""
    since, _ = landed
    run("logger", "--tag", "sudo", "side by side")
    sides = []
    for label in SHIPPERS.values():
        found = wait_for(f'{{host="{label}", job="journald"}} |= "side by side"', since)
        sides.append([(entry.labels | {"host": ""}, entry.metadata, entry.line, entry.time) for entry in found])
    assert sides[0] == sides[1]
    assert sides[0][0][0] == {"job": "journald", "log_class": "audit", "host": ""}


def test_loki_knows_three_labels(landed):
    assert set(get("/loki/api/v1/labels")["data"]) == {"job", "host", "log_class"}


def test_a_line_is_found_within_two_seconds():
    """Written to queryable, by both shippers, four times."""
    slowest = 0.0
    for number in range(4):
        word, started = f"latency {number} {time.time()}", time.time()
        write(docker_path("other"), docker_line("other", word + "\n"))
        for label in SHIPPERS.values():
            assert wait_for(f'{{host="{label}", job="docker"}} |= "{word}"', started - 1, timeout=5)
        slowest = max(slowest, time.time() - started)
    assert slowest < 2, f"{slowest:.2f} s"
