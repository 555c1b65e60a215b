"""PostgreSQL and the pooler in front of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import PROMETHEUS, curve, lines, logql, number, page, promql, rows, sql

_REFUSED = '{job="postgres"} | sqlstate=~"28.*|3D000|53300|42501"'


def database() -> Dashboard:
    return (
        page("database", "Database and Sessions", "Who is connected, what is slow, what fails.", since="now-6h")
        .with_panel(number("PostgreSQL", "1: it answers.", promql("min(pg_up)", "up"), source=PROMETHEUS))
        .with_panel(
            number(
                "Connections in use",
                "Of max_connections.",
                promql("100 * sum(pg_stat_activity_count) / max(pg_settings_max_connections)", "used"),
                unit="percent",
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Longest transaction",
                "Of the application's and people's sessions.",
                promql('max(pg_stat_activity_max_tx_duration{usename!~"audit_replicator|postgres"})', "seconds"),
                unit="s",
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Slots without a reader",
                "A slot that nobody reads keeps WAL until the disk is full.",
                promql("count(pg_replication_slot_slot_is_active == 0) or vector(0)", "slots"),
                source=PROMETHEUS,
            )
        )
        .with_panel(curve("Sessions", "By state.", promql("sum by (state) (pg_stat_activity_count)", "{{state}}")))
        .with_panel(
            curve(
                "Errors",
                "By PostgreSQL's code.",
                logql(
                    'sum by (sqlstate) (count_over_time({job="postgres"} | level=~"ERROR|FATAL|PANIC" [$__auto]))',
                    legend="{{sqlstate}}",
                ),
            )
        )
        .with_panel(
            curve(
                "Statements by role",
                "As pgaudit saw them.",
                logql('sum by (db_user) (count_over_time({job="postgres-audit"} [$__auto]))', legend="{{db_user}}"),
            )
        )
        .with_panel(
            curve(
                "Slowest statements",
                "Those that PostgreSQL found worth a line, 99th percentile.",
                logql(
                    'quantile_over_time(0.99, {job="postgres"} | duration_ms > 0 | unwrap duration_ms | __error__="" [$__auto]) by (db_user)',
                    legend="{{db_user}}",
                ),
                unit="ms",
            )
        )
        .with_panel(
            rows(
                "Sessions that wrote",
                "Sessions of the chosen time, with what the vault knows of them.",
                sql(
                    """SELECT min(t.commit_at) AS first, max(t.commit_at) AS last, t.db_user, host(t.client_addr) AS client_addr,
                      t.application_name, t.pg_session_id, count(*) AS transactions
                      FROM vault.transactions t WHERE $__timeFilter(t.commit_at) GROUP BY 3, 4, 5, 6 ORDER BY last DESC LIMIT 100"""
                ),
            )
        )
        .with_panel(lines("Refused", "Wrong passwords, missing rights, no connection left.", _REFUSED))
        .with_panel(
            lines("Errors of statements", "ERROR, FATAL, PANIC.", '{job="postgres"} | level=~"ERROR|FATAL|PANIC"')
        )
    )


def pgbouncer() -> Dashboard:
    waiting = "sum by (database, user) (pgbouncer_pools_client_waiting_connections)"
    return (
        page(
            "pgbouncer",
            "PgBouncer",
            "A thousand clients on 25 server connections: who waits, who is refused.",
            since="now-6h",
        )
        .with_panel(
            number("PgBouncer", "1: its console answers.", promql("min(pgbouncer_up)", "up"), source=PROMETHEUS)
        )
        .with_panel(
            number(
                "Clients",
                "Of max_client_conn.",
                promql("100 * max(pgbouncer_used_clients) / max(pgbouncer_config_max_client_connections)", "used"),
                unit="percent",
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Longest wait",
                "Of a client for a server connection.",
                promql("max(pgbouncer_pools_client_maxwait_seconds)", "wait"),
                unit="s",
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Server connections",
                "In use.",
                promql("sum(pgbouncer_pools_server_active_connections)", "active"),
                source=PROMETHEUS,
            )
        )
        .with_panel(
            curve(
                "Clients by pool",
                "Active and waiting.",
                promql("sum by (database, user) (pgbouncer_pools_client_active_connections)", "{{user}} active"),
                promql(waiting, "{{user}} waits", ref="B"),
            )
        )
        .with_panel(
            curve(
                "Server connections by pool",
                "Active and idle.",
                promql("sum by (database, user) (pgbouncer_pools_server_active_connections)", "{{user}} active"),
                promql("sum by (database, user) (pgbouncer_pools_server_idle_connections)", "{{user}} idle", ref="B"),
            )
        )
        .with_panel(
            curve(
                "Logins",
                "Attempts by user, from the pooler's log.",
                logql(
                    'sum by (db_user) (count_over_time({job="pgbouncer"} |= `login attempt` [$__auto]))',
                    legend="{{db_user}}",
                ),
            )
        )
        .with_panel(
            curve(
                "Warnings and errors",
                "By level.",
                logql(
                    'sum by (level) (count_over_time({job="pgbouncer"} | level=~"WARNING|ERROR|FATAL" [$__auto]))',
                    legend="{{level}}",
                ),
            )
        )
        .with_panel(lines("The pooler's log", "Each login and refusal.", '{job="pgbouncer"}'))
    )
