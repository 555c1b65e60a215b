"""The scenario's two versions, and hands on its host."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ansible.module_utils
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HOST = "tovplay-pgbouncer"
CLIENT = Path(__file__).with_name("client.py").read_text(encoding="utf-8")

# The core of module pgbouncer_userlist, as Ansible imports it.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

SECRETS = yaml.safe_load((ROOT / "molecule/shared/group_vars/all/secrets.yml").read_text(encoding="utf-8"))
APP = {"user": "raz@tovtech.org", "password": SECRETS["vault_postgresql_app_password"]}
MONITOR = {"user": "tovplay_monitor", "password": SECRETS["vault_postgresql_monitor_password"]}
VERSIONS = {"bookworm": "1.18.0", "trixie": "1.24.1"}
DEBIAN = {version: debian for debian, version in VERSIONS.items()}
# Long tests meet the version that the scenario converged; `make test-full PART=long_tests` runs them in each.
ASKED_AT_LENGTH = list(VERSIONS) if os.environ.get("TOVPLAY_FULL") else ["bookworm"]
in_each_version = pytest.mark.parametrize("version", ASKED_AT_LENGTH, indirect=True, scope="session")


# A container on Docker's bridge, as the application is one; the image at hand has no Python, so it gets the host's.
IN_CONTAINER = [
    "docker",
    "run",
    "--rm",
    "--interactive",
    "--network=bridge",
    "--user=0",
    "--entrypoint=/usr/bin/python3",
]
IN_CONTAINER += [f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64")]


def on_host(function: str, *, container_of: str | None = None, **arguments: object):
    """Call a function of client.py on the host, or in a container there."""
    where = [*IN_CONTAINER, f"tovplay/pgbouncer:{container_of}"] if container_of else ["python3"]
    command = ["docker", "exec", "--interactive", HOST, *where, "-c", CLIENT, function]
    done = subprocess.run(command, input=json.dumps(arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def meanwhile(function: str, action: Callable[[], object], **arguments: object) -> dict:
    """Run something while `held` or `load` is at work on the host, and hand back what that got."""
    answer: dict = {}
    remove = ["docker", "exec", HOST, "rm", "-f", "/root/stop"]
    subprocess.run(remove, check=True)
    client = threading.Thread(target=lambda: answer.update(on_host(function, **arguments)))
    client.start()
    time.sleep(1.5)
    try:
        action()
    finally:
        subprocess.run(["docker", "exec", HOST, "touch", "/root/stop"], check=True)
        client.join()
        subprocess.run(remove, check=True)
    return answer


def console(*statements: str) -> list[list[dict[str, str]]]:
    answer = on_host("console", statements=statements)
    assert "error" not in answer, answer
    return answer["rows"]


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="session", params=VERSIONS)
def version(request, converge) -> str:
    """Each version that Debian has, reached by a converge: the second is an upgrade."""
    if console("SHOW VERSION")[0][0]["version"] != f"PgBouncer {VERSIONS[request.param]}":
        succeed(converge(platform_pgbouncer_debian=request.param))
    return VERSIONS[request.param]
