"""Who is called, by what, and how soon: the guide's six alerts, provoked for real."""

from __future__ import annotations

import time

import pytest
import requests

from .channel import firing, text_of
from .conftest import CA, CROWD, site, until

QUIET_SECONDS = 60
WIPE_SECONDS = 5

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
