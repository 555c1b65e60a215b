"""The demo, brought up once by the command that a user types, and ways to ask its hosts."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import requests
import testinfra
import yaml

ROOT = Path(__file__).resolve().parents[2]
CA = str(ROOT / "inventory/demo/pki/ca.crt")
LOGS = Path(os.environ.get("TOVPLAY_CACHE", Path.home() / ".cache/tovplay")) / "log"

# More clients than max_client_conn, from the host itself; they end with the process.
CROWD = """
import socket, struct
held = []
for n in range(1100):
    s = socket.create_connection(("127.0.0.1", 6432), timeout=5)
    body = b"user\\0raz@tovtech.org\\0database\\0TovPlay\\0\\0"
    s.sendall(struct.pack("!II", len(body) + 8, 196608) + body)
    held.append(s)
    if n > 990:
        answer = s.recv(400)
        if b"no more connections" in answer:
            print(answer.decode(errors="replace"))
            break
"""


@dataclasses.dataclass
class Run:
    """One command: exit code, everything it printed, wall-clock seconds."""

    code: int
    output: str
    seconds: float

    def recap(self) -> dict[str, dict[str, int]]:
        """Ansible's closing counters by host."""
        lines = re.findall(r"^(\S+) +: (ok=.*)$", self.output, flags=re.MULTILINE)
        return {host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", counters)} for host, counters in lines}


def run(*command: str, name: str = "", **environment: str) -> Run:
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if name:
        (LOGS / f"e2e-{name}.log").write_text(done.stdout, encoding="utf-8")
    return Run(done.returncode, done.stdout, time.monotonic() - started)


def site(*arguments: str, name: str = "site", **environment: str) -> Run:
    return run("ansible-playbook", "site.yml", *arguments, name=name, **environment)


@dataclasses.dataclass
class Demo:
    """The converged demo: its first run, its hosts, its secrets."""

    up: Run
    prod: testinfra.host.Host
    watch: testinfra.host.Host
    secrets: dict[str, str] = dataclasses.field(repr=False)  # pytest prints its fixtures

    @property
    def player_password(self) -> str:
        """Every made-up player's; group_vars/all/sample_app.yml derives it the same way."""
        return hashlib.sha256(f"players of {self.secrets['vault_sample_app_secret_key']}".encode()).hexdigest()[:24]

    def vault(self, query: str) -> str:
        """What the vault's PostgreSQL answers, a row a line."""
        return self.watch.check_output("cd / && runuser -u postgres -- psql -p 5433 -d vault -XAtc %s", query)

    def address(self, host: str) -> str:
        template = '{{(index .NetworkSettings.Networks "tovplay-demo").IPAddress}}'
        return subprocess.check_output(["docker", "inspect", "--format", template, host], text=True).strip()

    def caller(self) -> str:
        """Address from which this machine's requests reach the hosts."""
        template = "{{(index .IPAM.Config 0).Gateway}}"
        return subprocess.check_output(
            ["docker", "network", "inspect", "--format", template, "tovplay-demo"], text=True
        ).strip()

    def loki(self, query: str, *, minutes: float = 60, limit: int = 1000) -> list[dict]:
        """Entries of a log query through the gateway: [{labels…, line}], newest first; instant vectors likewise."""
        now = time.time()
        answer = requests.get(
            f"https://{self.address('tovplay-watch')}:3443/loki/api/v1/query_range",
            params={
                "query": query,
                "start": f"{now - minutes * 60:.0f}",
                "end": f"{now + 60:.0f}",
                "limit": str(limit),
            },
            auth=("loki-reader", self.secrets["vault_loki_reader_password"]),
            verify=CA,
            timeout=30,
        )
        answer.raise_for_status()
        streams = answer.json()["data"]["result"]
        return [
            {**(s.get("stream") or s["metric"]), "time": float(value[0]), "line": value[1]}
            for s in streams
            for value in s["values"]
        ]


@pytest.fixture(scope="session")
def demo() -> Demo:
    first = run("make", "up", name="up")
    assert first.code == 0, f"make up failed:\n{first.output[-6000:]}"
    secrets = yaml.safe_load((ROOT / "inventory/demo/group_vars/all/secrets.yml").read_text(encoding="utf-8"))
    prod, watch = (testinfra.get_host(f"docker://{name}") for name in ("tovplay-prod", "tovplay-watch"))
    return Demo(first, prod, watch, secrets)


@pytest.fixture(scope="session")
def log_in(demo):
    """`log_in(email)`: a session of that player, at the application's address; a path is enough to ask."""

    class Player(requests.Session):
        base = f"https://{demo.address('tovplay-prod')}"

        def request(self, method, url, **options):
            return super().request(method, self.base + url, **{"timeout": 30, "verify": CA, **options})

    def run(email: str) -> Player:
        player = Player()
        answer = player.post("/api/login", json={"email": email, "password": demo.player_password})
        answer.raise_for_status()
        player.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return player

    return run


@pytest.fixture(scope="session")
def administrator(log_in):
    return log_in("admin@example.com")


@pytest.fixture(scope="session")
def jaeger(demo):
    """`jaeger(trace)`: spans of the trace through the gateway, as a reader; none is an empty list."""

    def ask(trace: str) -> list[dict]:
        answer = requests.get(
            f"https://{demo.address('tovplay-watch')}:3445/api/traces/{trace}",
            auth=("jaeger-reader", demo.secrets["vault_jaeger_reader_password"]),
            verify=CA,
            timeout=30,
        )
        return answer.json()["data"][0]["spans"] if answer.status_code == 200 else []

    return ask


def until(ask, seconds: float = 20, missing: str = "nothing came"):
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)
    return found


@pytest.fixture(scope="session")
def app(demo):
    """A browser at the demo's application: `app(method, path, **options)`; log in with `app.login(email)`."""

    class Browser(requests.Session):
        base = f"https://{demo.address('tovplay-prod')}"
        password = demo.player_password

        def __call__(self, method, path, **options):
            return self.request(method, self.base + path, verify=CA, timeout=30, **options)

        def login(self, email, password=None):
            answer = self("POST", "/api/login", json={"email": email, "password": password or self.password})
            if answer.ok:
                self.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            return answer

    return Browser()


@pytest.fixture(scope="session")
def channel(demo):
    """The stand-in for Discord that the demo's messages go to."""
    from .channel import Channel  # which itself needs what is here

    return Channel(demo.address("tovplay-discord"))
