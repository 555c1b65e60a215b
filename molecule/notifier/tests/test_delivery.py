"""On the way to Discord nothing is lost, order is kept, limits hold; silence of a watchdog is told."""

from __future__ import annotations

import json

import pytest
from discord_host import DISCORD, NOTIFIER, ask, behave, figure, forget, get, run, send, titles
from patience import wait_for


@pytest.fixture(autouse=True)
def clean_channel():
    forget()


def test_all_of_it_and_in_order_through_429_500_and_silence():
    behave(
        {"status": 429, "retry_after": 0.4, "times": 3},
        {"status": 500, "times": 3},
        {"status": 429, "retry_after": 60, "times": 1},
        {"hang": 1, "times": 1},
    )
    expected = [f"numbered {n:02d}" for n in range(30)]
    send(*expected)
    wait_for(lambda: len(titles()) >= 30)
    assert titles() == expected


def test_nothing_is_lost_by_a_kill():
    behave({"status": 503, "for": 8})
    expected = [f"killed {n:02d}" for n in range(10)]
    send(*expected)
    run("systemctl", "kill", "--signal=KILL", "tovplay-notifier")
    wait_for(lambda: set(titles()) >= set(expected))
    assert list(dict.fromkeys(titles())) == expected


def test_it_waits_as_long_as_it_is_told():
    behave({"status": 429, "retry_after": 40, "times": 1})  # 4 s with the scenario's factor
    send("patient")
    wait_for(lambda: "patient" in titles())
    asked = [one for one in get(f"{DISCORD}/requests") if one["path"].startswith("/api/webhooks/2")]
    assert [one["status"] for one in asked] == [429, 204], "it hammers"
    assert asked[1]["at"] - asked[0]["at"] > 3.9


def test_a_deleted_webhook_is_a_figure_and_its_messages_wait():
    behave({"status": 404, "for": 20})
    send("kept for the new webhook")
    wait_for(lambda: figure('tovplay_notifier_webhook_dead{channel="alerts"}') == 1, why="nobody would know")
    assert figure('tovplay_notifier_oldest_seconds{channel="alerts"}') > 0
    wait_for(lambda: "kept for the new webhook" in titles())
    assert figure('tovplay_notifier_webhook_dead{channel="alerts"}') == 0
    assert len([one for one in get(f"{DISCORD}/requests") if one["status"] == 404]) < 6, "it hammers"


def test_noise_does_not_hold_up_what_is_critical():
    behave({"status": 204, "hang": 0.2, "times": 100})
    send(*(f"noise {n}" for n in range(50)))
    send("a wipe", channel="critical")
    wait_for(lambda: "a wipe" in titles(1), 10)
    assert len(titles()) < 50
    wait_for(lambda: len(titles()) == 50)


def test_whatever_a_message_holds_discord_takes_it():
    body = {
        "content": "@everyone " + "x" * 3000,
        "embeds": [{"title": "t" * 400, "description": "d\u202e" * 9000}] * 12,
        "allowed_mentions": {"parse": ["everyone"]},
        "components": [1],
    }
    assert ask(("POST", f"{NOTIFIER}/api/webhooks/alerts/-", body))[0] == 204
    (taken, *_) = wait_for(
        lambda: [one for one in get(f"{DISCORD}/messages") if "@everyone" in json.dumps(one["body"])]
    )
    assert taken["body"]["allowed_mentions"] == {"parse": []}
    assert {one["status"] for one in get(f"{DISCORD}/requests") if one["path"].startswith("/api/")} == {204}


def test_what_is_no_message_is_refused_and_a_channel_that_is_none():
    assert ask(("POST", f"{NOTIFIER}/api/webhooks/alerts/-", [1]))[0] == 400
    assert ask(("POST", f"{NOTIFIER}/api/webhooks/other/-", {"content": "x"}))[0] == 404


def test_the_dead_mans_switch_tells_of_silence_and_of_its_end():
    def beat(name: str) -> None:
        alerts = [{"status": "firing", "labels": {"alertname": name}}]
        assert ask(("POST", f"{NOTIFIER}/beat", {"alerts": alerts}))[0] == 204

    beat("Watchdog")
    beat("Other")
    forget()
    wait_for(lambda: "CRITICAL: nobody hears Watchdog any more" in titles(1), 30)
    beat("Watchdog")
    wait_for(lambda: "Over: Watchdog is heard again" in titles(1), 30)
    assert titles(1).count("CRITICAL: nobody hears Watchdog any more") == 1
