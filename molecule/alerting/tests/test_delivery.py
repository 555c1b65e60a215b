"""From Alertmanager to Discord limits hold, and the second channel tells of a dead one.

That nothing is lost and order is kept on the way is the notifier's scenario.
"""

from __future__ import annotations

import json

from patience import wait_for
from watch import (
    DISCORD,
    NOTIFIER,
    alert,
    ask,
    behave,
    get,
    message_with,
    messages,
    raise_alerts,
    run,
    text_of,
)


def test_a_deleted_webhook_is_told_by_the_second_channel_and_nothing_is_lost():
    behave({"status": 404, "for": 15})
    url = f"{NOTIFIER}/api/webhooks/critical/-"
    assert ask("POST", url, {"embeds": [{"title": "kept for the new webhook"}]})[0] == 204
    heard = wait_for(
        lambda: [one for one in messages("/second") if "DeliveryRefused" in json.dumps(one["body"])],
        40,
        "second channel",
    )
    assert heard
    refused = [one for one in get(f"{DISCORD}/requests") if one["status"] == 404]
    assert len(refused) < 12, "it hammers"
    wait_for(lambda: message_with("kept for the new webhook"), 60)


def test_a_storm_keeps_within_discords_limits():
    long = "x" * 10_000 + " @everyone"
    raise_alerts([alert("Storm", "warning", f"storm {n} {long}", number=str(n)) for n in range(500)])
    wait_for(lambda: message_with("Storm"), 40)
    answers = {one["status"] for one in get(f"{DISCORD}/requests") if one["path"].startswith("/api/webhooks/")}
    assert answers <= {204}
    assert " and 499 more" in text_of(message_with("Storm")[0])


def test_critical_alerts_come_by_the_second_channel_too():
    raise_alerts([alert("Twofold", "critical", "told twice")])
    wait_for(lambda: message_with("told twice"), 20)
    wait_for(lambda: [one for one in messages("/second") if "Twofold" in json.dumps(one["body"])], 20)


def test_the_dead_mans_switch_notices_silence():
    run("docker", "stop", "prometheus")
    try:
        wait_for(lambda: message_with("nobody hears Watchdog any more"), 60)
        assert not message_with("nobody hears LogWatchdog")
    finally:
        run("docker", "start", "prometheus")
    wait_for(lambda: message_with("Over: Watchdog is heard again"), 60)
