"""Every panel's query, as Grafana would ask it, on the running demo: none errs, and none is empty but those named."""

from __future__ import annotations

import json
import shlex
import time
import uuid
from datetime import UTC, datetime

import pytest
import requests

from tests.grafana_panels import Asked, asked

from .conftest import CA, until

# What the demo has: its traffic, as the forensic questions' own examples use it.
VALUES = {"table": "GameRequest", "user_id": "2", "ip": "0.0.0.0/0"}
# Answered only after an event that traffic alone does not bring.
AFTER_A_WIPE = {
    "mark Incidents",
    "Statements that take everything",
    "What was tried",
    "Largest losses",
    "1. Who deleted a user",
}
AFTER_A_FAILURE = {
    "Refused",
    "Errors",
    "Errors of statements",
    "Errors of the server",
    "Errors of the application",
    "Answers 5xx",
    "5. Endpoints that answer 5xx",
    "6. No database connection left",
    "7. Slow endpoints",
    "Warnings and errors",
    "Failed logins",
    "Failed logins by address",
    "4. Failed logins from an address",
    "Slowest statements",
    "Lines that no format fits",
    "What the daemons say",
    "Findings",
}
AFTER_A_MIGRATION = {"mark Deploys", "Changes of the schema"}
# Until the application names an e-mail address (queries/02).
UNTIL_IT_IS_TOLD = {"2. What an e-mail address did"}
# Prometheus has no series of them until the first one: an alert that fires, a line that Loki discards, an alarm.
UNTIL_THE_FIRST = {
    "Firing now",
    "Alerts of figures over time",
    "Rules of logs that fail",
    "Hop 3: refused by Loki",
    "Hop 5: alarms of the vault",
}
MAY_BE_EMPTY = AFTER_A_WIPE | AFTER_A_FAILURE | AFTER_A_MIGRATION | UNTIL_IT_IS_TOLD | UNTIL_THE_FIRST


@pytest.fixture(scope="module")
def browsed(demo):
    """A browser's session with a request and an error, and somebody who looks for its recording."""
    session, site = uuid.uuid4().hex, f"https://{demo.address('tovplay-prod')}"
    event = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "error",
        "message": "for the dashboards",
        "path": "/players",
    }
    events = [{**event, "action": "ERROR"}, {**event, "action": "REQUEST", "request_duration_ms": 12}]
    sent = requests.post(
        f"{site}/_tovplay/events?session={session}",
        headers={"Origin": site, "Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"},
        data=json.dumps({"batch": uuid.uuid4().hex, "events": events}),
        verify=CA,
        timeout=30,
    )
    assert sent.status_code == 204, sent.text
    watched = requests.get(
        f"https://{demo.address('tovplay-watch')}:3444/replay/",
        auth=("replay-reader", demo.secrets["vault_replay_reader_password"]),
        verify=CA,
        timeout=30,
    )
    assert watched.status_code == 200, watched.text
    for told in (f'{{job="frontend"}} | browser_session_id="{session}"', '{job="nginx"} | action="REPLAY_READ"'):
        until(lambda query=told: demo.loki(query, minutes=10), missing=told)


@pytest.mark.parametrize("query", list(asked("loki", VALUES)), ids=str)
def test_loki_answers(demo, browsed, query: Asked):
    found = demo.loki(query.text, minutes=60, limit=5)  # raises what Loki refuses
    assert found or query.panel in MAY_BE_EMPTY, query.text


@pytest.mark.parametrize("query", list(asked("vault", VALUES, seconds=86400)), ids=str)
def test_the_vault_answers_who_may_only_read(demo, query: Asked):
    psql = "runuser -u postgres -- psql -p 5433 -d vault -XqtA -v ON_ERROR_STOP=1 -c 'SET ROLE vault_reader' -c "
    found = demo.watch.run(psql + shlex.quote(query.text))
    assert found.rc == 0, found.stderr
    assert found.stdout.strip() or query.panel in MAY_BE_EMPTY, query.text


@pytest.mark.parametrize("query", list(asked("prometheus", VALUES)), ids=str)
def test_prometheus_answers(demo, query: Asked):
    now = time.time()
    path, moment = ("query", "") if query.instant else ("query_range", f"-d start={now - 3600} -d end={now} -d step=15")
    ask = f"curl -sG http://127.0.0.1:9090/api/v1/{path} {moment} --data-urlencode {shlex.quote('query=' + query.text)}"
    answer = json.loads(demo.watch.check_output(ask))
    assert answer["status"] == "success", answer
    assert answer["data"]["result"] or query.panel in MAY_BE_EMPTY, query.text


@pytest.mark.parametrize("query", list(asked("jaeger")), ids=str)
def test_jaeger_answers(demo, query: Asked):
    target = json.loads(query.text)
    options = {key: str(target[key]) for key in ("service", "tags", "limit") if target[key]} | {"lookback": "1h"}
    answer = requests.get(
        f"https://{demo.address('tovplay-watch')}:3445/api/traces",
        params=options,
        auth=("jaeger-reader", demo.secrets["vault_jaeger_reader_password"]),
        verify=CA,
        timeout=30,
    )
    answer.raise_for_status()
    assert answer.json()["data"] or query.panel in MAY_BE_EMPTY, query.text


def test_every_exception_is_a_panel():
    panels = {query.panel for kind in ("loki", "vault", "prometheus", "jaeger") for query in asked(kind)}
    assert MAY_BE_EMPTY - panels == set()
