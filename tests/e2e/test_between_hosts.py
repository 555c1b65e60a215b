"""Between hosts everything is TLS plus authentication; on a host, daemons listen on loopback and the bridge only."""

from __future__ import annotations

import re

import pytest
import yaml

from .conftest import ROOT

CA = "--cacert /etc/tovplay/pki/ca.crt"
CERTIFICATE = "--cert /etc/tovplay/pki/host.crt --key /etc/tovplay/pki/host.key"
GATEWAY = "https://tovplay-watch:3443"
TRACES = "https://tovplay-watch:3445"
FIGURES = "https://tovplay-{}:3446/metrics/node"
SPANS = "-X POST -H 'Content-Type: application/json' -d '{\"resourceSpans\": []}'"
PUSH = "-X POST -H 'Content-Type: application/json' -d '{\"streams\": []}'"


def status(host, arguments: str) -> str:
    done = host.run(f"curl --silent --output /dev/null --max-time 10 --write-out '%{{http_code}}' {arguments}")
    return done.stdout.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(f"{CA} {PUSH} {GATEWAY}/loki/api/v1/push", id="push"),
        pytest.param(f"{CA} {PUSH} {GATEWAY}/otlp/v1/logs", id="otlp-push"),
        pytest.param(f"{CA} {GATEWAY}/loki/api/v1/labels", id="labels"),
        pytest.param(
            f"{CA} --get --data-urlencode 'query={{job=\"nginx\"}}' {GATEWAY}/loki/api/v1/query_range", id="query"
        ),
        pytest.param(f"{CA} {CERTIFICATE} {GATEWAY}/loki/api/v1/labels", id="query-with-certificate-only"),
        pytest.param(f"{CA} -X POST {GATEWAY}/loki/api/v1/delete", id="delete"),
        pytest.param(f"{CA} {CERTIFICATE} -X POST {GATEWAY}/loki/api/v1/delete", id="delete-with-certificate"),
        pytest.param(f"{CA} {CERTIFICATE} -X POST {GATEWAY}/loki/api/v1/rules/x", id="rules-with-certificate"),
        pytest.param(f"{CA} {CERTIFICATE} -X POST {GATEWAY}/flush", id="flush-with-certificate"),
        pytest.param(f"{CA} {GATEWAY}/config", id="config"),
        pytest.param(f"{CA} {GATEWAY}/metrics", id="metrics"),
        pytest.param(f"{CA} {SPANS} {TRACES}/v1/traces", id="spans"),
        pytest.param(f"{CA} {TRACES}/api/services", id="traces"),
        pytest.param(f"{CA} {CERTIFICATE} {TRACES}/api/services", id="traces-with-certificate-only"),
        pytest.param(f"{CA} {CERTIFICATE} -X DELETE {TRACES}/api/traces/1", id="delete-a-trace-with-certificate"),
    ],
)
def test_the_other_host_is_refused(demo, arguments):
    assert status(demo.prod, arguments) in {"400", "401", "403", "404", "405"}


def test_the_other_host_may_push_with_its_certificate(demo):
    assert status(demo.prod, f"{CA} {CERTIFICATE} {PUSH} {GATEWAY}/loki/api/v1/push") in {"204", "200", "422"}


def test_the_other_host_may_push_spans_with_its_certificate(demo):
    assert status(demo.prod, f"{CA} {CERTIFICATE} {SPANS} {TRACES}/v1/traces") == "200"


def test_figures_are_for_the_watch_host_alone(demo):
    assert status(demo.watch, f"{CA} {CERTIFICATE} {FIGURES.format('prod')}") == "200"
    assert status(demo.watch, f"{CA} {FIGURES.format('prod')}") in {"400", "403"}
    assert status(demo.prod, f"{CA} {CERTIFICATE} {FIGURES.format('watch')}") == "403"
    assert status(demo.watch, f"{CA} {CERTIFICATE} https://tovplay-prod:3446/metrics/other") == "403"


def test_plain_http_gets_nothing(demo):
    assert status(demo.prod, "http://tovplay-watch:16686/api/services") == "000"
    assert status(demo.prod, "http://tovplay-watch:3443/loki/api/v1/labels") in {"400", "000"}
    assert status(demo.prod, "http://tovplay-watch:3100/loki/api/v1/labels") == "000"


def listeners(host) -> set[tuple[str, int]]:
    """What listens, without containerd's own loopback port (it takes a random one for an interface nobody uses)."""
    found = set()
    for line in host.check_output("ss -Hltnp").splitlines():
        if '"containerd"' in line and line.split()[3].startswith("127.0.0.1:"):
            continue
        address, port = re.match(r"(.*):(\d+)$", line.split()[3]).groups()
        found.add((address.strip("[]").replace("*", "0.0.0.0"), int(port)))  # noqa: S104
    return found


@pytest.mark.parametrize("name", ["prod", "watch"])
def test_nothing_listens_that_the_port_table_does_not_name(demo, name):
    groups = {"prod": {"all", "databases", "app"}, "watch": {"all", "watch", "audit_vault", "search"}}[name]
    network = yaml.safe_load((ROOT / "group_vars/all/network.yml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(network["platform_listeners"])
    for key in (
        "platform_bridge_address",
        "platform_gateway_port",
        "platform_trace_gateway_port",
        "platform_trace_port",
        "platform_host_gateway_port",
        "platform_ingest_port",
    ):
        text = text.replace("'{{ " + key + " }}'", str(network[key]))
    # What is off unless the inventory asks for it is off in the demo, and then it may not listen either.
    rows = [row for row in yaml.safe_load(text) if groups & set(row["groups"]) and "needs" not in row]
    own = demo.address(f"tovplay-{name}")  # what the table calls `host`
    named = {(row["address"].replace("host", own), int(row["port"])) for row in rows}
    listening = listeners(getattr(demo, name))
    loopback_only = {(a, p) for a, p in listening if a.startswith("127.0.0.11") or a == "::1"}  # Docker's resolver
    assert listening - loopback_only - named == set(), "not in the table"
    assert named - listening == set(), "in the table, but nothing listens"
