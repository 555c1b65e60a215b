#!/usr/bin/env python3
"""Lose a store and a shipper, and count what is missing afterwards.

    outage.py HOST [--factor 60] [--label NAME]

On a host with Loki and a shipper (scenario loki_stack): loki-canary and a writer of numbered lines run while Loki is
killed, the shipper is killed, and Loki is down for ten minutes divided by the factor. Exit code 1 when a line is
missing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

OUTAGE = 600.0  # seconds, before the factor: more than any default retry limit of the three shippers
CANARY = "loki-canary"
IMAGE = "grafana/loki-canary"

WRITER = """
import sys, time
mark, seconds = sys.argv[1], float(sys.argv[2])
end, number = time.time() + seconds, 0
while time.time() < end:
    with open("/var/log/dpkg.log", "a") as file:
        file.write("".join(f"{mark} {number + one:08d}\\n" for one in range(20)))
    number += 20
    time.sleep(0.1)
print(number)
"""
# Counts which numbers Loki has, a part at a time: a part has fewer lines than Loki gives at once.
COUNTER = """
import json, sys, urllib.parse, urllib.request
mark, label, total, since = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
found, records = set(), 0
for part in range(0, total, 1000):
    logql = '{host="%s",job="file"} |= `%s %05d`' % (label, mark, part // 1000)
    window = {"query": logql, "limit": 5000, "start": int(since * 1e9)}
    url = "http://127.0.0.1:3100/loki/api/v1/query_range?" + urllib.parse.urlencode(window)
    for stream in json.load(urllib.request.urlopen(url))["data"]["result"]:
        numbers = [int(line.split()[-1]) for _, line in stream["values"]]
        found.update(numbers)
        records += len(numbers)
print(json.dumps({"lost": total - len(found), "repeated": records - len(found)}))
"""


@dataclass(frozen=True)
class Result:
    """What the outage cost."""

    written: int
    lost: int
    repeated: int
    canary_sent: int
    canary_lost: int


def on(host: str, *command: str) -> str:
    done = subprocess.run(["docker", "exec", host, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:80]}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def kill(host: str, container: str) -> None:
    """As the kernel does it; `docker kill` would tell the engine not to start it again."""
    for _ in range(50):  # the engine waits a while before it starts again what was killed a moment ago
        pid = on(host, "docker", "inspect", "--format={{.State.Pid}}", container)
        if pid != "0" and on(host, "sh", "-c", f"kill -KILL {pid} && echo killed || echo gone") == "killed":
            return
        time.sleep(0.2)
    raise RuntimeError(f"{container} does not run")


def start_canary(host: str, label: str, wait: float) -> None:
    image = on(host, "docker", "images", "--format={{.Repository}}:{{.Tag}}", IMAGE).splitlines()[0]
    arguments = ["-addr=127.0.0.1:3100", "-labelname=host", f"-labelvalue={label}", "-interval=200ms"]
    arguments += [
        "-streamname=job",
        "-streamvalue=loki-canary",
        "-wait=2s",
        f"-max-wait={wait:.0f}s",
        "-pruneinterval=2s",
        "-query-timeout=20s",
    ]
    on(host, "docker", "run", "--detach", f"--name={CANARY}", "--network=host", image, *arguments)


def canary_counters(host: str) -> dict[str, int]:
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3500/metrics').read().decode())"
    metrics = on(host, "python3", "-c", script)
    return {name: int(float(value)) for name, value in re.findall(r"^loki_canary_(\w+_total) (\S+)$", metrics, re.M)}


def outage(host: str, label: str, shipper: str, factor: float) -> Result:
    """Run the whole sequence; the canary and the writer go on through all of it."""
    down = OUTAGE / factor
    seconds, since, mark = down + 9, time.time() - 1, f"outage-{int(time.time())}"
    written: list[int] = []
    writer = threading.Thread(target=lambda: written.append(int(on(host, "python3", "-c", WRITER, mark, str(seconds)))))
    # After which the canary calls an entry missing: Loki has to start, and the shipper's next attempt to come.
    patience = down + 12 + 60 / factor
    start_canary(host, label, patience)
    try:
        writer.start()
        time.sleep(2)
        kill(host, "loki")
        time.sleep(2)
        kill(host, shipper)
        time.sleep(2)
        on(host, "docker", "stop", "--time=5", "loki")
        stopped = time.monotonic()
        time.sleep(down / 2)
        kill(host, shipper)  # in the middle: what waits is on disk, or it is gone
        time.sleep(down / 2)
        on(host, "docker", "start", "loki")
        writer.join()
        wait_until_ready(host)
        counted = settled(host, label, mark, written[0], since)
        time.sleep(max(0.0, stopped + down + patience + 2 - time.monotonic()))
        canary = canary_counters(host)
        for _ in range(40):  # it judges only at its next query that Loki answers
            if bool(canary["missing_entries_total"]) == bool(counted["lost"]):
                break
            time.sleep(1)
            canary = canary_counters(host)
        if canary["missing_entries_total"]:
            sys.stderr.write(on(host, "sh", "-c", f"docker logs {CANARY} 2>&1 >/dev/null | tail -n 20") + "\n")
    finally:
        on(host, "docker", "rm", "--force", CANARY)
    return Result(
        written[0], counted["lost"], counted["repeated"], canary["entries_total"], canary["missing_entries_total"]
    )


def wait_until_ready(host: str) -> None:
    script = "import urllib.request as u; u.urlopen('http://127.0.0.1:3100/ready', timeout=2)"
    for _ in range(60):
        try:
            on(host, "python3", "-c", script)
        except RuntimeError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("Loki does not come back")


def settled(host: str, label: str, mark: str, total: int, since: float) -> dict:
    """Count until nothing is missing, or nothing more has come for ten seconds."""
    best, deadline = total + 1, time.monotonic() + 10
    while True:
        counted = json.loads(on(host, "python3", "-c", COUNTER, mark, label, str(total), str(since)))
        if counted["lost"] < best:
            best, deadline = counted["lost"], time.monotonic() + 10
        if counted["lost"] == 0 or time.monotonic() > deadline:
            return counted
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--shipper", default="otelcol")
    parser.add_argument("--label", help="value of the label host; default: HOST")
    given = parser.parse_args()
    result = outage(given.host, given.label or given.host, given.shipper, given.factor)
    sys.stdout.write(f"{result}\n")
    return 1 if result.lost or result.canary_lost else 0


if __name__ == "__main__":
    sys.exit(main())
