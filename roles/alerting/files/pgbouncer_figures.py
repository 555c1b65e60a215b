#!/usr/bin/python3
"""Figures of PgBouncer's console as a file for node_exporter, under the names of prometheus-community's exporter.

That one is in no package registry, and Debian's one asks for columns that PgBouncer 1.8 dropped.

    pgbouncer-figures HOST PORT USER FILE        the password comes from PGPASSFILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2
import psycopg2.extras
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

POOLS = {
    "cl_active": "pgbouncer_pools_client_active_connections",
    "cl_waiting": "pgbouncer_pools_client_waiting_connections",
    "sv_active": "pgbouncer_pools_server_active_connections",
    "sv_idle": "pgbouncer_pools_server_idle_connections",
    "sv_used": "pgbouncer_pools_server_used_connections",
    "maxwait": "pgbouncer_pools_client_maxwait_seconds",
}
LISTS = {"used_clients": "pgbouncer_used_clients", "used_servers": "pgbouncer_used_servers"}
CONFIG = {"max_client_conn": "pgbouncer_config_max_client_connections"}

Row = Mapping[str, Any]


def rows(host: str, port: str, user: str, command: str) -> list[Row]:
    """Answer of one command of the console, which knows no transactions."""
    connection = psycopg2.connect(host=host, port=port, user=user, dbname="pgbouncer", connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(command)
            return list(cursor.fetchall())
    finally:
        connection.close()


def figures(pools: Iterable[Row], lists: Iterable[Row], config: Iterable[Row]) -> CollectorRegistry:
    """Gauges of SHOW POOLS, SHOW LISTS and SHOW CONFIG; the console's own pool is left out."""
    registry = CollectorRegistry()
    gauges = {column: Gauge(name, column, ["database", "user"], registry=registry) for column, name in POOLS.items()}
    for pool in pools:
        if pool["database"] != "pgbouncer":
            for column, gauge in gauges.items():
                gauge.labels(pool["database"], pool["user"]).set(float(pool[column]))
    for answer, key, value, names in ((lists, "list", "items", LISTS), (config, "key", "value", CONFIG)):
        for row in answer:
            if row[key] in names:
                Gauge(names[row[key]], row[key], registry=registry).set(float(row[value]))
    Gauge("pgbouncer_up", "Whether the console answered", registry=registry).set(1)
    return registry


def main() -> None:
    host, port, user, path = sys.argv[1:]
    try:
        answers = [rows(host, port, user, f"SHOW {what}") for what in ("POOLS", "LISTS", "CONFIG")]
        registry = figures(*answers)
    except psycopg2.Error as error:
        print(f"PgBouncer's console did not answer: {str(error).strip()}", file=sys.stderr)
        registry = CollectorRegistry()
        Gauge("pgbouncer_up", "Whether the console answered", registry=registry).set(0)
    write_to_textfile(path, registry)


if __name__ == "__main__":
    main()
