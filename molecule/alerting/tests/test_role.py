"""The daemons as they run, reloads without a restart, what is refused, and where secrets are not."""

from __future__ import annotations

import json

import pytest
from patience import wait_for
from watch import ALERTMANAGER, PROMETHEUS, get, run

DAEMONS = ["alertmanager", "node-exporter", "prometheus"]
ADDRESSES = ["address-of-critical", "address-of-alerts"]


def started() -> dict[str, str]:
    return {name: json.loads(run("docker", "inspect", name))[0]["State"]["StartedAt"] for name in [*DAEMONS, "loki"]}


def test_they_listen_on_loopback_only():
    sockets = run("ss", "--tcp", "--listening", "--numeric", "--no-header").splitlines()
    ours = [line.split()[3] for line in sockets if line.split()[3].endswith((":9090", ":9093", ":9097", ":9100"))]
    assert len(ours) == 4 and all(address.startswith("127.0.0.1:") for address in ours), ours


def test_they_have_the_least_rights():
    for name in DAEMONS:
        found = json.loads(run("docker", "inspect", name))[0]
        host = found["HostConfig"]
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and host["ReadonlyRootfs"] and host["Memory"] > 0
        assert found["Config"]["User"] == "65534:65534"


def test_every_target_answers():
    targets = wait_for(lambda: get(f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"], 20)
    states = {target["labels"]["job"]: target["health"] for target in targets}
    assert (states.pop("otelcol"), states.pop("jaeger")) == ("down", "down")  # this host has neither
    assert set(states.values()) == {"up"}, states


def test_routes_lead_where_they_should():
    def receiver(**labels: str) -> str:
        pairs = [f"{name}={value}" for name, value in labels.items()]
        image = json.loads(run("docker", "inspect", "alertmanager"))[0]["Config"]["Image"]
        tool = ["docker", "run", "--rm", "--network=none", "--entrypoint=/bin/amtool"]
        tool += ["--volume=/etc/tovplay/alertmanager:/etc/alertmanager:ro", image, "config", "routes", "test"]
        return run(*tool, "--config.file=/etc/alertmanager/alertmanager.yml", *pairs).strip()

    assert receiver(severity="none", alertname="Watchdog") == "deadman"
    assert receiver(severity="critical", event="wipe") == "second,critical"
    assert receiver(severity="critical") == "second,critical"
    assert receiver(severity="warning") == "alerts"
    assert receiver(severity="info") == "alerts"


def test_a_change_is_reloaded_without_a_restart(converge):
    before = started()
    changed = {"delivery_seconds": 10, "disk_free_percent": 16}
    try:
        done = converge(playbook="role.yml", alerting_thresholds_own=changed, alerting_repeat_interval="3h")
        assert done.returncode == 0, done.stdout[-3000:]
        assert "< 16" in json.dumps(get(f"{PROMETHEUS}/api/v1/rules"))
        assert "repeat_interval: 3h" in get(f"{ALERTMANAGER}/api/v2/status")["config"]["original"]
        assert started() == before
        assert not [word for word in ADDRESSES if word in done.stdout]
    finally:
        assert converge(playbook="role.yml").returncode == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"alerting_audit_interval": "soon"},
        pytest.param({"alerting_thresholds_own": {"disk_free_percent": "no number"}}, marks=pytest.mark.long),
    ],
    ids=["Loki", "Prometheus"],
)
def test_a_rule_that_its_daemon_refuses_does_not_land(converge, bad):
    rules = "cat /etc/tovplay/loki/rules/fake/audit.yml /etc/tovplay/prometheus/rules/hosts.yml"
    before = run("sh", "-c", rules)
    done = converge(playbook="role.yml", **bad)
    assert done.returncode != 0
    assert run("sh", "-c", rules) == before


@pytest.mark.parametrize(
    ("sentence", "variables"),
    [
        ("alerting_exporters knows node, postgres and pgbouncer", {"alerting_exporters": ["node", "mysql"]}),
        ("they and alerting_deadman_url are https:// or on this", {"alerting_deadman_url": "http://other/beat"}),
        ("has disk_percent, which no rule reads", {"alerting_thresholds_own": {"disk_percent": 1}}),
    ],
    ids=["exporters", "plain HTTP", "threshold"],
)
def test_refusals(refusal, sentence, variables):
    refusal(sentence, playbook="role.yml", **variables)


def test_the_addresses_are_nowhere_to_be_seen():
    seen = run(
        "sh",
        "-c",
        "ps -eo args; journalctl --no-pager; docker ps -q | xargs docker inspect; ls -lR /etc/tovplay/notifier",
    )
    assert not [word for word in ADDRESSES if word in seen]
    rights = run("stat", "-c", "%a %U %G", "/etc/tovplay/notifier/channels.json")
    assert rights.split() == ["640", "root", "tovplay-notifier"]
