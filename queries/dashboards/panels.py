"""The few kinds of panel that all dashboards are made of, on top of Grafana's own SDK."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import logs, loki, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    LogsSortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

LOKI = DataSourceRef("loki", "loki")
PROMETHEUS = DataSourceRef("prometheus", "prometheus")
JAEGER = DataSourceRef("jaeger", "jaeger")
VAULT = DataSourceRef("grafana-postgresql-datasource", "vault")
MIXED = DataSourceRef("mixed", "-- Mixed --")

TAG = "tovplay"
# A log line opens everything that has the same id.
INCIDENT = "/d/incident-analysis/?from=${__from}&to=${__to}&var-find=${__value.raw}"
LINKED = ("correlation_id", "trace_id", "user_id", "table_name")


class SqlQuery(Dataquery):
    """A query of the PostgreSQL data source, which the SDK does not have."""

    def __init__(self, sql: str, form: str) -> None:
        self.sql, self.form, self.ref_id, self.datasource = " ".join(sql.split()), form, "A", VAULT

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "format": self.form,
            "rawQuery": True,
            "editorMode": "code",
            "rawSql": self.sql,
        }


class TraceQuery(Dataquery):
    """A search in Jaeger, which the SDK does not have either."""

    def __init__(self, service: str, tags: str) -> None:
        self.service, self.tags, self.ref_id, self.datasource = service, tags, "A", JAEGER

    def to_json(self) -> dict[str, Any]:
        search = {"queryType": "search", "service": self.service, "tags": self.tags, "limit": 50}
        return {"refId": self.ref_id, "datasource": self.datasource, **search}


class Built(Builder[Dataquery]):
    """A query that needs no building."""

    def __init__(self, query: Dataquery) -> None:
        self.query = query

    def build(self) -> Dataquery:
        return self.query


def sql(statement: str, form: str = "table", ref: str = "A") -> Built:
    query = SqlQuery(statement, form)
    query.ref_id = ref
    return Built(query)


def logql(
    expression: str, *, legend: str = "", instant: bool = False, ref: str = "A", lines: int = 500
) -> loki.Dataquery:
    query = loki.Dataquery().ref_id(ref).datasource(LOKI).expr(expression.strip()).max_lines(lines)
    query = query.query_type("instant" if instant else "range")
    return query.legend_format(legend) if legend else query


def promql(expression: str, legend: str, ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(ref).datasource(PROMETHEUS).expr(expression).legend_format(legend).range()


def now(expression: str, ref: str = "A") -> prometheus.Dataquery:
    """PromQL of this moment, a row a series."""
    query = prometheus.Dataquery().ref_id(ref).datasource(PROMETHEUS).expr(expression)
    return query.instant().format(PromQueryFormat.TABLE)


def lines(title: str, why: str, expression: str, *, height: int = 10, span: int = 24) -> logs.Panel:
    """Log lines, newest first, with their fields a click away."""
    return (
        logs.Panel()
        .title(title)
        .description(why)
        .datasource(LOKI)
        .with_target(logql(expression))
        .height(height)
        .span(span)
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(LogsSortOrder.DESCENDING)
    )


def curve(
    title: str, why: str, *queries: Any, unit: str = "short", height: int = 8, span: int = 12
) -> timeseries.Panel:
    """Figures over time; `queries` are of one data source."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(why)
        .unit(unit)
        .min(0)
        .height(height)
        .span(span)
        .fill_opacity(10)
        .datasource(queries[0].build().datasource)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for query in queries:
        panel = panel.with_target(query)
    return panel


def rows(
    title: str,
    why: str,
    *queries: Any,
    height: int = 10,
    span: int = 24,
    source: DataSourceRef = VAULT,
    links: bool = True,
) -> table.Panel:
    """A table; columns that carry an id open everything with that id."""
    panel = table.Panel().title(title).description(why).datasource(source).height(height).span(span).filterable(True)
    for query in queries:
        panel = panel.with_target(query)
    if links:
        for name in LINKED:
            link = {"title": "Everything with this", "url": INCIDENT}
            panel = panel.override_by_name(name, [DynamicConfigValue("links", [link])])
    return panel


def number(
    title: str, why: str, query: Any, *, unit: str = "short", source: DataSourceRef = VAULT, span: int = 6
) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(why)
        .datasource(source)
        .with_target(query)
        .unit(unit)
        .height(4)
        .span(span)
        .no_value("0")
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def words(content: str, *, height: int = 3) -> text.Panel:
    return text.Panel().title("").description("What this page is for.").content(content).height(height).span(24)


def transformed(name: str, **options: Any) -> DataTransformerConfig:
    return DataTransformerConfig(id_val=name, options=options)


def asked(name: str, label: str, default: str, why: str) -> dashboards.TextBoxVariable:
    return dashboards.TextBoxVariable(name).label(label).default_value(default).description(why)


def page(
    uid: str, title: str, why: str, *, since: str = "now-24h", variables: tuple[Any, ...] = ()
) -> dashboards.Dashboard:
    """An empty dashboard with the range, the links to the others, and the marks of incidents and deploys."""
    board = (
        dashboards.Dashboard(title)
        .uid(uid)
        .description(why)
        .tags([TAG])
        .time(since, "now")
        .timezone("browser")
        .refresh("")
        .readonly()
        .link(
            dashboards.DashboardLink("TovPlay")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(False)
        )
        .link(dashboards.DashboardLink("Incidents: who, and undo").type(DashboardLinkType.LINK).url("/logs/incident/"))
        .annotation(
            _marks("Incidents", "red", '{job="postgres-audit"} | action=~"TRUNCATE TABLE|DROP (TABLE|SCHEMA|DATABASE)"')
        )
        .annotation(
            _marks("Deploys", "blue", '{job="postgres-audit"} | audit_class="DDL" | action=~"(CREATE|ALTER) TABLE"')
        )
    )
    for variable in variables:
        board = board.with_variable(variable)
    return board


def _marks(name: str, colour: str, expression: str) -> dashboards.AnnotationQuery:
    marks = dashboards.AnnotationQuery().name(name).datasource(LOKI).enable(True).icon_color(colour)
    return marks.expr(expression)
