"""The engine runs with our keys, keeps the host's, and survives a restart with its containers up."""

import json

import pytest

testinfra_hosts = ["docker://tovplay-docker-host"]


def info(host, template):
    return json.loads(host.check_output("docker info --format %s", "{{json " + template + "}}"))


def test_engine_uses_json_file_and_live_restore(host):
    assert info(host, ".LoggingDriver") == "json-file"
    assert info(host, ".LiveRestoreEnabled") is True


def test_foreign_keys_survive_beside_ours(host):
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert daemon["default-shm-size"] == "96M"
    assert daemon["log-opts"]["max-file"] == "5"


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"log-driverr": "json-file"}, id="unknown-key"),
        pytest.param({"live-restore": "yes"}, id="wrong-type"),
    ],
)
def test_a_daemon_json_that_docker_refuses_never_lands(host, converge, extra):
    before = host.file("/etc/docker/daemon.json").content_string
    done = converge(docker_host_daemon_extra=extra)
    assert done.returncode != 0, done.stdout
    assert "the old files are untouched" in " ".join(done.stdout.split())
    assert host.file("/etc/docker/daemon.json").content_string == before
    assert host.run("docker info").rc == 0


def test_log_options_that_are_no_strings_are_refused(refusal):
    refusal("the values of log-opts must be strings", docker_host_daemon={"log-opts": {"max-file": 5}})


def test_a_broken_daemon_json_is_named_and_left_alone(host, converge):
    good = host.file("/etc/docker/daemon.json").content_string
    host.check_output("sh -c 'echo \\{broken > /etc/docker/daemon.json'")
    try:
        done = converge()
        assert done.returncode != 0
        assert "/etc/docker/daemon.json line 1 is not JSON" in " ".join(done.stdout.split())
    finally:
        host.check_output("sh -c %s", f"cat > /etc/docker/daemon.json <<'END'\n{good}END")
    assert "changed=0" in converge().stdout
