"""All groups on one host: everything runs, and the bare host's check mode promised what the converge then did."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

testinfra_hosts = ["docker://tovplay-single"]

# Written by handlers after a daemon took its files: bookkeeping of the converge itself, not configuration.
MARKERS = "/var/lib/tovplay/applied/"
# Comes with nginx's package during the same converge and is removed again: a bare host cannot know of it.
BROUGHT_BY_PACKAGES = {"/etc/nginx/sites-enabled/default"}


@pytest.fixture(scope="module")
def records():
    """Changed tasks of the check run on the bare host, and of the converge that followed."""
    rows = [
        json.loads(line)
        for line in (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "changes.jsonl").read_text().splitlines()
    ]
    return [r for r in rows if r["check"]], [r for r in rows if not r["check"]]


def files(rows) -> set[str]:
    paths = {path for row in rows for path in row["paths"] if not path.startswith((MARKERS, str(Path.home())))}
    return paths - BROUGHT_BY_PACKAGES


def packages(rows) -> set[str]:
    """By name: what one role installs in a converge, the next no longer has to, but check mode names it for both."""
    return {name for row in rows for name in row["packages"]}


def test_check_mode_on_the_bare_host_named_the_files_that_changed(records):
    promised, done = (files(rows) for rows in records)
    assert done - promised == set(), "changed, but check mode did not say so"
    # A directory that check mode names may come to be with a package, or with a file below it.
    too_much = {path for path in promised - done if not any(other.startswith(f"{path}/") for other in done)}
    assert too_much == set(), "check mode promised it, but it did not change"


def test_check_mode_on_the_bare_host_named_the_packages(records):
    promised, done = (packages(rows) for rows in records)
    assert promised == done
    assert done


def test_check_mode_on_the_bare_host_named_the_units(records):
    """It cannot ask systemd about a unit that is not there yet; whoever cannot ask says so."""
    promised, done = records
    said = " ".join(row["said"] for row in promised)
    started = {unit for row in done for unit in row["units"]}
    assert len(started) > 5
    assert {unit for unit in started if unit not in said} == set()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("curl --silent --fail http://127.0.0.1:3100/ready", "ready"),
        ("curl --silent --fail --insecure https://127.0.0.1/healthz", "ok"),
        ("curl --silent --fail http://127.0.0.1:13133/", ""),
    ],
)
def test_daemons_answer(host, question, answer):
    assert answer in host.check_output(question)
