"""Who is called, by what, and how soon: the guide's six alerts and the chain's own end, provoked for real."""

from __future__ import annotations

import json
import time

import pytest
import requests

from .channel import Channel, text_of
from .conftest import CA, CROWD, site, until

QUIET_SECONDS = 60
WIPE_SECONDS = 5
HOP_SECONDS = 180
ALERTMANAGER = "http://127.0.0.1:9093/api/v2/alerts?active=true"

# What each cause's message says: title and text, with who, what, where and what to do next.
SAID = {
    "DatabaseModificationDetected": [
        *("CRITICAL: TRUNCATE TABLE", "TRUNCATE wiped by postgres", "who postgres, from [local]", "on tovplay-prod"),
        *("whodunit last", "docs/alerts/DatabaseModificationDetected.md", "https://tovplay-watch/logs/incident/"),
    ],
    "UserDeletionAttempted": ["User {victim} deleted by", "DELETE_USER_COMPLETE", "who user 1", "on tovplay-prod"],
    "UserDeletionAttempted (refused)": ["Deletion of a user failed: /api/delete-user/2", "answered 403", "from {here}"],
    "DatabaseConnectionExhaustion": ["CRITICAL: Clients are refused", "tovplay-prod", "tools/query 6"],
    "AuthenticationFailureSpike": ["failed logins from {here}", "nginx on tovplay-prod", "tools/query 4 ip={here}"],
    "APIErrorRateSpike": ["of the requests on tovplay-prod fail", "CRITICAL", "tools/query 5"],
    "DatabaseQueryTimeout": ["statements of postgres ran into a time limit", "database TovPlay on tovplay-prod"],
}


@pytest.fixture(scope="session")
def channel(demo) -> Channel:
    return Channel(demo.address("tovplay-discord"))


def firing(demo) -> list[str]:
    """Names of what fires now, watchdogs aside."""
    active = json.loads(demo.watch.check_output(f"curl --silent --fail '{ALERTMANAGER}'"))
    return sorted(one["labels"]["alertname"] for one in active if one["labels"]["severity"] != "none")


def sql(demo, *statements: str) -> None:
    """As somebody with a shell on production's host."""
    commands = " ".join(f"--command='{statement}'" for statement in statements)
    demo.prod.run(f"runuser -u postgres -- psql --quiet --dbname=TovPlay {commands}")


def test_ordinary_life_calls_nobody(demo, app, channel):
    """Players play, two mistype their password, one meets an error; nobody is deleted."""
    until(lambda: not firing(demo), 150, f"what the converge did is still told: {firing(demo)}")
    channel.forget()
    assert app.login("john@example.com").ok
    until_when = time.monotonic() + QUIET_SECONDS
    for _ in range(2):
        requests.post(
            f"{app.base}/api/login", json={"email": "john@example.com", "password": "no"}, verify=CA, timeout=30
        )
    assert app("GET", "/api/reports/revenue").status_code == 500
    while time.monotonic() < until_when:
        assert app("GET", "/api/games").ok
        time.sleep(1)
    assert channel.titles() == []


@pytest.fixture(scope="module")
def provoked(demo, app, channel):
    """All of it within seconds, the wipe in the middle: when each thing was done, by the name of its alert."""
    done: dict[str, float] = {}
    sql(
        demo,
        "CREATE TABLE IF NOT EXISTS wiped (id int PRIMARY KEY)",
        "INSERT INTO wiped SELECT generate_series(1, 500)",
    )
    channel.forget()
    assert app.login("john@example.com").ok
    done["UserDeletionAttempted (refused)"] = time.time()
    assert app("DELETE", "/api/delete-user/2?reason=none").status_code == 403
    assert app.login("admin@example.com").ok
    victim = next(user["id"] for user in reversed(app("GET", "/api/users?limit=50&offset=150").json()))
    done["UserDeletionAttempted"] = time.time()
    assert app("DELETE", f"/api/delete-user/{victim}?reason=asked%20for%20it").ok
    done["AuthenticationFailureSpike"] = time.time()
    for _ in range(21):
        body = {"email": "john@example.com", "password": "guess"}
        requests.post(f"{app.base}/api/login", json=body, verify=CA, timeout=30)
    done["DatabaseModificationDetected"] = time.time()
    sql(demo, "TRUNCATE wiped")
    done["DatabaseQueryTimeout"] = time.time()
    for _ in range(6):
        sql(demo, "SET statement_timeout = 20", "SELECT pg_sleep(1)")
    done["DatabaseConnectionExhaustion"] = time.time()
    demo.prod.run("python3 -c %s", CROWD)
    done["APIErrorRateSpike"] = time.time()
    demo.prod.check_output("docker stop --time=1 tovplay-backend")
    try:
        for _ in range(300):
            app("GET", "/api/games")
    finally:
        demo.prod.check_output("docker start tovplay-backend")
    done["victim"] = victim
    yield done
    # A table that no role knows would be a change of the next converge; so would its entry in the audit.
    sql(demo, "DROP TABLE wiped")
    assert site("--tags", "audit_capture", name="after-alerts").code == 0


@pytest.mark.parametrize("alert", SAID)
def test_the_guides_six_call_people(demo, app, channel, provoked, alert):
    here = demo.caller()
    words = [word.format(victim=int(provoked["victim"]), here=here) for word in SAID[alert]]
    message = channel.wait(alert.partition(" ")[0], *words, seconds=90)
    seconds = message["at"] - provoked[alert]
    print(f"{alert}: {seconds:.1f} s from cause to message")
    assert message["body"]["allowed_mentions"] == {"parse": []}
    if alert == "DatabaseModificationDetected":
        assert seconds < WIPE_SECONDS, text_of(message)
        assert channel.messages("DatabaseModificationDetected", path="/second"), "by the second channel, too"


def test_it_is_told_when_it_is_over(channel, provoked):
    message = channel.wait("Over: TRUNCATE", "wiped by postgres", seconds=150)
    print(f"over after {message['at'] - provoked['DatabaseModificationDetected']:.0f} s")


def test_the_chain_tells_of_its_own_end(demo, channel):
    """Production's shipper and Alertmanager die together: the dead man's switch tells of the one, and Alertmanager,
    once it is back, of the other."""
    until(lambda: not firing(demo), 240, f"still firing: {firing(demo)}")
    channel.forget()
    killed = time.time()
    demo.watch.check_output("docker stop --time=1 alertmanager")
    demo.prod.check_output("docker stop --time=1 otelcol")
    try:
        silence = channel.wait("nobody hears Watchdog any more", seconds=HOP_SECONDS)
        demo.watch.check_output("docker start alertmanager")
        shipper = channel.wait("otelcol on tovplay-prod gives no figures", seconds=HOP_SECONDS)
    finally:
        demo.watch.check_output("docker start alertmanager")
        demo.prod.check_output("docker start otelcol")
    seconds = {"dead man's switch": silence["at"] - killed, "shipper": shipper["at"] - killed}
    print({alarm: round(after) for alarm, after in seconds.items()})
    assert max(seconds.values()) < HOP_SECONDS
    channel.wait("Over: Watchdog is heard again", seconds=60)
    # Besides the two: what the absence of either does to others, and the end of what was told before.
    right = ("nobody hears", "Over: ", "otelcol on tovplay-prod", "alertmanager on tovplay-watch", "heartbeat", "hand ")
    wrong = [title for title in channel.titles() if not any(word in title for word in right)]
    assert not wrong
