"""The running Jaeger: what it takes from whom, what it still has after a kill, and who may read it."""

from __future__ import annotations

import json
import secrets as dice
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import yaml

NAME = "tovplay-jaeger"
testinfra_hosts = [f"docker://{NAME}"]

SECRETS = yaml.safe_load((Path(__file__).parents[2] / "shared/group_vars/all/secrets.yml").read_text())
READER = f"jaeger-reader:{SECRETS['vault_jaeger_reader_password']}"
CA = "--cacert /etc/tovplay/pki/ca.crt"
CERTIFICATE = f"{CA} --cert /etc/tovplay/pki/host.crt --key /etc/tovplay/pki/host.key"
GATEWAY = f"https://{NAME}:3445"
DIRECT = "http://127.0.0.1:4318"
SHIPPER = "http://172.17.0.1:4318"
API = "http://127.0.0.1:16686/api"
PUSH = "-X POST -H 'Content-Type: application/json' -d '{\"resourceSpans\": []}'"


def span(trace: str, **attributes: str) -> str:
    """One finished span as OTLP's JSON has it."""
    now = time.time_ns()
    told = {
        "traceId": trace,
        "spanId": trace[:16],
        "name": "GET /games/<int:id>",
        "kind": 2,
        "startTimeUnixNano": str(now - 30_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
    }
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "tovplay-molecule"}}]}
    return json.dumps({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [told]}]}]})


def curl(host, arguments: str) -> str:
    """Status of the answer."""
    command = f"curl --silent --output /dev/null --max-time 10 --write-out '%{{http_code}}' {arguments}"
    return host.run(command).stdout.strip()


def send(host, to: str, body: str, options: str = "") -> str:
    data = shlex.quote(body)
    return curl(host, f"{options} -X POST -H 'Content-Type: application/json' -d {data} {to}/v1/traces")


def seconds_until_found(host, trace: str, limit: float = 20) -> float:
    started = time.monotonic()
    while time.monotonic() < started + limit:
        answer = host.run(f"curl --silent --max-time 5 {API}/traces/{trace}")
        if answer.rc == 0 and trace in answer.stdout and json.loads(answer.stdout)["data"]:
            return time.monotonic() - started
        time.sleep(0.2)
    return float("inf")


def wait_until_healthy(host) -> None:
    deadline = time.monotonic() + 30
    while curl(host, "http://127.0.0.1:13134/status") != "200":
        assert time.monotonic() < deadline, host.run("docker logs --tail 20 jaeger").stderr
        time.sleep(0.2)


def test_it_listens_on_loopback_only(host):
    ports = {4317, 4318, 16685, 16686, 13134, 8887, 8889}
    sockets = [line.split()[3].rpartition(":") for line in host.check_output("ss -Hltn").splitlines()]
    ours = {(address, int(port)) for address, _, port in sockets if int(port) in ports}
    assert ours == {("127.0.0.1", port) for port in ports} | {("172.17.0.1", 4318)}  # the shipper, for containers


def test_its_container_has_the_least_rights(host):
    found = json.loads(host.check_output("docker inspect jaeger"))[0]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["Memory"] == 512 << 20
    assert found["Config"]["User"] == "10001:10001"


def test_a_span_through_the_shipper_is_found_within_seconds(host):
    trace = dice.token_hex(16)
    assert send(host, SHIPPER, span(trace)) == "200"
    assert seconds_until_found(host, trace) < 5


