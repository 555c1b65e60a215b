"""The three shippers' configurations: accepted by their own parsers, and careful with what they read."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from filter_plugins import (
    telemetry_otelcol,
    telemetry_ottl,
    telemetry_promtail,
    telemetry_stages,
    telemetry_vector,
    telemetry_vrl,
)


@pytest.fixture(scope="module")
def otelcol(flows, formats, settings):
    return telemetry_otelcol.otelcol_config(flows, telemetry_ottl.ottl_statements(flows, formats, settings), settings)


@pytest.fixture(scope="module")
def promtail(flows, formats, settings):
    stages = telemetry_stages.promtail_stages(formats)
    return telemetry_promtail.promtail_config(flows, formats, stages, settings)


@pytest.fixture(scope="module")
def vector(flows, formats, settings):
    programs = telemetry_vrl.vrl_programs(flows, formats, settings)
    return telemetry_vector.vector_config(flows, programs, formats, settings)


@pytest.mark.parametrize(
    ("shipper", "arguments"),
    [
        ("otelcol", ["validate", "--config={}", "--feature-gates=stanza.synchronousLogEmitter"]),
        ("promtail", ["-config.file={}", "-check-syntax"]),
    ],
)
def test_its_own_parser_accepts_it(shipper, arguments, binary, request, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(request.getfixturevalue(shipper)), encoding="utf-8")
    command = [binary(shipper), *(argument.format(path) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_gives_up_or_drops(otelcol, promtail, vector):
    exporter = otelcol["exporters"]["otlp_http"]
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["sending_queue"]["block_on_overflow"] is True
    assert exporter["sending_queue"]["storage"] == "file_storage/queue"
    assert "batch" not in str(otelcol["processors"])  # a batch processor forgets what it holds when it is killed
    for receiver in otelcol["receivers"].values():
        assert receiver["storage"] == "file_storage/positions"
        assert receiver["start_at"] == "beginning"
        assert receiver["retry_on_failure"] == {"enabled": True, "max_elapsed_time": 0}
    assert promtail["clients"][0]["backoff_config"]["max_retries"] == 0
    sink = vector["sinks"]["loki"]
    assert sink["buffer"]["type"] == "disk" and sink["buffer"]["when_full"] == "block"
    assert sink["acknowledgements"] == {"enabled": True}


def test_the_largest_record_fits_into_a_batch(otelcol, settings):
    """What is larger than max_size is dropped by the exporter; one invalid byte becomes three."""
    batch = otelcol["exporters"]["otlp_http"]["sending_queue"]["batch"]
    assert batch["max_size"] >= 3 * settings["max_line_bytes"] + 65536


def test_https_brings_the_certificates(otelcol, promtail, vector):
    files = {"ca_file": "/pki/ca.crt", "cert_file": "/pki/host.crt", "key_file": "/pki/host.key"}
    assert files.items() <= otelcol["exporters"]["otlp_http"]["tls"].items()
    assert files.items() <= promtail["clients"][0]["tls_config"].items()
    # Vector's names of the same: ca_file, crt_file, key_file.
    assert vector["sinks"]["loki"]["tls"]["crt_file"] == "/pki/host.crt"
    assert vector["sinks"]["loki"]["tls"]["verify_certificate"] is True


def test_plain_http_brings_none(flows, settings):
    plain = {**settings, "push_url": "http://127.0.0.1:3100"}
    assert "tls" not in telemetry_otelcol.otelcol_config(flows, [], plain)["exporters"]["otlp_http"]


def test_the_collector_expands_no_variable_of_ours(flows, settings):
    hostile = [{"context": "log", "statements": ['set(log.attributes["a"], "${env:HOME}")']}]
    processors = telemetry_otelcol.otelcol_config(flows, hostile, settings)["processors"]
    assert "$${env:HOME}" in str(processors["transform"]["log_statements"])


def test_a_renamed_file_is_read_by_those_who_know_it_again(otelcol, promtail, vector):
    assert "/var/log/nginx/access.json.log.1" in otelcol["receivers"]["file_log/nginx_access"]["include"]
    assert "/var/log/nginx/access.json.log.1" in vector["sources"]["nginx_access"]["include"]
    scrape = next(one for one in promtail["scrape_configs"] if one["job_name"] == "nginx_access")
    assert "/var/log/nginx/access.json.log.1" not in str(scrape)


def test_size_is_judged_before_secrets_are_taken_out(otelcol, promtail):
    """A mark is shorter than what it stands for, so a line that was cut would look whole afterwards."""
    for rendered in (json.dumps(otelcol), json.dumps(promtail)):
        assert rendered.index("oversize") < rendered.index("[redacted]")
