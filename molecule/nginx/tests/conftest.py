"""The host as its clients see it, and the lines that it logged about them."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time

import pytest
from wire import NAME, request, send

APPLICATION_LOG = "/var/log/nginx/access.json.log"
LOGS = {443: APPLICATION_LOG, 80: APPLICATION_LOG, 3443: "/var/log/nginx/gateway.json.log"}


class Follower:
    """The lines that arrive in one file of the host; rotation does not end it."""

    def __init__(self, path: str) -> None:
        command = ["docker", "exec", NAME, "tail", "--lines=0", "--follow=name", "--retry", "--sleep-interval=0.02"]
        self.process = subprocess.Popen([*command, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout], daemon=True).start()

    def waiting(self) -> list[bytes]:
        found = []
        while not self.lines.empty():
            found.append(self.lines.get())
        return found


@pytest.fixture(scope="module")
def address(host) -> str:
    """Of the scenario's host, as another machine reaches it."""
    return host.check_output("hostname -I").split()[0]


@pytest.fixture(scope="module")
def ask(address):
    """`ask("GET", "/path", {headers}, port=443)`: the answer."""

    def run(method, target, headers=(), body=b"", *, port=443, certificate=None):
        return send(address, port, request(method, target, headers, body), certificate=certificate, tls=port != 80)

    return run


@pytest.fixture(scope="module")
def followers(address, ask):
    made = {path: Follower(path) for path in set(LOGS.values())}
    for port, path in LOGS.items():  # tail takes a moment to begin
        while not made[path].waiting():
            ask("GET", "/begin", port=port)
            time.sleep(0.1)
    yield made
    for follower in made.values():
        follower.process.kill()
        follower.process.wait()


@pytest.fixture
def logged(followers, address):
    """`logged(bytes)`: send these bytes; the answer, and the line of JSON that nginx wrote about them: exactly one."""

    def run(raw: bytes, *, port: int = 443, certificate=None, tls: bool = True):
        follower = followers[LOGS[port]]
        answer = send(address, port, raw, certificate=certificate, tls=tls)
        found, deadline = [], time.monotonic() + 5
        while time.monotonic() < deadline:
            lines = [json.loads(line.decode("utf-8")) for line in follower.waiting()]
            found += [line for line in lines if line["client_port"] == answer.client_port]
            if found:
                deadline = min(deadline, time.monotonic() + 0.05)  # a second line would follow at once
            time.sleep(0.01)
        assert len(found) == 1, f"{len(found)} lines for one request: {found}"
        return answer, found[0]

    return run


@pytest.fixture(scope="module")
def our_certificate(host, tmp_path_factory):
    """The host's own certificate, with which its shipper pushes."""
    directory = tmp_path_factory.mktemp("ours")
    for name in ("host.crt", "host.key"):
        (directory / name).write_text(host.check_output(f"cat /etc/tovplay/pki/{name}") + "\n")
    return directory / "host.crt", directory / "host.key"
