"""Incident Analysis: everything that happened, in time order, narrowed by one word."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import (
    JAEGER,
    LOKI,
    MIXED,
    Built,
    TraceQuery,
    asked,
    curve,
    lines,
    logql,
    number,
    page,
    rows,
    sql,
    transformed,
    words,
)

# One word narrows all: an id of an action, a trace or a user, a table, a role. Without one it is .*, which fits all.
FIND = asked("find", "Correlation id, trace, user or table", ".*", "A whole value, or a regular expression")
_NAMES = ("correlation_id", "trace_id", "user_id", "target_user", "table_name", "db_user", "email")
FOUND = " or ".join(f'{name}=~"$find"' for name in _NAMES)
_EVENTS = '{job=~"nginx|frontend|flask-api|pgbouncer|postgres|postgres-audit"}'
# What each witness says, in one line of the same form.
_SAID = (
    "line_format `{{ .job }} | "
    "{{ if .db_user }}{{ .db_user }}{{ else if .email }}{{ .email }}{{ else }}{{ .user_id }}{{ end }}"
    "{{ with .ip_address }} from {{ . }}{{ end }}{{ with .client_addr }} from {{ . }}{{ end }} | "
    "{{ .action }} {{ .method }} {{ .path }} {{ .http_status }} {{ .statement | trunc 300 }}"
    "{{ with .action_reason }} because: {{ . }}{{ end }}`"
)

# Rows of the vault that fit the same word.
_FITS = """(coalesce(t.table_name, '') ~ ('^(' || ${find:sqlstring} || ')$') OR coalesce(t.db_user, '') ~ ('^(' || ${find:sqlstring} || ')$')
  OR coalesce(vault.as_json(t.ctx) ->> 'uid', '') ~ ('^(' || ${find:sqlstring} || ')$')
  OR coalesce(vault.as_json(t.ctx) ->> 'cid', '') ~ ('^(' || ${find:sqlstring} || ')$')
  OR coalesce(split_part(vault.as_json(t.ctx) ->> 'tp', '-', 2), '') ~ ('^(' || ${find:sqlstring} || ')$'))"""
_TRANSACTIONS = f"FROM vault.transactions t WHERE $__timeFilter(t.commit_at) AND {_FITS}"


def incident_analysis() -> Dashboard:
    board = page(
        "incident-analysis",
        "Incident Analysis",
        "What happened, in time order, across nginx, browser, application, pooler, SQL, audit, vault and traces.",
        since="now-1h",
        variables=(FIND,),
    )
    lost = f"""SELECT coalesce(sum(c.rows), 0) AS rows FROM vault.changes c JOIN vault.transactions t USING (tx)
      WHERE c.op IN ('D', 'T', 'X') AND $__timeFilter(t.commit_at) AND {_FITS}"""
    return (
        board.with_panel(
            words(
                "**Who wiped it?** [The incident page](/logs/incident/) gives the verdict, the rows and the undo. "
                "Here is all the evidence: choose the time, and write an id, a user or a table above."
            )
        )
        .with_panel(number("Rows lost", "Deleted, truncated or dropped, as the vault has them.", sql(lost)))
        .with_panel(
            number(
                "Transactions that changed data",
                "Seen by the vault.",
                sql(f"SELECT count(*) AS transactions {_TRANSACTIONS}"),
            )
        )
        .with_panel(
            number(
                "Findings",
                "Of capture and vault: forged contexts, vetoes, mass changes, gaps.",
                sql("SELECT count(*) AS findings FROM vault.finding WHERE $__timeFilter(at)"),
            )
        )
        .with_panel(
            number(
                "Errors of the server",
                "Answers 5xx, counted by nginx.",
                logql(
                    f'sum(count_over_time({{job="nginx"}} | http_status >= 500 | __error__="" | {FOUND} [$__range]))',
                    instant=True,
                ),
                source=LOKI,
            )
        )
        .with_panel(
            curve(
                "Events by witness",
                "How many lines each daemon wrote; a burst shows when it happened.",
                logql(f"sum by (job) (count_over_time({_EVENTS} | {FOUND} [$__auto]))", legend="{{job}}"),
                span=24,
            )
        )
        .with_panel(
            rows(
                "Everything in time order",
                "nginx, browser, application, pooler, SQL and audit lines (Loki) and committed transactions (vault).",
                logql(f"{_EVENTS} | {FOUND} | {_SAID}", ref="logs"),
                sql(
                    f"""SELECT t.commit_at AS "Time", 'vault | ' || coalesce(t.db_user, 'unknown') || ' | ' || coalesce(t.command, 'changed')
                      || ' ' || coalesce(t.table_name, '') || ' ' || left(coalesce(t.statement, ''), 300) AS "Line",
                      vault.as_json(t.ctx) ->> 'cid' AS correlation_id, split_part(vault.as_json(t.ctx) ->> 'tp', '-', 2) AS trace_id,
                      vault.as_json(t.ctx) ->> 'uid' AS user_id {_TRANSACTIONS} ORDER BY t.commit_at DESC LIMIT 500""",
                    ref="vault",
                ),
                height=16,
                source=MIXED,
            )
            .with_transformation(transformed("extractFields", source="labels", format="json", replace=False))
            .with_transformation(transformed("merge"))
            .with_transformation(
                transformed(
                    "filterFieldsByName", include={"names": ["Time", "Line", "correlation_id", "trace_id", "user_id"]}
                )
            )
            .with_transformation(transformed("sortBy", fields={}, sort=[{"field": "Time", "desc": True}]))
        )
        .with_panel(
            rows(
                "What the vault keeps of it",
                "Committed transactions with their rows: who, from where, which statement, why.",
                sql(
                    f"""SELECT t.commit_at AS time, t.tx, t.db_user, vault.as_json(t.ctx) ->> 'uid' AS user_id, host(t.client_addr) AS client_addr,
                      t.command, t.table_name, (SELECT sum(c.rows) FROM vault.changes c WHERE c.tx = t.tx) AS rows, t.reason,
                      t.statement, vault.as_json(t.ctx) ->> 'cid' AS correlation_id {_TRANSACTIONS} ORDER BY t.commit_at DESC LIMIT 200"""
                ),
            )
        )
        .with_panel(
            rows(
                "Traces",
                "Requests of the application from the click to the SQL statement.",
                Built(TraceQuery("tovplay-backend", "")),
                source=JAEGER,
                links=False,
            )
        )
        .with_panel(
            lines("Lines as they were written", "Open a line for all of its fields.", f"{_EVENTS} | {FOUND}", height=14)
        )
    )
