"""The platform about itself: is the chain of evidence whole, and how far back does it reach?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import LOKI, PROMETHEUS, curve, lines, logql, number, page, promql, rows, sql


def _age(title: str, why: str, when: str, table: str) -> stat.Panel:
    """Seconds since `when`, a column or aggregate of `table` in the vault."""
    return number(title, why, sql(f"SELECT extract(epoch FROM now() - {when}) AS seconds FROM {table}"), unit="s")


def platform_health() -> Dashboard:
    return (
        page("platform-health", "Platform Health", "The chain of evidence, hop by hop.", since="now-6h")
        .with_panel(
            number(
                "Daemons that answer",
                "Of those that Prometheus asks.",
                promql("100 * avg(up)", "up"),
                unit="percent",
                source=PROMETHEUS,
            )
        )
        .with_panel(
            _age(
                "Heartbeat of production",
                "Since the vault last heard of it; it comes every few seconds.",
                "max(received_at)",
                "audit.heartbeat",
            )
        )
        .with_panel(_age("Last seal", "Since the vault sealed what it has.", "max(at)", "vault.seal"))
        .with_panel(
            number(
                "Lines that no format fits",
                "They are complete, but have no fields.",
                logql('sum(count_over_time({job=~".+"} | parse_error!="" [$__range]))', instant=True),
                source=LOKI,
            )
        )
        .with_panel(
            curve(
                "Hop 1: lines",
                "That Loki took, by source.",
                logql('sum by (job) (count_over_time({job=~".+"} [$__auto]))', legend="{{job}}"),
                span=24,
            )
        )
        .with_panel(
            curve(
                "Hop 2: waiting in the shippers",
                "Share of each queue on disk.",
                promql(
                    "100 * sum by (host) (otelcol_exporter_queue_size) / sum by (host) (otelcol_exporter_queue_capacity)",
                    "{{host}}",
                ),
                unit="percent",
            )
        )
        .with_panel(
            curve(
                "Hop 3: refused by Loki",
                "Lines that it discarded, by reason.",
                promql("sum by (reason) (increase(loki_discarded_samples_total[$__rate_interval]))", "{{reason}}"),
            )
        )
        .with_panel(
            curve(
                "Hop 4: the vault's lag",
                "WAL that it has yet to apply.",
                promql("max(tovplay_vault_lag_bytes)", "lag"),
                unit="bytes",
            )
        )
        .with_panel(
            curve(
                "Hop 5: alarms of the vault",
                "1: it is raised.",
                promql("max by (kind) (tovplay_vault_alarm)", "{{kind}}"),
            )
        )
        .with_panel(
            curve(
                "Hop 6: messages that wait for Discord",
                "Age of the oldest one.",
                promql("max(tovplay_notifier_oldest_seconds)", "oldest"),
                unit="s",
            )
        )
        .with_panel(
            curve(
                "Free space",
                "Of each file system.",
                promql(
                    "100 * min by (host, mountpoint) (node_filesystem_avail_bytes / node_filesystem_size_bytes)",
                    "{{host}} {{mountpoint}}",
                ),
                unit="percent",
            )
        )
        .with_panel(
            curve("Endpoints", "1: it answers over TLS.", promql("min by (instance) (probe_success)", "{{instance}}"))
        )
        .with_panel(
            curve(
                "Certificates",
                "Days that are left.",
                promql("min by (instance) (probe_ssl_earliest_cert_expiry - time()) / 86400", "{{instance}}"),
                unit="d",
            )
        )
        .with_panel(
            rows(
                "Gaps and epochs",
                "Times of which the vault has no history, and productions that it followed.",
                sql(
                    """SELECT noted_at AS time, 'gap' AS what, kind AS why, from_at, to_at FROM vault.gap UNION ALL
                      SELECT started_at, 'epoch', reason, started_at, NULL FROM vault.epoch ORDER BY time DESC LIMIT 100"""
                ),
            )
        )
        .with_panel(
            lines(
                "What the daemons say",
                "Warnings and errors of the platform itself.",
                '{job="docker", log_class="platform"} |~ `(?i)\\b(warn|error|fatal)`',
            )
        )
    )


def capacity() -> Dashboard:
    classes = "audit|database|pooler|application|nginx|platform|container|debug"
    return (
        page(
            "capacity",
            "Capacity and Retention",
            "How much comes in, and how far back the evidence reaches.",
            since="now-7d",
        )
        .with_panel(
            curve(
                "Bytes by class",
                "What Loki took; 90 days are kept of evidence, 30 of the platform's own, 7 of debug.",
                logql(
                    f'sum by (log_class) (bytes_over_time({{log_class=~"{classes}"}} [$__auto]))',
                    legend="{{log_class}}",
                ),
                unit="bytes",
                span=24,
            )
        )
        .with_panel(
            rows(
                "Oldest that the vault holds",
                "First and last change of each table.",
                sql(
                    """SELECT c.table_name, min(t.commit_at) AS oldest, max(t.commit_at) AS newest, sum(c.rows) AS rows
                      FROM vault.changes c JOIN vault.transactions t USING (tx) GROUP BY 1 ORDER BY 1"""
                ),
            )
        )
        .with_panel(
            curve(
                "Rows in the vault",
                "New ones.",
                sql(
                    """SELECT $__timeGroupAlias(at, $__interval), sum(rows) AS rows FROM vault.seal
                      WHERE $__timeFilter(at) GROUP BY 1 ORDER BY 1""",
                    "time_series",
                ),
            )
        )
        .with_panel(
            curve(
                "Disk",
                "Free space of each host.",
                promql("min by (host, mountpoint) (node_filesystem_avail_bytes)", "{{host}} {{mountpoint}}"),
                unit="bytes",
            )
        )
    )
