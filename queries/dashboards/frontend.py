"""What people did and saw in their browsers, as the browser says: claims, until nginx or the database agree."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import LOKI, asked, curve, lines, logql, number, page, rows, words

SESSION = asked("session", "Session", ".*", "A browser_session_id, as the incident page and the log lines show it")
_EVENTS = '{job="frontend"} | browser_session_id=~"$session"'
_ERRORS = f'{_EVENTS} | action=~"ERROR|UNHANDLED_REJECTION"'


def frontend_and_replay() -> Dashboard:
    return (
        page(
            "frontend",
            "Frontend and Replay",
            "Clicks, requests and errors of browsers, and the way to their recordings.",
            since="now-6h",
            variables=(SESSION,),
        )
        .with_panel(
            words(
                "A recording is found by its `browser_session_id`: the [incident page](/logs/incident/) links it beside "
                "the click, and the player shows the log lines as it plays."
            )
        )
        .with_panel(
            number(
                "Sessions",
                "Browser tabs that sent anything.",
                logql(f"count(sum by (browser_session_id) (count_over_time({_EVENTS} [$__range])))", instant=True),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            number(
                "Errors in the browser",
                "Exceptions and promises that nobody caught.",
                logql(f"sum(count_over_time({_ERRORS} [$__range]))", instant=True),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            curve(
                "Events",
                "By kind.",
                logql(f"sum by (action) (count_over_time({_EVENTS} [$__auto]))", legend="{{action}}"),
            )
        )
        .with_panel(
            curve(
                "Duration of requests",
                "95th percentile by path, as the browser waited for it.",
                logql(
                    f'topk(10, quantile_over_time(0.95, {_EVENTS} | action="REQUEST" | unwrap request_duration_ms '
                    '| __error__="" [$__auto]) by (path))',
                    legend="{{path}}",
                ),
                unit="ms",
            )
        )
        .with_panel(
            rows(
                "Busiest sessions",
                "Events of each; the twenty busiest.",
                logql(
                    f"topk(20, sum by (browser_session_id, user_id) (count_over_time({_EVENTS} [$__range])))",
                    instant=True,
                ),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(
            rows(
                "Recordings that were watched",
                "Who asked for which recording: watching people is itself on record.",
                logql(
                    'sum by (user_id, path) (count_over_time({job="nginx"} | action="REPLAY_READ" [$__range]))',
                    instant=True,
                ),
                source=LOKI,
                span=12,
            )
        )
        .with_panel(lines("Errors, line by line", "Newest first.", _ERRORS))
        .with_panel(
            lines("The session, line by line", "Of all sessions, or of the one named above.", _EVENTS, height=14)
        )
    )
