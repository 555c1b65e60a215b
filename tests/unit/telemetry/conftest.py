"""The package as it is mounted beside an application, a real PostgreSQL and PgBouncer, a real OTLP receiver."""

from __future__ import annotations

import http.server
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, settings

from tests.conftest import ROOT

PACKAGE = ROOT / "python" / "tovplay_telemetry"
HERE = Path(__file__).parent
KEY = b"correct horse battery staple"
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # other tests may have this machine's cores


@pytest.fixture(scope="session")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands in PYTHONPATH: our packages; those that they need are this interpreter's own."""
    folder = tmp_path_factory.mktemp("mounted")
    (folder / "sitecustomize").symlink_to(PACKAGE / "autoload")
    (folder / "tovplay_telemetry").symlink_to(PACKAGE / "src" / "tovplay_telemetry")
    return folder


@pytest.fixture(scope="session")
def environment(mounted: Path) -> dict[str, str]:
    """What role app_telemetry sets."""
    key = mounted / "key"
    key.write_bytes(KEY + b"\nan older one\n")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(mounted),
        "TOVPLAY_AUDIT_CONTEXT_KEY_FILE": str(key),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Receiver:
    """What Jaeger's OTLP port takes: JSON over HTTP; it keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                for group in body["resourceSpans"]:
                    receiver.resources.append(flat(group["resource"]))
                    for scope in group["scopeSpans"]:
                        receiver.spans += [{**span, "attributes": flat(span)} for span in scope["spans"]]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, wanted: Callable[[list[dict[str, Any]]], Any], seconds: float = 15) -> list[dict[str, Any]]:
        end = time.monotonic() + seconds
        while not wanted(self.spans) and time.monotonic() < end:
            time.sleep(0.05)
        return self.spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def flat(holder: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in holder["attributes"]}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(scope="session")
def run(environment: dict[str, str]) -> Callable[..., list[dict[str, Any]]]:
    """Run a script with telemetry active; its standard output's lines, each of them JSON."""

    def running(script: str, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, *(["-c", script] if "\n" in script else [HERE / script]), *arguments],
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return running


class Served:
    """A running gunicorn: its address, and what it has written."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line that it has written, which must be JSON."""
        written = self._log.read_text(encoding="ascii")
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]

    def wait_for(self, wanted: Callable[[dict[str, Any]], Any], number: int = 1) -> list[dict[str, Any]]:
        end = time.monotonic() + 15
        while True:
            found = [line for line in self.lines() if wanted(line)]
            if len(found) >= number or time.monotonic() > end:
                return found
            time.sleep(0.05)


@pytest.fixture(scope="session")
def serve(environment: dict[str, str]) -> Callable[..., Any]:
    """Serve an application with gunicorn, as its image does: `with serve("module:app") as served`."""

    @contextmanager
    def serving(
        app: str, folder: Path = HERE, workers: int = 2, threads: int = 4, **variables: str
    ) -> Iterator[Served]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = Path(tempfile.mkstemp(prefix="telemetry-")[1])
        command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", app]
        command += [
            "--workers",
            str(workers),
            "--threads",
            str(threads),
            "--no-control-socket",
            "--log-level",
            "warning",
        ]
        # Through a pipe, as an engine reads a container.
        process = subprocess.Popen(
            command, cwd=folder, env=environment | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with log.open("wb") as kept:
            pump = threading.Thread(target=_pump, args=(process.stdout, kept), daemon=True)
            pump.start()
            try:
                served = Served(f"http://127.0.0.1:{port}", log)
                _wait_until_open(port, process)
                yield served
            finally:
                process.terminate()
                process.wait(20)
                pump.join(20)
                log.unlink()

    return serving


def _pump(source: Any, target: Any) -> None:
    for line in source:
        target.write(line)
        target.flush()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            requests.get(f"http://127.0.0.1:{port}/ready", timeout=30)
            return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.1)
    raise AssertionError(f"the application did not start (exit code {process.poll()})")


class Cluster:
    """A PostgreSQL server on a socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dsn = f"host={folder} user=postgres dbname=TovPlay"

    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()


def _owner() -> pwd.struct_passwd:
    """PostgreSQL and PgBouncer refuse to run as root."""
    return pwd.getpwnam("nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        # make check installs no server; scenario app_telemetry shows the way to the row, not each of these cases.
        pytest.skip("no PostgreSQL server is installed here: apt-get install postgresql-15")
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="telemetry-"))
    os.chown(folder, owner.pw_uid, owner.pw_gid)

    def as_owner(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs[-1].parent / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            user=owner.pw_uid,
            group=owner.pw_gid,
        )

    as_owner("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8")
    settings = (
        f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        " -c log_statement=all -c log_line_prefix='%a|'"
    )
    as_owner("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", settings, "start")
    try:
        as_owner("createdb", "-h", str(folder), "-U", "postgres", "TovPlay")
        as_owner("psql", "-q", "-h", str(folder), "-U", "postgres", "-d", "TovPlay", "-f", str(HERE / "witness.sql"))
        yield Cluster(folder)
    finally:
        as_owner("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pooler(cluster: Cluster) -> Iterator[str]:
    """A DSN through PgBouncer: transaction pooling on a single server connection, so that any leak shows."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if program is None:
        # Nor a pooler: the demo has one between the application and its database (tests/e2e/test_telemetry.py).
        pytest.skip("no PgBouncer is installed here: apt-get install pgbouncer")
    owner = _owner()
    (cluster.folder / "users").write_text('"postgres" ""\n')
    (cluster.folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={cluster.folder} user=postgres\n[pgbouncer]\nlisten_port = 6432\n"
        f"unix_socket_dir = {cluster.folder}\nauth_type = any\nauth_file = {cluster.folder}/users\n"
        "pool_mode = transaction\ndefault_pool_size = 1\nmax_client_conn = 200\n"
    )
    with (cluster.folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(cluster.folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            user=owner.pw_uid,
            group=owner.pw_gid,
        )
    end = time.monotonic() + 10
    while not (cluster.folder / ".s.PGSQL.6432").exists() and time.monotonic() < end:
        time.sleep(0.05)
    yield f"host={cluster.folder} port=6432 user=postgres dbname=TovPlay"
    process.terminate()
    process.wait(10)
