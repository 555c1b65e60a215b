"""What the scenario's tests do to its host: write lines as daemons do, and ask Loki what became of them."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import yaml

HOST = "tovplay-loki-stack"
SHIPPERS = {"otelcol": HOST, "promtail": "promtail"}  # and their label `host`
GOLDEN = yaml.safe_load((Path(__file__).parent.parent / "files/golden.yml").read_text(encoding="utf-8"))
FILES = {
    "nginx_access": "/var/log/nginx/access.json.log",
    "nginx_error": "/var/log/nginx/error.log",
    "postgres": "/var/log/tovplay/postgresql/postgresql.json",
    "journald": "/var/log/tovplay/journald/journal.json",
    "packages": "/var/log/dpkg.log",
}
PLAIN = FILES["packages"]
LOKI = "http://127.0.0.1:3100"


@dataclass(frozen=True)
class Entry:
    """One line as Loki gives it back."""

    labels: dict[str, str]
    line: str
    time: float
    metadata: dict[str, str] = field(default_factory=dict)


def run(*command: str, data: bytes | None = None, check: bool = True) -> str:
    """A command on the scenario's host."""
    interactive = ["-i"] if data is not None else []
    done = subprocess.run(
        ["docker", "exec", *interactive, HOST, *command], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0 or not check, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def write(path: str, data: bytes) -> None:
    """Append bytes to a file of the host."""
    run("sh", "-c", 'mkdir -p "$(dirname "$0")" && cat >> "$0"', path, data=data)


def docker_line(container: str, text: str, stream: str = "stdout", moment: float | None = None) -> bytes:
    """A line of Docker's json-file driver."""
    at = time.time() if moment is None else moment
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z"
    entry = {"log": text, "stream": stream, "attrs": {"tag": container}, "time": stamp}
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def docker_path(container: str) -> str:
    return f"/var/lib/docker/containers/{container}/{container}-json.log"


def at(line: str, moment: float) -> str:
    """A golden line, written at this moment."""
    utc = time.gmtime(moment)
    stamps = {
        "NOW_ISO": time.strftime("%Y-%m-%dT%H:%M:%SZ", utc),
        "NOW_PG": time.strftime("%Y-%m-%d %H:%M:%S", utc) + f".{int(moment * 1000) % 1000:03d} UTC",
        "NOW_UNIX": f"{moment:.3f}",
        "NOW_MICRO": str(int(moment * 1_000_000)),
    }
    for word, stamp in stamps.items():
        line = line.replace(word, stamp)
    return line


# Runs on the host; the header makes Loki give labels and metadata apart.
ASK = """
import sys, urllib.request
header = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
request = urllib.request.Request(sys.argv[1], headers=header)
sys.stdout.write(urllib.request.urlopen(request, timeout=20).read().decode())
"""


def fetch(url: str) -> str:
    """What an HTTP server on the host's loopback says."""
    return run("python3", "-c", ASK, url)


def get(path: str, **parameters: object) -> dict:
    """An answer of Loki's HTTP API."""
    return json.loads(fetch(f"{LOKI}{path}?{urlencode(parameters)}"))


def query(logql: str, since: float, limit: int = 5000) -> list[Entry]:
    """Lines since a moment; lines with a time ahead of now are found, too."""
    window = {"start": int(since * 1e9), "end": int((time.time() + 900) * 1e9), "limit": limit}
    found = get("/loki/api/v1/query_range", query=logql, direction="forward", **window)["data"]["result"]
    return [
        Entry(stream["stream"], line, int(stamp) / 1e9, extra.get("structuredMetadata", {}))
        for stream in found
        for stamp, line, extra in stream["values"]
    ]


def wait_for(logql: str, since: float, count: int = 1, timeout: float = 15) -> list[Entry]:
    """Ask until there are that many lines, or the time is over."""
    end = time.monotonic() + timeout
    while True:
        entries = query(logql, since)
        if len(entries) >= count or time.monotonic() > end:
            return entries
        time.sleep(0.3)
