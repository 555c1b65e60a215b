"""A real Loki on loopback, with the golden log in it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from tests.golden.reader import Entry, entries

Logcli = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
auth_enabled: false
analytics: {{reporting_enabled: false}}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc}
  log_level: warn
common:
  instance_addr: 127.0.0.1
  path_prefix: {folder}
  replication_factor: 1
  ring: {{kvstore: {{store: inmemory}}}}
  storage: {{filesystem: {{chunks_directory: {folder}/chunks, rules_directory: {folder}/rules}}}}
schema_config:
  configs:
    - {{from: "2025-01-01", store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}
ingester: {{lifecycler: {{min_ready_duration: 0s, join_after: 0s, final_sleep: 0s}}}}   # takes lines at once
frontend_worker: {{frontend_address: "127.0.0.1:{grpc}"}}   # a scheduler takes ten seconds to be found
limits_config: {{reject_old_samples: false}}
"""


@pytest.fixture(scope="session")
def golden() -> list[Entry]:
    return entries()


@pytest.fixture(scope="session")
def loki(golden: list[Entry], binary: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("loki")
    http, grpc = _free_port(), _free_port()
    (folder / "loki.yml").write_text(CONFIG.format(folder=folder, http=http, grpc=grpc), encoding="utf-8")
    program = binary("loki")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, f"-config.file={folder}/loki.yml"], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{http}"
            _fill(address, golden)
            yield address
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(folder / 'log').read_text()[-2000:]}") from error
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def logcli(loki: str, binary: Callable[[str], str]) -> Logcli:
    """Runs logcli against the golden Loki."""
    start = [binary("logcli"), f"--addr={loki}", "--quiet", "--timezone=UTC"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=20)

    return run


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _fill(address: str, golden: list[Entry]) -> None:
    """Push, and flush: memory is asked for the last hours only, and the golden day is long past."""
    streams = defaultdict(list)
    for entry in sorted(golden, key=lambda entry: entry.at):
        streams[tuple(entry.labels.items())].append([entry.nanoseconds, entry.line, dict(entry.metadata)])
    body = {"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]}
    _until("it takes no push", lambda: _ask(f"{address}/loki/api/v1/push", json.dumps(body)) is not None)
    _ask(f"{address}/flush", "")
    count = urllib.parse.urlencode({"query": 'sum(count_over_time({job=~".+"}[3d]))', "time": "2026-01-17T00:00:00Z"})

    def all_there() -> bool:
        found = json.loads(_ask(f"{address}/loki/api/v1/query?{count}") or '{"data": {"result": []}}')["data"]["result"]
        return bool(found) and int(found[0]["value"][1]) == len(golden)

    _until("it does not find what was pushed", all_there)


def _ask(url: str, body: str | None = None) -> str | None:
    """The answer, or None while Loki is not ready."""
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.read().decode()
    except OSError:
        return None


def _until(complaint: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, f"Loki: {complaint}"
        time.sleep(0.1)
