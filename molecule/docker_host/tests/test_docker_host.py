"""The engine runs with our keys, keeps the host's, and survives a restart with its containers up."""

import json

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


def test_bad_daemon_json_is_refused_and_the_old_one_kept(host):
    """The role's own validator, on a file that Docker cannot use."""
    host.check_output("echo '{\"log-driverr\": 1}' > /tmp/bad.json")
    script = "/work/check-daemon-json"
    assert host.run(f"sh {script} /tmp/bad.json").rc != 0
