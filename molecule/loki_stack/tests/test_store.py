"""What the running Loki says of itself, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from lines import HOST, LOKI, fetch, get, run, wait_for, write

CACHE = Path(os.environ.get("TOVPLAY_CACHE", Path.home() / ".cache/tovplay"))
REQUEST = """
import sys, urllib.error, urllib.request
method, url, body = sys.argv[1:]
request = urllib.request.Request(url, method=method, data=body.encode() or None)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(fetch(f"{LOKI}/config"))


def test_it_listens_on_loopback_only():
    sockets = run("ss", "--tcp", "--listening", "--numeric", "--no-header")
    ours = [line.split()[3] for line in sockets.splitlines() if line.split()[3].endswith((":3100", ":9096", ":9080"))]
    assert len(ours) == 3
    assert all(address.startswith("127.0.0.1:") for address in ours)


def test_its_own_containers_have_the_least_rights():
    for name in ("loki", "otelcol", "promtail"):
        found = json.loads(run("docker", "inspect", name))[0]["HostConfig"]
        assert found["CapDrop"] == ["ALL"] and not found["CapAdd"] and found["ReadonlyRootfs"]
        assert found["Memory"] > 0
        writable = [bind for bind in found["Binds"] if not bind.endswith(":ro")]
        assert all(bind.startswith("/var/lib/tovplay/") for bind in writable)


def test_the_collector_is_killed_and_not_asked_to_end():
    """Asked to end while its queue is full, it loses what it has just read."""
    assert json.loads(run("docker", "inspect", "otelcol"))[0]["Config"]["StopSignal"] == "SIGKILL"


@pytest.mark.parametrize(
    ("log_class", "period"),
    [("audit", "90d"), ("database", "90d"), ("platform", "30d"), ("container", "30d"), ("debug", "1w")],
)
def test_retention_by_class(config, log_class, period):
    streams = {one["selector"]: one["period"] for one in config["limits_config"]["retention_stream"]}
    assert streams[f'{{log_class="{log_class}"}}'] == period
    assert config["limits_config"]["retention_period"] == "90d"
    assert config["compactor"]["retention_enabled"] is True


def test_nothing_can_be_deleted():
    said = run("python3", "-c", REQUEST, "POST", f'{LOKI}/loki/api/v1/delete?query={{job="file"}}&start=0', "")
    assert not said.startswith("2"), said


def test_rules_on_disk_are_evaluated():
    rule = {
        "groups": [{"name": "g", "rules": [{"alert": "Probe", "expr": 'sum(count_over_time({job="file"}[1m])) > 0'}]}]
    }
    write("/etc/tovplay/loki/rules/fake/probe.yaml", yaml.safe_dump(rule).encode())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and "Probe" not in json.dumps(get("/prometheus/api/v1/rules")):
        time.sleep(1)
    assert "Probe" in json.dumps(get("/prometheus/api/v1/rules"))
    run("rm", "/etc/tovplay/loki/rules/fake/probe.yaml")


def test_logcli_finds_what_was_written():
    subprocess.run(["docker", "cp", str(CACHE / "bin/logcli"), f"{HOST}:/usr/local/bin/logcli"], check=True)
    since, word = time.time(), f"for logcli {time.time()}"
    run("logger", "--tag", "sudo", word)
    assert wait_for(f'{{job="journald", host="{HOST}"}} |= "{word}"', since)
    command = ["logcli", "--addr", LOKI, "query", "--quiet", "--output=raw", "--since=5m"]
    query = f'{{job="journald", host="{HOST}"}} | identifier="sudo" |= "{word}"'
    assert run(*command, query).strip() == word
