"""The collector's part for spans: a queue on disk, secrets taken out, and nothing at all where there is no sink."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from filter_plugins import telemetry_otelcol, telemetry_ottl
from filter_plugins.telemetry_traces import otelcol_with_traces, trace_sink_problems

SINKS = [{"name": "jaeger", "url": "https://watch:3445"}]


@pytest.fixture(scope="session")
def logs_only(flows, formats, settings):
    return telemetry_otelcol.otelcol_config(flows, telemetry_ottl.ottl_statements(flows, formats, settings), settings)


@pytest.fixture(scope="session")
def config(logs_only, settings):
    return otelcol_with_traces(logs_only, SINKS, settings)


def test_the_collector_accepts_it(config, binary, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = subprocess.run(
        [binary("otelcol"), "validate", f"--config={tmp_path}/config.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_a_sink_nothing_listens(logs_only, settings):
    assert otelcol_with_traces(logs_only, [], settings) == logs_only


def test_logs_are_as_they_were(config, logs_only):
    assert config["service"]["pipelines"]["logs"] == logs_only["service"]["pipelines"]["logs"]
    assert config["exporters"]["otlp_http"] == logs_only["exporters"]["otlp_http"]


def test_spans_wait_on_disk_without_end_and_a_full_queue_refuses(config):
    exporter = config["exporters"]["otlp_http/jaeger"]
    assert exporter["sending_queue"]["storage"] == "file_storage/queue"
    assert exporter["sending_queue"]["block_on_overflow"] is False
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["tls"]["cert_file"] == "/pki/host.crt"
    assert "batch" not in str(config["service"]["pipelines"]["traces"]["processors"])


def test_the_pattern_means_what_it_says(config, settings):
    groups = config["processors"]["transform/spans"]["trace_statements"]
    assert [group["context"] for group in groups] == ["span", "spanevent"]
    statement = groups[0]["statements"][0]
    assert "$$2[abxy]" in statement
    assert "$2[abxy]" in settings["redacted"]


@pytest.mark.parametrize(
    ("sinks", "shipper", "sentence"),
    [
        ([{"name": "Jaeger!", "url": "https://watch:3445"}], "otelcol", "a name is made of a-z, 0-9, _ and -."),
        ([{"name": "jaeger", "url": "http://watch:4318"}], "otelcol", "nor an http:// one of this host; correct it."),
        (
            SINKS,
            "promtail",
            "promtail takes no spans; use otelcol, or leave loki_stack_trace_sinks empty on this host.",
        ),
    ],
)
def test_a_sink_that_cannot_work_is_refused(sinks, shipper, sentence):
    assert sentence in " ".join(trace_sink_problems(sinks, shipper))


def test_a_sink_of_this_host_needs_no_tls():
    assert trace_sink_problems([{"name": "jaeger", "url": "http://127.0.0.1:4318"}], "otelcol") == []
