"""Role alerting as pure functions: who is asked for figures, rules with their runbooks, where an alert goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

JSON = Mapping[str, Any]
LOOPBACK = "127.0.0.1"


def scrape_targets_of(targets: Iterable[JSON], group_names: Iterable[str]) -> list[JSON]:
    """Those targets that exist on a host of these groups."""
    mine = {"all", *group_names}
    return [target for target in targets if mine & set(target.get("groups", ["all"]))]


def figures_places(targets: Iterable[JSON]) -> list[dict[str, str]]:
    """The targets of one host as places of its gateway (role nginx, type host_gateway)."""
    return [
        {"path": f"/metrics/{target['name']}", "upstream": f"{LOOPBACK}:{target['port']}{_path(target)}"}
        for target in targets
    ]


def scrape_jobs(targets: Iterable[JSON], groups: JSON, here: str, gateway: int, tls: JSON) -> list[dict[str, Any]]:
    """One job of Prometheus per target: its hosts through their gateways by certificate, this host on loopback.

    `groups`: hosts by group; every entry carries the labels `host` and `instance`, both the host's name.
    """
    jobs = []
    for target in targets:
        hosts = sorted({host for group in target.get("groups", ["all"]) for host in groups.get(group, [])})
        entries = [_entry(target, host, here, gateway) for host in hosts]
        if entries:
            jobs.append(
                {"job_name": target["name"], "scheme": "https", "tls_config": dict(tls), "static_configs": entries}
            )
    return jobs


def _path(target: JSON) -> str:
    return str(target.get("path", "/metrics"))


def _entry(target: JSON, host: str, here: str, gateway: int) -> dict[str, Any]:
    labels = {"host": host, "instance": host}
    if host == here:
        labels |= {"__scheme__": "http", "__metrics_path__": _path(target)}
        return {"targets": [f"{LOOPBACK}:{target['port']}"], "labels": labels}
    labels |= {"__metrics_path__": f"/metrics/{target['name']}"}
    return {"targets": [f"{host}:{gateway}"], "labels": labels}


def probe_jobs(probes: Iterable[JSON], here: str, port: int) -> list[dict[str, Any]]:
    """One job per probe of the blackbox exporter: `{name, host, url}` or `{name, host, address}` (TLS only)."""
    return [
        {
            "job_name": f"probe-{probe['name']}",
            "metrics_path": "/probe",
            "params": {
                "module": ["https" if "url" in probe else "tls"],
                "target": [_probed(probe)],
            },
            "static_configs": [
                {
                    "targets": [f"{LOOPBACK}:{port}"],
                    "labels": {
                        "host": probe.get("host", here),
                        "instance": str(probe.get("url", probe.get("address"))),
                    },
                }
            ],
        }
        for probe in probes
    ]


def _probed(probe: JSON) -> str:
    return str(probe.get("url", probe.get("address")))


def alert_rules(text: str, runbook_base: str, incident_url: str = "") -> str:
    """A file of rules as the daemon reads it: every alert names its runbook, and the incident's page."""
    document = yaml.safe_load(text)
    for group in document["groups"]:
        for rule in group["rules"]:
            annotations = {**rule.get("annotations", {}), "runbook_url": f"{runbook_base}/{rule['alert']}.md"}
            if incident_url and "event" in rule.get("labels", {}):
                annotations["incident_url"] = f"{incident_url}"  # plain text: Ansible's own kind of it is no YAML
            rule["annotations"] = annotations
    return yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)


def rule_files(
    names: Sequence[str], texts: Sequence[str], folder: str, runbook_base: str, incident_url: str = ""
) -> list[dict[str, str]]:
    """Files of rules as config_files takes them."""
    return [
        {"path": f"{folder}{name}.yml", "content": alert_rules(text, runbook_base, incident_url)}
        for name, text in zip(names, texts, strict=True)
    ]


def secret_files(contents: Mapping[str, str], prefix: str = "") -> list[dict[str, Any]]:
    """Secrets for /etc/alertmanager/secrets as config_files takes them."""
    return [
        {"path": f"secrets/{prefix}{name}", "content": content, "mode": "0400", "secret": True}
        for name, content in sorted(contents.items())
    ]


def alertmanager_config(settings: JSON) -> dict[str, Any]:
    """Where an alert goes: critical ones at once and by both ways, the watchdogs to the dead man's switch."""
    second, deadman = settings["second"], settings["deadman"]
    at_once = {"group_wait": settings["group_wait_critical"]}
    beat = settings["deadman_interval"]
    routes: list[dict[str, Any]] = [
        {
            "receiver": "deadman" if deadman else "nobody",
            "matchers": ["severity=none"],
            "group_by": ["alertname"],
            "group_wait": "0s",
            "group_interval": beat,
            "repeat_interval": beat,
        }
    ]
    if second:
        routes.append({"receiver": "second", "matchers": ["severity=critical"], **at_once, "continue": True})
    routes += [
        # By who, where and session: the next wipe is a message of its own, and waits for no other.
        {
            "receiver": "critical",
            "matchers": ["severity=critical", 'event=~".+"'],
            "group_by": ["alertname", "severity", "host", "db_user", "pg_session_id"],
            "group_interval": settings["group_interval_critical"],
            **at_once,
        },
        {"receiver": "critical", "matchers": ["severity=critical"], **at_once},
    ]
    receivers: list[dict[str, Any]] = [_discord("alerts", settings), _discord("critical", settings)]
    if second:
        receivers.append({"name": "second", **second})
    if deadman:
        receivers.append({"name": "deadman", "webhook_configs": [_deadman(deadman, settings["tls"])]})
    else:
        receivers.append({"name": "nobody"})
    return {
        "global": {"resolve_timeout": settings["resolve_timeout"]},
        "templates": ["/etc/alertmanager/discord.tmpl"],
        "route": {
            "receiver": "alerts",
            "group_by": ["alertname", "severity"],
            "group_wait": settings["group_wait"],
            "group_interval": settings["group_interval"],
            "repeat_interval": settings["repeat_interval"],
            "routes": routes,
        },
        "inhibit_rules": [
            _inhibits("HostDiskFull", "HostDiskFilling", ["host", "mountpoint"]),
            _inhibits("CertificateExpired", "CertificateExpiring", ["instance"]),
        ],
        "receivers": receivers,
    }


def _inhibits(strong: str, weak: str, equal: list[str]) -> dict[str, Any]:
    return {"source_matchers": [f"alertname={strong}"], "target_matchers": [f"alertname={weak}"], "equal": equal}


def _discord(name: str, settings: JSON) -> dict[str, Any]:
    return {
        "name": name,
        "discord_configs": [
            {
                "webhook_url_file": f"/etc/alertmanager/secrets/discord-{name}",
                "send_resolved": settings["send_resolved"],
                "title": '{{ template "tovplay.title" . }}',
                "message": '{{ template "tovplay.message" . }}',
            }
        ],
    }


def _deadman(url: str, tls: JSON) -> dict[str, Any]:
    receiver: dict[str, Any] = {"url": url, "send_resolved": False, "max_alerts": 1}
    if url.startswith("https:"):
        receiver["http_config"] = {"tls_config": dict(tls)}
    return receiver


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        return {
            "scrape_targets_of": scrape_targets_of,
            "figures_places": figures_places,
            "scrape_jobs": scrape_jobs,
            "probe_jobs": probe_jobs,
            "rule_files": rule_files,
            "secret_files": secret_files,
            "alertmanager_config": alertmanager_config,
        }
