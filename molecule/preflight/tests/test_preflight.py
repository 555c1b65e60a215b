"""What cannot work is refused in a sentence; two converges never work on one host."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest

testinfra_hosts = ["docker://tovplay-preflight"]
LOCK = "/run/tovplay/converge.lock"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param(
            {"docker_host_packges": ["docker.io"]},
            "docker_host_packges is no input of role docker_host; did you mean docker_host_packages?",
            id="typo",
        ),
        pytest.param(
            {"vault_loki_reader_password": ""}, "vault_loki_reader_password: empty or still", id="empty-secret"
        ),
        pytest.param(
            {"vault_pgbouncer_auth_password": "CHANGE_ME"},
            "vault_pgbouncer_auth_password: empty or still a placeholder",
            id="placeholder",
        ),
        pytest.param(
            {
                "trial_listeners": [
                    {"name": "Loki", "address": "127.0.0.1", "port": 3100},
                    {"name": "the application", "address": "0.0.0.0", "port": 3100},  # noqa: S104
                ]
            },
            "Loki and the application both listen on port 3100; give one of them another port.",
            id="port-clash",
        ),
        pytest.param(
            {"trial_space": [{"path": "/var/lib/not/there/yet", "mb": 99999999, "for": "WAL"}]},
            "99999999 MB are needed (99999999 for WAL); make room",
            id="space",
        ),
    ],
)
def test_refusals(refusal, variables, sentence):
    refusal(sentence, **variables)


def test_no_lock_is_left_behind(host):
    assert not host.file(LOCK).exists


@pytest.fixture
def busy(host):
    """A converge at work, as another user would have started it; yields its process."""
    environment = {**os.environ, "ANSIBLE_CONFIG": os.environ["MOLECULE_EPHEMERAL_DIRECTORY"] + "/ansible.cfg"}
    playbook = os.environ["MOLECULE_SCENARIO_DIRECTORY"] + "/converge.yml"
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], playbook]
    process = subprocess.Popen(
        [*command, "--extra-vars", json.dumps({"trial_seconds": 60})],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not host.file(LOCK).exists and time.monotonic() < deadline:
        time.sleep(0.2)
    assert host.file(LOCK).exists
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_second_converge_is_refused_and_a_dead_ones_lock_taken_over(host, busy, converge):
    done = converge()
    assert done.returncode != 0
    assert re.search(rf"is locked by PID {busy.pid} of .* since 20\d\d-", " ".join(done.stdout.split())), done.stdout
    os.killpg(busy.pid, signal.SIGKILL)
    busy.wait()
    assert host.file(LOCK).exists, "killed, so it could not give the lock back"
    done = converge()
    assert done.returncode == 0, done.stdout
    assert not host.file(LOCK).exists


def test_check_mode_takes_no_lock(host, busy, converge):
    done = converge(check=True)
    assert done.returncode == 0, done.stdout
    assert json.loads(host.file(LOCK).content_string)["pid"] == busy.pid