def test_a_reader_reads_through_the_gateway(host):
    trace = dice.token_hex(16)
    assert send(host, GATEWAY, span(trace), CERTIFICATE) == "200"
    assert seconds_until_found(host, trace) < 5
    answer = host.check_output(f"curl --silent --fail {CA} --user '{READER}' {GATEWAY}/api/traces/{trace}")
    found = json.loads(answer)["data"][0]
    assert found["traceID"] == trace
    assert found["spans"][0]["operationName"] == "GET /games/<int:id>"
    read = host.check_output("grep TRACE_READ /var/log/nginx/gateway.json.log").splitlines()[-1]
    assert (json.loads(read)["path"], json.loads(read)["user_id"]) == (f"/api/traces/{trace}", "jaeger-reader")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(f"{CA} {PUSH} {GATEWAY}/v1/traces", "403", id="push, nobody"),
        pytest.param(f"{CA} --user '{READER}' {PUSH} {GATEWAY}/v1/traces", "403", id="push, a reader"),
        pytest.param(f"{CERTIFICATE} {GATEWAY}/v1/traces", "403", id="push, but GET"),
        pytest.param(f"{CA} {GATEWAY}/api/services", "401", id="read, nobody"),
        pytest.param(f"{CA} --user jaeger-reader:wrong {GATEWAY}/api/services", "401", id="read, wrong password"),
        pytest.param(f"{CERTIFICATE} {GATEWAY}/api/services", "401", id="read, a host's certificate"),
        pytest.param(f"{CA} {GATEWAY}/", "401", id="the page, nobody"),
        pytest.param(f"{CA} --user '{READER}' {PUSH} {GATEWAY}/api/traces", "403", id="write, a reader"),
        pytest.param(f"{CA} --user '{READER}' -X DELETE {GATEWAY}/api/traces/1", "403", id="delete, a reader"),
        pytest.param(f"http://{NAME}:3445/api/services", "400", id="plain HTTP"),
    ],
)
def test_who_is_refused_at_the_gateway(host, arguments, status):
    assert curl(host, arguments) == status


@pytest.mark.parametrize("port", [4317, 4318, 16685, 16686])
def test_another_host_reaches_nothing_but_the_gateway(host, port):
    """This machine stands for the other host."""
    address = host.check_output("hostname -I").split()[0]
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "5", f"http://{address}:{port}/"], capture_output=True, check=False
    )
    assert done.returncode == 7, "refused is 7"


def test_what_was_taken_outlives_a_kill(host):
    trace = dice.token_hex(16)
    assert send(host, DIRECT, span(trace)) == "200"
    host.check_output("docker kill --signal KILL jaeger")
    host.check_output("docker start jaeger")
    wait_until_healthy(host)
    assert seconds_until_found(host, trace) < 5


def test_nothing_is_lost_while_jaeger_is_away_and_the_shipper_is_killed(host):
    traces = [dice.token_hex(16) for _ in range(20)]
    host.check_output("docker stop jaeger")
    assert {send(host, SHIPPER, span(trace)) for trace in traces} == {"200"}
    host.check_output("docker kill --signal KILL otelcol")
    host.check_output("docker start otelcol")
    host.check_output("docker start jaeger")
    wait_until_healthy(host)
    assert max(seconds_until_found(host, trace) for trace in traces) < 20


def test_secrets_in_a_span_never_leave_the_host(host):
    trace = dice.token_hex(16)
    statement = "ALTER ROLE x PASSWORD 'kept from everybody'"
    assert send(host, SHIPPER, span(trace, **{"db.statement": statement})) == "200"
    assert seconds_until_found(host, trace) < 5
    answer = host.check_output(f"curl --silent {API}/traces/{trace}")
    assert "kept from everybody" not in answer
    assert "ALTER ROLE x [redacted]" in answer


def test_prometheus_finds_calls_and_durations_of_every_operation(host):
    label = 'service_name="tovplay-molecule"'
    deadline = time.monotonic() + 30
    text = ""
    while label not in text and time.monotonic() < deadline:
        text = host.check_output("curl --silent http://127.0.0.1:8889/metrics")
        time.sleep(1)
    calls = [
        line for line in text.splitlines() if line.startswith("traces_span_metrics_calls_total{") and label in line
    ]
    assert calls and 'span_name="GET /games/<int:id>"' in calls[0]
    assert "traces_span_metrics_duration_milliseconds_bucket{" in text
    own = host.check_output("curl --silent http://127.0.0.1:8887/metrics")
    assert "otelcol_receiver_accepted_spans" in own


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"jaeger_sampling_ratio": 2}, "jaeger_sampling_ratio is 2; choose more than 0 and at most 1."),
        ({"jaeger_storage": "opensearch"}, "jaeger_search names no server_urls; add them, or use badger."),
        ({"jaeger_span_metrics_buckets": ["soon"]}, "'buckets[0]' time: invalid duration"),
    ],
    ids=["sampling", "storage without an address", "Jaeger's own parser"],
)
def test_refusals(host, refusal, variables, sentence):
    before = host.file("/etc/tovplay/jaeger/config.yaml").sha256sum
    refusal(sentence, **variables)
    assert host.file("/etc/tovplay/jaeger/config.yaml").sha256sum == before
