"""What is wrong now, what was, and whether anybody was told."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from queries.dashboards.panels import PROMETHEUS, curve, lines, now, number, page, promql, rows

_FIRING = 'ALERTS{alertstate="firing", alertname!~"Watchdog|LogWatchdog"}'


def alerts() -> Dashboard:
    return (
        page("alerts", "Alerts", "What is wrong now, what was, and whether anybody was told.", since="now-24h")
        .with_panel(
            number(
                "Alerts now",
                "Of figures and of logs, as Alertmanager has them; the watchdogs, which always fire, are among them.",
                promql('sum(alertmanager_alerts{state="active"})', "active"),
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Silenced",
                "Somebody asked not to be told.",
                promql('sum(alertmanager_alerts{state="suppressed"})', "suppressed"),
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Messages that wait",
                "For Discord or the second channel.",
                promql("sum(tovplay_notifier_queue)", "waiting"),
                source=PROMETHEUS,
            )
        )
        .with_panel(
            number(
                "Messages refused",
                "That the channel will never take; their text is in the notifier's log.",
                promql("sum(increase(tovplay_notifier_refused_total[$__range]))", "refused"),
                source=PROMETHEUS,
            )
        )
        .with_panel(
            rows(
                "Firing now",
                "Alerts of figures; those of logs are in Alertmanager and in the messages.",
                now(f"sum by (alertname, severity, host) ({_FIRING})"),
                source=PROMETHEUS,
                links=False,
            )
        )
        .with_panel(
            curve(
                "Alerts of figures over time",
                "By name; each has a page in docs/alerts.",
                promql(f"sum by (alertname) ({_FIRING})", "{{alertname}}"),
                span=24,
            )
        )
        .with_panel(
            curve(
                "Told",
                "Messages per channel.",
                promql("sum by (channel) (increase(tovplay_notifier_sent_total[$__rate_interval]))", "{{channel}}"),
            )
        )
        .with_panel(
            curve(
                "From Alertmanager to the relay",
                "Notifications handed over, and those that failed.",
                promql("sum(increase(alertmanager_notifications_total[$__rate_interval]))", "handed over"),
                promql("sum(increase(alertmanager_notifications_failed_total[$__rate_interval]))", "failed", ref="B"),
            )
        )
        .with_panel(
            curve(
                "Rules that fail",
                "Of Prometheus; a rule that fails tells nobody.",
                promql("sum(increase(prometheus_rule_evaluation_failures_total[$__rate_interval]))", "failures"),
            )
        )
        .with_panel(
            curve(
                "Rules of logs that fail",
                "Of Loki's ruler.",
                promql("sum(increase(loki_prometheus_rule_evaluation_failures_total[$__rate_interval]))", "failures"),
            )
        )
        .with_panel(
            lines(
                "What the notifier says",
                "Retries, refusals and the dead man's switch.",
                '{job="journald"} | unit="tovplay-notifier.service"',
            )
        )
    )
