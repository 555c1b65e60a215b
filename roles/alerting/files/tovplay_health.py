#!/usr/bin/python3
"""Is the platform itself well? One line a check, with its figure; exit code 1 when one of them is not.

    tovplay-health [--json] [--commands]

Figures come from Prometheus and Loki on this host. What is not installed has none, and is said to be not installed.
`--commands` shows how to ask the same by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

PROMETHEUS, LOKI = "http://127.0.0.1:9090/api/v1/query", "http://127.0.0.1:3100/loki/api/v1/query"


@dataclass(frozen=True)
class Check:
    """`query` gives one figure, of the worst host; it is well when `well` says so."""

    name: str
    query: str
    well: Callable[[float], bool]
    unit: str
    command: str
    source: str = PROMETHEUS


def zero(figure: float) -> bool:
    return figure == 0


def below(limit: float) -> Callable[[float], bool]:
    return lambda figure: figure < limit


def above(limit: float) -> Callable[[float], bool]:
    return lambda figure: figure > limit


CHECKS = [
    Check(
        "logs flow",
        'sum(count_over_time({job=~".+"}[1m]))',
        above(0),
        "lines in the last minute",
        "curl -s http://127.0.0.1:3100/loki/api/v1/labels",
        LOKI,
    ),
    Check(
        "Elasticsearch",
        'max(elasticsearch_cluster_health_status{color="red"})',
        zero,
        "red clusters",
        "curl -s http://127.0.0.1:9200/_cluster/health",
    ),
    Check(
        "Jaeger",
        'min(up{job="jaeger"})',
        above(0),
        "answering",
        "curl -s 'http://127.0.0.1:16686/api/traces?service=tovplay-backend'",
    ),
    Check(
        "connection pool",
        "sum(pgbouncer_pools_client_waiting_connections)",
        zero,
        "clients waiting",
        "psql -h 127.0.0.1 -p 6432 -U tovplay_monitor -d pgbouncer -c 'SHOW STATS'",
    ),
    Check(
        "audit is written",
        "max(tovplay_vault_heartbeat_age_seconds)",
        below(60),
        "s since the last heartbeat in the vault",
        "sudo -u postgres psql -p 5433 vault -c "
        "\"SELECT count(*) FROM audit_log WHERE timestamp > now() - interval '1 minute'\"",
    ),
    Check(
        "vault lag",
        "max(tovplay_vault_lag_bytes)",
        below(64 << 20),
        "bytes",
        "cat /var/lib/tovplay/metrics/audit_vault.prom",
    ),
    Check("seal", "max(tovplay_vault_seal_age_seconds)", below(60), "s old", "whodunit verify"),
    Check("vault alarms", "sum(tovplay_vault_alarms)", zero, "raised", "journalctl -u tovplay-vault-keeper -n 20"),
    Check(
        "log queues",
        "max(100 * otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
        below(20),
        "% of the fullest used",
        "curl -s 127.0.0.1:8888/metrics | grep queue",
    ),
    Check(
        "logs thrown away",
        "sum(loki_discarded_samples_total) or vector(0)",
        zero,
        "lines since Loki began",
        "docker logs loki",
    ),
    Check(
        "daemons", "count(up == 0) or vector(0)", zero, "of the targets silent", "curl -s 127.0.0.1:9090/api/v1/targets"
    ),
    Check("database", "min(pg_up)", above(0), "answering", "pg_isready"),
    Check(
        "disk",
        'min(100 * node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|overlay"} / node_filesystem_size_bytes)',
        above(10),
        "% left on the fullest",
        "df -h",
    ),
    Check(
        "certificates",
        "min(probe_ssl_earliest_cert_expiry - time()) / 86400",
        above(21),
        "days left",
        "openssl x509 -in /etc/tovplay/pki/host.crt -noout -enddate",
    ),
    Check(
        "messages for Discord", "sum(tovplay_notifier_queue)", zero, "waiting", "journalctl -u tovplay-notifier -n 20"
    ),
    Check(
        "critical alerts",
        'count(ALERTS{alertstate="firing",severity="critical"}) or vector(0)',
        zero,
        "firing",
        "curl -s '127.0.0.1:9093/api/v2/alerts?active=true'",
    ),
]


def ask(check: Check) -> dict[str, Any]:
    """The check's result: state is well, sick or not installed."""
    result = {"check": check.name, "unit": check.unit, "command": check.command, "figure": None}
    try:
        answer = requests.get(check.source, params={"query": check.query}, timeout=10)
        answer.raise_for_status()
        found = answer.json()["data"]["result"]
    except (requests.RequestException, ValueError, KeyError) as error:
        return {**result, "state": "sick", "unit": f"no answer ({type(error).__name__})"}
    if not found:
        return {**result, "state": "not installed"}
    figure = float(found[0]["value"][1])
    return {**result, "figure": round(figure, 1), "state": "well" if check.well(figure) else "sick"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="the same as one JSON document")
    parser.add_argument("--commands", action="store_true", help="how to ask the same by hand")
    options = parser.parse_args()
    results = [ask(check) for check in CHECKS]
    if options.json:
        print(json.dumps({"well": all(r["state"] != "sick" for r in results), "checks": results}, indent=1))
    else:
        for result in results:
            figure = "" if result["figure"] is None else f"{result['figure']:g} "
            said = "" if result["state"] == "not installed" else f"{figure}{result['unit']}"
            print(f"{result['state']:13} {result['check']:20} {said}".rstrip())
            if options.commands:
                print(f"{'':34} {result['command']}")
    sys.exit(any(result["state"] == "sick" for result in results))


if __name__ == "__main__":
    main()
