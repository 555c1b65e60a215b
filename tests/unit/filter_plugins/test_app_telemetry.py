"""What switches the package on inside a container: variables, files, and what is refused before it could mislead."""

from __future__ import annotations

import pytest
import yaml
from ansible.template import trust_as_template

from filter_plugins.app_telemetry import telemetry_environment, telemetry_files, telemetry_problems

SETTINGS = {
    "context_key": "k" * 64,
    "endpoint": "http://172.17.0.1:4318",
    "log_email": "plain",
    "pooler_address": "172.17.0.1:6432",
    "sampling_ratio": 1.0,
    "trusted_proxies": ["172.17.0.1"],
}
APP = {"name": "shop", "user": "1000"}
LOGIN = {"database": "Shop/1", "database_user": "raz@tovtech.org", "database_password": "p@ss:w/rd"}
ETC = "/etc/tovplay/app_telemetry"


def test_an_unchanged_application_needs_nothing_but_variables():
    assert telemetry_environment(APP, SETTINGS) == {
        "PYTHONPATH": "/opt/tovplay/telemetry",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://172.17.0.1:4318",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
        "TOVPLAY_TRUSTED_PROXIES": "172.17.0.1",
        "TOVPLAY_LOG_EMAIL": "plain",
        "TOVPLAY_AUDIT_CONTEXT_KEY_FILE": "/run/secrets/tovplay_context_key",
    }


def test_the_way_to_the_database_is_the_poolers_and_quoted():
    url = telemetry_environment({**APP, **LOGIN}, SETTINGS)["DATABASE_URL"]
    assert url == "postgresql://raz%40tovtech.org:p%40ss%3Aw%2Frd@172.17.0.1:6432/Shop%2F1"
    without_password = {key: value for key, value in LOGIN.items() if key != "database_password"}
    assert "DATABASE_URL" not in telemetry_environment({**APP, **without_password}, SETTINGS)


def test_an_entrys_own_variables_win():
    own = {"OTEL_SERVICE_NAME": "other", "WORKERS": 3}
    found = telemetry_environment({**APP, "environment": own}, SETTINGS)
    assert (found["OTEL_SERVICE_NAME"], found["WORKERS"]) == ("other", "3")


def test_without_a_key_no_context_is_signed():
    settings = {**SETTINGS, "context_key": ""}
    assert "TOVPLAY_AUDIT_CONTEXT_KEY_FILE" not in telemetry_environment(APP, settings)
    assert [one["path"] for one in telemetry_files([APP], settings, ETC)] == ["shop/telemetry.env", "shop/compose.yml"]


def test_secrets_are_in_files_of_the_container_and_of_root_alone():
    files = {one["path"]: one for one in telemetry_files([{**APP, **LOGIN}], SETTINGS, ETC)}
    key, environment, override = (files[f"shop/{name}"] for name in ("context_key", "telemetry.env", "compose.yml"))
    assert (key["owner"], key["mode"], key["secret"], key["content"]) == ("1000", "0400", True, "k" * 64 + "\n")
    assert (environment["mode"], environment["secret"]) == ("0600", True)
    assert "rd@172" not in override["content"]
    assert "kkkk" not in override["content"]


def test_composes_override_mounts_read_only():
    files = {one["path"]: one for one in telemetry_files([{**APP, "compose_service": "web"}], SETTINGS, ETC)}
    assert yaml.safe_load(files["shop/compose.yml"]["content"]) == {
        "services": {
            "web": {
                "env_file": [f"{ETC}/shop/telemetry.env"],
                "volumes": [
                    "/opt/tovplay/telemetry/current:/opt/tovplay/telemetry:ro",
                    f"{ETC}/shop/context_key:/run/secrets/tovplay_context_key:ro",
                ],
            }
        }
    }


@pytest.mark.parametrize(
    ("application", "settings", "sentence"),
    [
        ({"name": "a b"}, {}, "'a b' is no container's name; correct it in app_telemetry_applications."),
        ({"user": "www"}, {}, "shop: user is 'www'; give the number of the container's user (docker exec shop id -u)."),
        ({"environment": {"A-B": "1"}}, {}, "shop: 'A-B' is no name of an environment variable; correct it."),
        ({"environment": {"A": "1\n2"}}, {}, "shop: A has more than one line"),
        ({"database": "Shop"}, {}, "shop: database_user and database belong together; give both or neither."),
        ({"database_password": "x"}, {}, "shop: database_password belongs to no database_user; name it."),
        ({}, {"pooler_address": "localhost:6432"}, "which inside a container is the container itself"),
        ({}, {"sampling_ratio": 2}, "app_telemetry_sampling_ratio is 2; choose between 0 and 1."),
        ({}, {"trusted_proxies": ["nginx"]}, "app_telemetry_trusted_proxies: 'nginx' is no network"),
        ({}, {"context_key": "short"}, "app_telemetry_context_key has less than 32 characters"),
    ],
)
def test_what_cannot_work_is_refused(application, settings, sentence):
    assert sentence in " ".join(telemetry_problems([{**APP, **application}], {**SETTINGS, **settings}))


def test_one_container_twice_is_refused():
    assert "Two applications are named shop" in " ".join(telemetry_problems([APP, APP], SETTINGS))


def test_what_can_work_is_not():
    assert telemetry_problems([APP, {**APP, **LOGIN, "name": "other"}], SETTINGS) == []


def test_names_as_ansible_hands_them_over():
    """Its strings carry tags, which YAML's safe representer refuses."""
    tagged = {key: trust_as_template(value) for key, value in {**APP, "compose_service": "web"}.items()}
    files = {file["path"]: file for file in telemetry_files([tagged], SETTINGS, trust_as_template(ETC))}
    assert list(yaml.safe_load(files["shop/compose.yml"]["content"])["services"]) == ["web"]
