"""The application as its users meet it, and the questions that people ask the logs."""

from __future__ import annotations

import re

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries import ENDPOINT, Query, load, render
from queries.dashboards.panels import LOKI, asked, curve, lines, logql, number, page, rows

_REQUESTS = '{job="nginx"} | path!~"/loki/.*|/v1/traces" | server_name!=""'
_LOGINS = '{job=~"nginx|flask-api"} | action=~"LOGIN|AUTH_FAILED|LOGOUT" or (job="nginx" and path="/api/login")'
_FAILED = (
    '{job=~"nginx|flask-api"} | (job="flask-api" and action="AUTH_FAILED") '
    'or (job="nginx" and method="POST" and path="/api/login" and http_status=~"401|403|429")'
)
# A value of the right type that no query has, and the variable that takes its place.
_STANDS_FOR = {
    "user_id": ("zzuserzz", "user_id"),
    "table": ("zztablezz", "table"),
    "email": ("zzemailzz", "email"),
    "ip": ("203.0.113.250", "ip"),
    "slower_than_ms": ("987654", "slower_than_ms"),
}
_WINDOW = "987653s"


def application() -> Dashboard:
    slow = f'quantile_over_time(0.95, {_REQUESTS} | {ENDPOINT} | unwrap request_duration_ms | __error__="" [$__auto]) by (endpoint)'
    return (
        page(
            "application", "Application", "Rate, errors and duration of every route, as nginx saw them.", since="now-6h"
        )
        .with_panel(
            curve(
                "Requests per second",
                "By route.",
                logql(f"sum by (endpoint) (rate({_REQUESTS} | {ENDPOINT} [$__auto]))", legend="{{endpoint}}"),
                unit="reqps",
                span=24,
            )
        )
        .with_panel(
            curve(
                "Errors",
                "Answers 5xx by route.",
                logql(
                    f"sum by (endpoint) (count_over_time({_REQUESTS} | http_status >= 500 | {ENDPOINT} [$__auto]))",
                    legend="{{endpoint}}",
                ),
            )
        )
        .with_panel(curve("Duration", "95th percentile by route.", logql(slow, legend="{{endpoint}}"), unit="ms"))
        .with_panel(
            curve(
                "Lines of the application",
                "By level.",
                logql('sum by (level) (count_over_time({job="flask-api"} [$__auto]))', legend="{{level}}"),
            )
        )
        .with_panel(
            curve(
                "Answers",
                "By status.",
                logql(f"sum by (http_status) (count_over_time({_REQUESTS} [$__auto]))", legend="{{http_status}}"),
            )
        )
        .with_panel(
            lines(
                "Errors of the application", "Level ERROR and worse.", '{job="flask-api"} | level=~"(?i)error|critical"'
            )
        )
        .with_panel(lines("Answers 5xx", "As nginx sent them.", f"{_REQUESTS} | http_status >= 500"))
    )


def users_and_logins() -> Dashboard:
    return (
        page(
            "users",
            "Users and Logins",
            "Who logs in, who fails, and what one user did.",
            variables=(asked("user_id", "User", ".*", "The application's id of a user"),),
        )
        .with_panel(
            number(
                "Failed logins",
                "As the application or nginx saw them; different counts are a finding.",
                logql(f"sum(count_over_time({_FAILED} [$__range]))", instant=True),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            number(
                "Active users",
                "Users in the requests that nginx passed on.",
                logql(
                    'count(sum by (user_id) (count_over_time({job="nginx"} | user_id!="" [$__range])))', instant=True
                ),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            curve(
                "Logins",
                "Answers to /api/login by status.",
                logql(
                    'sum by (http_status) (count_over_time({job="nginx"} | path="/api/login" [$__auto]))',
                    legend="{{http_status}}",
                ),
                span=24,
            )
        )
        .with_panel(
            curve(
                "Failed logins by address",
                "The ten busiest.",
                logql(f"topk(10, sum by (ip_address) (count_over_time({_FAILED} [$__auto])))", legend="{{ip_address}}"),
            )
        )
        .with_panel(
            curve(
                "Busiest users",
                "Requests, the ten busiest.",
                logql(
                    'topk(10, sum by (user_id) (count_over_time({job="nginx"} | user_id=~".+" | user_id=~"$user_id" [$__auto])))',
                    legend="{{user_id}}",
                ),
            )
        )
        .with_panel(lines("Logins, line by line", "Application and nginx.", _LOGINS))
        .with_panel(
            lines(
                "What the user did",
                "Every witness, newest first.",
                '{job=~"nginx|frontend|flask-api|postgres|postgres-audit"} | user_id=~".+" | user_id=~"$user_id"',
                height=14,
            )
        )
    )


def log_explorer() -> Dashboard:
    known = load()
    parameters = {name: parameter for query in known.values() for name, parameter in query.parameters.items()}
    asking = tuple(
        asked(variable, variable.replace("_", " "), parameters[name].default, parameters[name].means)
        for name, (_, variable) in _STANDS_FOR.items()
    )
    board = page(
        "log-explorer", "Log Explorer", "The eight forensic questions; write the values above.", variables=asking
    )
    for query in known.values():
        board = board.with_panel(_panel(query))
    return board.with_panel(lines("All lines", "Everything that is kept of the chosen time.", '{job=~".+"}', height=14))


def expression(query: Query) -> str:
    """A forensic query with Grafana's variables where its values were."""
    values = {name: stand for name, (stand, _) in _STANDS_FOR.items() if name in query.parameters}
    text = render(query, values, window=_WINDOW)
    for stand, variable in _STANDS_FOR.values():
        text = re.sub(f'"([^"`]*){stand}([^"`]*)"', rf'"\g<1>${{{variable}}}\g<2>"', text)
        # What is left stands in a regular expression, or is a number.
        text = text.replace(stand, f"${{{variable}}}" if stand.isdigit() else f"${{{variable}:regex}}")
    return text.replace(_WINDOW, "$__range")


def _panel(query: Query) -> object:
    title, why = f"{query.id}. {query.title}", f"tools/query {query.id} asks the same."
    if query.shape == "log":
        return lines(title, why, expression(query))
    if query.shape == "curve":
        return curve(title, why, logql(expression(query)), span=24)
    return rows(title, why, logql(expression(query), instant=True), source=LOKI)
