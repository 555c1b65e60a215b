"""Where the time of a request goes: from nginx to the SQL statement."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries import ENDPOINT
from queries.dashboards.panels import JAEGER, LOKI, Built, TraceQuery, asked, curve, lines, logql, page, promql, rows

SLOWER = asked("slower_than_ms", "Slower than (ms)", "500", "Milliseconds from which a request or statement is slow")
TRACE = asked("trace", "Trace", ".*", "A trace id, to read every line of one trace")
_TRACED = '{job="nginx"} | trace_id!="" | path!~"/loki/.*|/v1/traces"'
_TIMED = f'{_TRACED} | {ENDPOINT} | unwrap request_duration_ms | __error__=""'


def traces() -> Dashboard:
    return (
        page(
            "traces",
            "Traces and Slow Requests",
            "Which requests are slow, and where their time goes.",
            since="now-6h",
            variables=(SLOWER, TRACE),
        )
        .with_panel(
            curve(
                "Half of the requests are faster than",
                "Median by route, as nginx measured it.",
                logql(f"quantile_over_time(0.5, {_TIMED} [$__auto]) by (endpoint)", legend="{{endpoint}}"),
                unit="ms",
            )
        )
        .with_panel(
            curve(
                "All but one of a hundred are faster than",
                "99th percentile by route, as nginx measured it.",
                logql(f"quantile_over_time(0.99, {_TIMED} [$__auto]) by (endpoint)", legend="{{endpoint}}"),
                unit="ms",
            )
        )
        .with_panel(
            rows(
                "Slowest routes",
                "The longest request of each, in milliseconds; the ten slowest.",
                logql(f"topk(10, max_over_time({_TIMED} [$__range]) by (endpoint))", instant=True),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            curve(
                "Spans that Jaeger takes",
                "Per second; none while requests come in means that traces are lost.",
                promql("sum(rate(otelcol_receiver_accepted_spans_total[$__rate_interval]))", "taken"),
                promql("sum(rate(otelcol_receiver_refused_spans_total[$__rate_interval]))", "refused", ref="B"),
                height=10,
            )
        )
        .with_panel(
            rows(
                "Latest traces",
                "Requests of the application from the click to the SQL statement.",
                Built(TraceQuery("tovplay-backend", "")),
                source=JAEGER,
                links=False,
            )
        )
        .with_panel(
            rows(
                "Traces with an error",
                "Those in which a span failed.",
                Built(TraceQuery("tovplay-backend", '{"error":"true"}')),
                source=JAEGER,
                links=False,
            )
        )
        .with_panel(
            lines(
                "Slow requests",
                "A line opens its trace.",
                f'{_TRACED} | request_duration_ms > ${{slower_than_ms}} | __error__=""',
            )
        )
        .with_panel(
            lines(
                "Slow statements",
                "PostgreSQL logs those that take longer than its own threshold.",
                '{job="postgres"} | duration_ms > ${slower_than_ms} | __error__=""',
            )
        )
        .with_panel(
            lines(
                "Every line of the trace",
                "Browser, nginx, application and SQL: of all traces, or of the one named above.",
                '{job=~"nginx|frontend|flask-api|postgres|postgres-audit"} | trace_id=~".+" | trace_id=~"$trace"',
                height=14,
            )
        )
    )
