"""Role jaeger's configuration: judged by Jaeger itself, and what a role promises about it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from filter_plugins.jaeger import jaeger_config, jaeger_problems

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = yaml.safe_load((ROOT / "roles/jaeger/defaults/main.yml").read_text(encoding="utf-8"))
SETTINGS = {name.removeprefix("jaeger_"): value for name, value in DEFAULTS.items()}
SEARCH = {"storage": "elasticsearch", "search": {"server_urls": ["https://search:9200"]}}
LOGIN = {**SEARCH["search"], "username": "jaeger", "ca": "PEM"}
VARIANTS = {
    "defaults": {},
    "sampled": {"sampling_ratio": 0.25},
    "elasticsearch": {**SEARCH, "search": LOGIN, "search_password": "secret"},
    "opensearch": {**SEARCH, "storage": "opensearch"},
    "monitoring": {"prometheus_url": "http://127.0.0.1:9090"},
}


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_jaeger_accepts_it(binary, tmp_path, change):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(jaeger_config({**SETTINGS, **change})), encoding="utf-8")
    done = subprocess.run(
        [binary("jaeger"), "validate", f"--config={tmp_path}/config.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_jaeger_refuses_what_it_does_not_know(binary, tmp_path):
    config = jaeger_config(SETTINGS)
    config["extensions"]["jaeger_storage"]["backends"]["main"]["badger"]["keep"] = "1h"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = subprocess.run(
        [binary("jaeger"), "validate", f"--config={tmp_path}/config.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "keep" in done.stderr


def endpoints(value) -> list[str]:
    if isinstance(value, dict):
        own = [text for key, text in value.items() if key in ("endpoint", "host") and isinstance(text, str)]
        return own + [text for item in value.values() for text in endpoints(item)]
    return [text for item in value for text in endpoints(item)] if isinstance(value, list) else []


def test_everything_listens_on_loopback():
    found = endpoints(jaeger_config(SETTINGS))
    assert len(found) == 7
    assert {text.partition(":")[0] for text in found} == {"127.0.0.1"}


def test_a_span_is_taken_when_it_is_stored():
    config = jaeger_config(SETTINGS)
    assert "processors" not in config
    assert config["exporters"]["jaeger_storage_exporter"] == {"trace_storage": "main"}
    assert config["extensions"]["jaeger_storage"]["backends"]["main"]["badger"]["ephemeral"] is False


def test_sampling_keeps_failed_traces_and_counts_all_spans():
    pipelines = jaeger_config({**SETTINGS, "sampling_ratio": 0.25})["service"]["pipelines"]
    assert "spanmetrics" in pipelines["traces"]["exporters"]
    assert pipelines["traces/kept"]["processors"] == ["tail_sampling"]
    policies = jaeger_config({**SETTINGS, "sampling_ratio": 0.25})["processors"]["tail_sampling"]["policies"]
    assert [policy["type"] for policy in policies] == ["status_code", "probabilistic"]
    assert policies[1]["probabilistic"] == {"sampling_percentage": 25.0}


def test_a_password_is_in_a_file_of_its_own():
    text = yaml.safe_dump(jaeger_config({**SETTINGS, **SEARCH, "search": LOGIN, "search_password": "secret"}))
    assert "secret" not in text.replace("search_password", "")
    assert "password_file: /etc/jaeger/search_password" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"retention": "7d"}, "jaeger_retention is '7d'; write whole hours, like 168h."),
        ({"sampling_ratio": 0}, "jaeger_sampling_ratio is 0; choose more than 0 and at most 1."),
        ({"sampling_ratio": 1.5}, "jaeger_sampling_ratio is 1.5"),
        ({"health_port": 4317}, "Two of jaeger's ports are 4317; give each its own."),
        ({"storage": "opensearch"}, "jaeger_storage is opensearch, but jaeger_search names no server_urls"),
        ({**SEARCH, "search": LOGIN}, "jaeger_search_password is empty; put it into the Ansible Vault file."),
        ({**SEARCH, "search": {"server_urls": ["http://search:9200"]}}, "is plain HTTP to another host; use https."),
    ],
)
def test_what_cannot_work_is_refused(change, sentence):
    assert sentence in " ".join(jaeger_problems({**SETTINGS, **change}))


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_what_can_work_is_not(change):
    assert jaeger_problems({**SETTINGS, **change}) == []
