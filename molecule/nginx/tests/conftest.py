"""The host as its clients see it, and the lines that it logged about them."""

from __future__ import annotations

import json
import time

import pytest
from wire import NAME, request, send

LOGS = {
    443: "/var/log/nginx/access.json.log",
    80: "/var/log/nginx/access.json.log",
    3443: "/var/log/nginx/gateway.json.log",
}


@pytest.fixture(scope="session")
def address(host) -> str:
    """Of the scenario's host, as another machine reaches it."""
    return host.check_output("hostname -I").split()[0]


@pytest.fixture
def ask(address):
    """`ask("GET", "/path", {headers}, port=443)`: the answer."""

    def run(method, target, headers=(), body=b"", *, port=443, certificate=None):
        return send(address, port, request(method, target, headers, body), certificate=certificate, tls=port != 80)

    return run


@pytest.fixture
def logged(host, address):
    """`logged(bytes)`: send these bytes, and the line of JSON that nginx wrote about them: exactly one."""

    def run(raw: bytes, *, port: int = 443, certificate=None, tls: bool = True):
        path = LOGS[port]
        before = int(host.check_output(f"stat -c %s {path}"))
        answer = send(address, port, raw, certificate=certificate, tls=tls)
        for _ in range(40):
            new = host.run(f"tail -c +{before + 1} {path}").stdout_bytes
            if new.endswith(b"\n"):
                break
            time.sleep(0.05)
        lines = new.decode("utf-8").splitlines(keepends=True) if new else []
        assert new.count(b"\n") == 1, f"{new.count(bytes([10]))} lines for one request: {new!r}"
        assert lines[0].startswith("{"), new
        return answer, json.loads(new)

    return run


@pytest.fixture(scope="session")
def our_certificate(host, tmp_path_factory):
    """The host's own certificate, with which its shipper pushes."""
    directory = tmp_path_factory.mktemp("ours")
    for name in ("host.crt", "host.key"):
        (directory / name).write_text(host.check_output(f"cat /etc/tovplay/pki/{name}") + "\n")
    assert NAME in host.check_output("openssl x509 -noout -subject -in /etc/tovplay/pki/host.crt")
    return directory / "host.crt", directory / "host.key"
