"""Inputs of role grafana -> its data sources with the links between them, and what of the inputs cannot work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]
ROOT_URL = re.compile(r"https://[^/\s]+(/[a-z0-9_-]+)*/\Z")
PLACEHOLDER = re.compile(r"change|your_|placeholder|example_|todo|xxx", re.IGNORECASE)
PASSWORD_LENGTH, KEY_LENGTH = 12, 32
EVERYTHING = '{job=~".+"}'


def grafana_problems(settings: JSON) -> list[str]:
    """One sentence about each input that cannot work; secrets are never repeated."""
    problems = []
    if not ROOT_URL.match(str(settings["root_url"])):
        problems.append(f"grafana_root_url is {settings['root_url']!r}; write https://host/path/ with its last slash.")
    for name, least in (("admin_password", PASSWORD_LENGTH), ("secret_key", KEY_LENGTH)):
        value = str(settings[name])
        if len(value) < least or PLACEHOLDER.search(value) or "\n" in value:
            problems.append(f"grafana_{name} is missing, a placeholder or too short; give {least} characters or more.")
    for name in ("loki_url", "jaeger_url", "prometheus_url"):
        if not str(settings[name]).startswith(("http://", "https://")):
            problems.append(f"grafana_{name} is {settings[name]!r}, and dashboards ask it; give its http address.")
    search = settings["search"]
    if search and not (search.get("url") and search.get("index")):
        problems.append("grafana_search lacks url or index; give both, or leave it empty.")
    if search.get("username") and not settings["search_password"]:
        problems.append("grafana_search names a user but grafana_search_password is empty; give it.")
    if str(settings["search"].get("url", "https://")).startswith("http://") and search.get("username"):
        problems.append("grafana_search sends a password over plain HTTP; use https.")
    return problems


def grafana_datasources(settings: JSON) -> list[dict[str, Any]]:
    """The data sources as Grafana's provisioning takes them; `$$` is a `$` there.

    https://grafana.com/docs/grafana/latest/administration/provisioning/#data-sources
    """
    sources = [_loki(settings), _jaeger(settings), _prometheus(settings), _vault(), _search(settings)]
    return [{**source, "access": "proxy", "editable": False} for source in sources if source]


def _loki(settings: JSON) -> dict[str, Any]:
    links = [
        {
            "name": "trace",
            "matcherType": "label",
            "matcherRegex": "trace_id",
            "datasourceUid": "jaeger",
            "url": "$${__value.raw}",
            "urlDisplayLabel": "Open trace",
        },
        {
            "name": "everything with this id",
            "matcherType": "label",
            "matcherRegex": "correlation_id",
            "url": f"{settings['root_url']}d/incident-analysis/?var-find=$${{__value.raw}}",
            "urlDisplayLabel": "Everything with this id",
        },
    ]
    audited = (
        "SELECT commit_at AS time, db_user, command, table_name, statement FROM vault.transactions "
        "WHERE vault.as_json(ctx) ->> 'cid' = '$${correlation_id}' ORDER BY commit_at"
    )
    in_the_vault = {
        "targetUID": "vault",
        "type": "query",
        "label": "Transactions in the vault",
        "description": "What this action changed in the database",
        "config": {"field": "correlation_id", "target": {"rawSql": audited, "rawQuery": True, "format": "table"}},
    }
    return {
        "name": "Loki",
        "uid": "loki",
        "type": "loki",
        "url": settings["loki_url"],
        "isDefault": True,
        "jsonData": {"maxLines": 1000, "timeout": 60, "derivedFields": links},
        "correlations": [in_the_vault],
    }


def _jaeger(settings: JSON) -> dict[str, Any]:
    logs = {
        "datasourceUid": "loki",
        "spanStartTimeShift": "-5m",
        "spanEndTimeShift": "5m",
        "customQuery": True,
        "query": EVERYTHING + ' | trace_id="$${__span.traceId}"',
    }
    return {
        "name": "Jaeger",
        "uid": "jaeger",
        "type": "jaeger",
        "url": settings["jaeger_url"],
        "jsonData": {"nodeGraph": {"enabled": True}, "tracesToLogsV2": logs},
    }


def _prometheus(settings: JSON) -> dict[str, Any]:
    return {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "url": settings["prometheus_url"],
        "jsonData": {"httpMethod": "POST"},
    }


def _vault() -> dict[str, Any]:
    """Over the socket: the vault knows the account of this host, there is no password."""
    return {
        "name": "Vault",
        "uid": "vault",
        "type": "grafana-postgresql-datasource",
        "url": "/var/run/postgresql",
        "user": "tovplay-grafana",
        "jsonData": {"database": "vault", "sslmode": "disable", "postgresVersion": 1500, "maxOpenConns": 5},
    }


def _search(settings: JSON) -> dict[str, Any] | None:
    search = settings["search"]
    if not search:
        return None
    source: dict[str, Any] = {
        "name": "Elasticsearch",
        "uid": "elasticsearch",
        "type": "elasticsearch",
        "url": search["url"],
        "jsonData": {"index": search["index"], "timeField": "@timestamp"},
    }
    if search.get("username"):
        source |= {
            "basicAuth": True,
            "basicAuthUser": search["username"],
            "secureJsonData": {"basicAuthPassword": "$__file{/etc/grafana/secrets/search_password}"},
        }
    return source


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"grafana_problems": grafana_problems, "grafana_datasources": grafana_datasources}
