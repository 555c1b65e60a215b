"""Where a registry answers, upstream's names and tags are pulled from it, over TLS that is verified."""

from __future__ import annotations

import json

import pytest
import testinfra

testinfra_hosts = ["docker://tovplay-registry"]


@pytest.fixture(scope="module")
def upstream():
    return testinfra.get_host("docker://tovplay-registry-upstream")


def image_of(host, container):
    return json.loads(host.check_output(f"docker inspect {container}"))[0]


def test_upstreams_name_and_tag_run(host):
    assert image_of(host, "trial")["Config"]["Image"].startswith("otel/opentelemetry-collector-contrib:")
    assert image_of(host, "trial")["State"]["Running"] is True


def test_they_came_from_the_registry(host, upstream):
    log = upstream.check_output("journalctl --unit docker-registry --no-pager --output cat")
    assert "/v2/otel/opentelemetry-collector-contrib/manifests/" in log
    assert "/v2/tovplay/pgbouncer/manifests/" in log


def test_our_own_image_from_the_sites_registry(host):
    assert image_of(host, "trial-own")["Config"]["Image"].startswith(
        "tovplay-registry-upstream:5000/tovplay/pgbouncer:"
    )


def test_no_registry_is_trusted_blindly(host):
    registries = json.loads(host.check_output("docker info --format '{{json .RegistryConfig}}'"))
    insecure = [name for name, entry in registries["IndexConfigs"].items() if not entry["Secure"]]
    assert insecure == []


def restart_engine(host):
    """After any number of restarts before: systemd would refuse the fourth within ten seconds."""
    host.check_output("systemctl reset-failed docker.service docker.socket && systemctl restart docker")


def test_a_registry_of_an_unknown_authority_is_refused(host):
    host.check_output("mv /etc/docker/certs.d /etc/docker/certs.away")
    authorities = "/usr/local/share/ca-certificates/tovplay.crt"
    host.check_output(f"mv {authorities} /root/ && update-ca-certificates --fresh")
    restart_engine(host)
    try:
        done = host.run("docker pull tovplay-registry-upstream:5000/otel/opentelemetry-collector-contrib:0.160.0")
        assert done.rc != 0
        assert "certificate signed by unknown authority" in done.stderr
    finally:
        host.check_output("mv /etc/docker/certs.away /etc/docker/certs.d")
        host.check_output(f"mv /root/tovplay.crt {authorities} && update-ca-certificates")
        restart_engine(host)


def test_without_a_registry_auto_says_that_it_takes_archives(converge):
    done = converge(component_registry_probe="https://127.0.0.1:9/v2/")
    assert "(no registry answers)" in done.stdout
    assert "run images/build.py on the controller first" in " ".join(done.stdout.split())
