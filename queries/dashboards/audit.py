"""Who changes what, and what the guard stopped."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import asked, curve, lines, logql, number, page, rows, sql

TABLE = asked("table", "Table", ".*", "A table, or a regular expression")
_IN_TABLE = "coalesce(table_name, '') ~ ('^(' || ${table:sqlstring} || ')$')"
_WRITES = '{job="postgres-audit"} | audit_class=~"WRITE|DDL|ROLE"'
# Statements that take whole tables, and those without a WHERE.
_WIPES = (
    '{job="postgres-audit"} | action=~"TRUNCATE TABLE|DROP (TABLE|SCHEMA|DATABASE)" '
    'or (action=~"DELETE|UPDATE" and statement!~`(?is).*\\bwhere\\b.*`)'
)


def audit_trail() -> Dashboard:
    return (
        page(
            "audit-trail",
            "Audit Trail",
            "Who changes what: rows in the vault, statements in the audit log.",
            variables=(TABLE,),
        )
        .with_panel(
            curve(
                "Changed rows by table",
                "As the vault keeps them.",
                sql(
                    f"""SELECT $__timeGroupAlias(t.commit_at, $__interval), c.table_name AS metric, sum(c.rows) AS rows
                      FROM vault.changes c JOIN vault.transactions t USING (tx)
                      WHERE $__timeFilter(t.commit_at) AND {_IN_TABLE.replace("table_name", "c.table_name")} GROUP BY 1, 2 ORDER BY 1""",
                    "time_series",
                ),
            )
        )
        .with_panel(
            curve(
                "Audited statements",
                "By class, as PostgreSQL saw them begin; attempts that failed are among them.",
                logql(f"sum by (audit_class) (count_over_time({_WRITES} [$__auto]))", legend="{{audit_class}}"),
            )
        )
        .with_panel(
            rows(
                "Who changed how much",
                "Rows by person, role and table.",
                sql(
                    f"""SELECT coalesce(vault.as_json(t.ctx) ->> 'uid', '') AS user_id, t.db_user, c.table_name,
                      CASE c.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' WHEN 'T' THEN 'TRUNCATE' ELSE 'DROP' END AS action,
                      sum(c.rows) AS rows, max(t.commit_at) AS last
                      FROM vault.changes c JOIN vault.transactions t USING (tx)
                      WHERE $__timeFilter(t.commit_at) AND {_IN_TABLE.replace("table_name", "c.table_name")}
                      GROUP BY 1, 2, 3, 4 ORDER BY rows DESC LIMIT 100"""
                ),
            )
        )
        .with_panel(
            rows(
                "Row by row",
                "The last changed rows. Before-images are for investigators: whodunit shows them.",
                sql(
                    f"""SELECT "timestamp" AS time, action, table_name, user_name AS db_user, app_user AS user_id, ip_address, statement,
                      correlation_id, trace_id FROM vault.audit_log
                      WHERE $__timeFilter("timestamp") AND {_IN_TABLE} ORDER BY audit_id DESC LIMIT 200"""
                ),
            )
        )
        .with_panel(
            rows(
                "Changes of the schema",
                "DDL in the order in which production did it.",
                sql(
                    """SELECT at AS time, tag, object_type, object_name, db_user, host(client_addr) AS client_addr, reason, statement
                      FROM audit.ddl WHERE $__timeFilter(at) ORDER BY id DESC LIMIT 100"""
                ),
            )
        )
        .with_panel(
            lines(
                "Statements",
                "pgaudit's own lines.",
                f'{_WRITES} | table_name=~"$table" or action=~"TRUNCATE TABLE|DROP.*"',
            )
        )
    )


def wipe_guard() -> Dashboard:
    return (
        page(
            "wipe-guard",
            "Wipe Guard",
            "Mass changes, TRUNCATE and DROP: what was done, tried and stopped.",
            since="now-7d",
        )
        .with_panel(
            number(
                "Rows lost",
                "Deleted, truncated or dropped.",
                sql(
                    """SELECT coalesce(sum(c.rows), 0) AS rows FROM vault.changes c JOIN vault.transactions t USING (tx)
                      WHERE c.op IN ('D', 'T', 'X') AND $__timeFilter(t.commit_at)"""
                ),
            )
        )
        .with_panel(
            number(
                "Critical findings",
                "Of capture and vault.",
                sql("SELECT count(*) AS findings FROM vault.finding WHERE severity = 'critical' AND $__timeFilter(at)"),
            )
        )
        .with_panel(
            number(
                "Gaps",
                "Times of which the vault has no history.",
                sql("SELECT count(*) AS gaps FROM vault.gap WHERE $__timeFilter(noted_at)"),
            )
        )
        .with_panel(
            number(
                "Sealed up to",
                "Seconds since the last seal; five is usual.",
                sql("SELECT extract(epoch FROM now() - max(at)) AS seconds FROM vault.seal"),
                unit="s",
            )
        )
        .with_panel(
            curve(
                "Statements that take everything",
                "TRUNCATE, DROP, and DELETE or UPDATE without WHERE, tried or done.",
                logql(
                    f"sum by (action, db_user) (count_over_time({_WIPES} [$__auto]))",
                    legend="{{action}} by {{db_user}}",
                ),
                span=24,
            )
        )
        .with_panel(
            rows(
                "Findings",
                "Vetoes, breaks of glass, forged contexts, drift, gaps.",
                sql(
                    """SELECT at AS time, source, severity, kind, db_user, host(client_addr) AS client_addr, reason, detail::text AS detail
                      FROM vault.finding WHERE $__timeFilter(at) ORDER BY at DESC LIMIT 200"""
                ),
            )
        )
        .with_panel(
            rows(
                "Largest losses",
                "Transactions by the rows that they took.",
                sql(
                    """SELECT t.commit_at AS time, t.tx, t.db_user, vault.as_json(t.ctx) ->> 'uid' AS user_id, host(t.client_addr) AS client_addr,
                      string_agg(DISTINCT c.table_name, ', ') AS tables, sum(c.rows) AS rows, t.reason, t.statement
                      FROM vault.changes c JOIN vault.transactions t USING (tx)
                      WHERE c.op IN ('D', 'T', 'X') AND $__timeFilter(t.commit_at)
                      GROUP BY 1, 2, 3, 4, 5, 8, 9 ORDER BY rows DESC LIMIT 50"""
                ),
            )
        )
        .with_panel(lines("What was tried", "Each such statement, also those that failed.", _WIPES))
    )
