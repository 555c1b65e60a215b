"""Data sources of role grafana, the links between them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from filter_plugins.grafana import grafana_datasources, grafana_problems

SETTINGS: dict[str, Any] = {
    "admin_user": "grafana-admin",
    "admin_password": "long enough for this",
    "secret_key": "0123456789abcdef0123456789abcdef",
    "root_url": "https://watch/logs/",
    "loki_url": "http://127.0.0.1:3100",
    "jaeger_url": "http://127.0.0.1:16686",
    "prometheus_url": "http://127.0.0.1:9090",
    "search": {},
    "search_password": "",
}
SEARCH = {"url": "https://search:9200", "index": "logs-*", "username": "reader"}


def sources(**changes: Any) -> dict[str, dict[str, Any]]:
    return {source["uid"]: source for source in grafana_datasources({**SETTINGS, **changes})}


def test_the_uids_are_those_of_the_dashboards() -> None:
    assert set(sources()) == {"loki", "jaeger", "prometheus", "vault"}
    assert set(sources(search=SEARCH)) == {"loki", "jaeger", "prometheus", "vault", "elasticsearch"}


def test_a_line_opens_its_trace_and_a_trace_its_lines() -> None:
    trace = sources()["loki"]["jsonData"]["derivedFields"][0]
    assert (trace["matcherType"], trace["matcherRegex"], trace["datasourceUid"]) == ("label", "trace_id", "jaeger")
    lines = sources()["jaeger"]["jsonData"]["tracesToLogsV2"]
    assert (lines["datasourceUid"], lines["query"]) == ("loki", '{job=~".+"} | trace_id="$${__span.traceId}"')
    assert sources()["loki"]["correlations"][0]["targetUID"] == "vault"


def test_every_dollar_but_that_of_a_file_is_written_twice() -> None:
    text = yaml.safe_dump(grafana_datasources({**SETTINGS, "search": SEARCH, "search_password": "x"}))
    assert "$" not in text.replace("$$", "").replace("$__file{", "")
    assert "$__file{/etc/grafana/secrets/search_password}" in text


REFUSED = [
    ("no slash", {"root_url": "https://watch/logs"}, "with its last slash"),
    ("plain", {"root_url": "http://watch/logs/"}, "write https://host/path/"),
    ("no password", {"admin_password": ""}, "grafana_admin_password is missing"),
    ("placeholder", {"admin_password": "CHANGE_ME_CHANGE_ME"}, "grafana_admin_password is missing, a placeholder"),
    ("short key", {"secret_key": "0123456789"}, "give 32 characters or more"),
    ("no Loki", {"loki_url": ""}, "grafana_loki_url is '', and dashboards ask it"),
    ("half a search", {"search": {"url": "https://s"}}, "grafana_search lacks url or index"),
    ("search without a password", {"search": SEARCH}, "grafana_search_password is empty"),
    ("search in the clear", {"search": SEARCH | {"url": "http://s:9200"}, "search_password": "x"}, "over plain HTTP"),
]


@pytest.mark.parametrize(("changes", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refuses(changes: dict[str, Any], why: str) -> None:
    (problem,) = grafana_problems({**SETTINGS, **changes})
    assert why in problem
    assert "long enough" not in problem


def test_accepts_what_works() -> None:
    assert grafana_problems(SETTINGS) == []
    assert grafana_problems({**SETTINGS, "search": SEARCH, "search_password": "x"}) == []
