"""One daemon runs with least rights; what its parser refuses never lands; a killed converge is finished by the next."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["docker://tovplay-component"]
CONFIG = "/etc/tovplay/trial/config.yaml"
MARKER = "/var/lib/tovplay/applied/trial"


def inspect(host):
    return json.loads(host.check_output("docker inspect trial"))[0]


def test_least_rights(host):
    settings = inspect(host)["HostConfig"]
    assert settings["CapDrop"] == ["ALL"]
    assert not settings["CapAdd"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["SecurityOpt"] == ["no-new-privileges:true"]
    assert settings["Memory"] == 128 * 1024 * 1024
    assert inspect(host)["Config"]["User"] == "10001:10001"


def test_logs_are_bounded_and_named(host):
    log = inspect(host)["HostConfig"]["LogConfig"]
    assert (log["Type"], log["Config"]["max-size"], log["Config"]["tag"]) == ("json-file", "20m", "{{.Name}}")


def test_no_secret_in_what_ansible_prints(converge):
    done = converge(trial_secret="another-secret-4712")
    assert done.returncode == 0, done.stdout
    assert "4712" not in done.stdout
    assert "4711" not in done.stdout


def test_what_the_parser_refuses_never_lands(host, converge):
    before = host.file(CONFIG).content_string, inspect(host)["State"]["StartedAt"]
    done = converge(trial_receiver="no_such_receiver")
    assert done.returncode != 0
    assert "no_such_receiver" in done.stdout
    assert "the old files are untouched" in " ".join(done.stdout.split())
    assert (host.file(CONFIG).content_string, inspect(host)["State"]["StartedAt"]) == before
    leftovers = host.check_output("ls -A /etc/tovplay/trial").split()
    assert leftovers == ["config.yaml"]


def test_a_converge_killed_before_its_handler_is_finished_by_the_next(host, converge):
    started = inspect(host)["State"]["StartedAt"]
    host.check_output(f"rm {MARKER}")  # the state that a kill between the file and the restart leaves behind
    done = converge()
    assert done.returncode == 0, done.stdout
    assert host.file(MARKER).exists
    assert inspect(host)["State"]["StartedAt"] != started
    assert "changed=0" in converge().stdout


@pytest.mark.parametrize("image", ["otel/collector:latest", "otel/collector"])
def test_an_image_without_a_pinned_tag_is_refused(refusal, image):
    refusal("has no pinned tag", trial_image=image)


def test_an_image_that_nobody_built_is_refused(refusal):
    refusal("run images/build.py on the controller first", trial_image="tovplay/never-built:1.0", image_source="local")
