"""On the way to Discord nothing is lost, order is kept, limits hold; the second channel tells of a dead one."""

from __future__ import annotations

import json

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
    wait_for,
)


def send(text: str, channel: str = "alerts") -> None:
    status, said = ask("POST", f"{NOTIFIER}/api/webhooks/{channel}/-", {"embeds": [{"title": text}]})
    assert status == 204, said


def titles(prefix: str) -> list[str]:
    found = [text_of(one).strip() for one in messages("/api/webhooks/2")]
    return [title for title in found if title.startswith(prefix)]


def test_order_and_all_of_it_through_429_500_silence_and_restarts():
    behave(
        {"status": 429, "retry_after": 0.4, "times": 3},
        {"status": 500, "times": 3},
        {"status": 429, "retry_after": 60, "times": 1},
        {"hang": 1, "times": 1},
    )
    for n in range(30):
        send(f"numbered {n:02d}")
        if n == 10:
            run("systemctl", "kill", "--signal=KILL", "tovplay-notifier")
            wait_for(lambda: ask_quietly(), 20, "the notifier comes back")
    wait_for(lambda: len(set(titles("numbered"))) == 30, 60)
    first_seen = list(dict.fromkeys(titles("numbered")))
    assert first_seen == [f"numbered {n:02d}" for n in range(30)]


def ask_quietly() -> bool:
    return run("curl", "--silent", "--max-time", "2", f"{NOTIFIER}/metrics", check=False) != ""


def test_it_waits_as_long_as_it_is_told():
    behave({"status": 429, "retry_after": 30, "times": 1})  # 3 s with the scenario's factor
    send("patient")
    wait_for(lambda: titles("patient"), 20)
    times = [one["at"] for one in get(f"{DISCORD}/requests") if one["path"].startswith("/api/webhooks/2")]
    assert 2.9 < times[1] - times[0] < 5, times


def test_a_deleted_webhook_is_told_by_the_second_channel_and_nothing_is_lost():
    behave({"status": 404, "for": 15})
    send("kept for the new webhook", "critical")
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
