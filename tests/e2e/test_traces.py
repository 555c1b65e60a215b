"""From a row of the vault to its trace and to every log line, on the running demo; and what happens without Jaeger."""

from __future__ import annotations

import hashlib
import json
import secrets as dice
import time
from urllib.parse import quote

import pytest
import requests

from .conftest import ROOT

ROW_OF = """SELECT row_to_json(a) FROM vault.audit_log a
WHERE table_name = 'User' AND action = 'DELETE' AND old_data ->> 'id' = '%d'"""
CA = str(ROOT / "inventory/demo/pki/ca.crt")


@pytest.fixture(scope="module")
def administrator(demo):
    """A session of the demo's administrator, at the application's address."""
    session = requests.Session()
    session.verify = CA
    session.base = f"https://{demo.address('tovplay-prod')}"
    password = hashlib.sha256(f"players of {demo.secrets['vault_sample_app_secret_key']}".encode()).hexdigest()[:24]
    answer = session.post(
        f"{session.base}/api/login", json={"email": "admin@example.com", "password": password}, timeout=30
    )
    answer.raise_for_status()
    session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return session


@pytest.fixture(scope="module")
def jaeger(demo):
    """`jaeger(trace)`: spans of the trace through the gateway, as a reader; none is an empty list."""

    def ask(trace: str) -> list[dict]:
        answer = requests.get(
            f"https://{demo.address('tovplay-watch')}:3445/api/traces/{trace}",
            auth=("jaeger-reader", demo.secrets["vault_jaeger_reader_password"]),
            verify=CA,
            timeout=30,
        )
        return answer.json()["data"][0]["spans"] if answer.status_code == 200 else []

    return ask


def until(ask, seconds: float = 20):
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return found


def vault(demo, text: str) -> str:
    return demo.watch.check_output("cd / && runuser -u postgres -- psql -p 5433 -d vault -XAtc %s", text)


@pytest.fixture(scope="module")
def wiped(demo, administrator):
    """A user deleted through the API: what the vault's row alone says of it."""
    players = administrator.get(f"{administrator.base}/api/users?limit=50&offset=150", timeout=30).json()
    victim = players[-1]["id"]
    reason = quote("closing the account")
    gone = administrator.delete(f"{administrator.base}/api/delete-user/{victim}?reason={reason}", timeout=30)
    assert gone.ok, gone.text
    row = until(
        lambda: vault(
            demo,
            ROW_OF % victim,
        )
    )
    return json.loads(row)


def test_the_row_names_who_did_it(wiped):
    assert wiped["app_user"] == "1"
    assert len(wiped["correlation_id"]) == len(wiped["trace_id"]) == 32


def test_from_the_row_to_the_trace(wiped, jaeger):
    spans = until(lambda: jaeger(wiped["trace_id"]))
    assert any("/api/delete-user/<int:user_id>" in span["operationName"] for span in spans), spans
    tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in spans]
    statements = [text for t in tags for key, text in t.items() if key in ("db.statement", "db.query.text")]
    assert any("DELETE FROM" in text for text in statements), tags


@pytest.mark.parametrize(
    ("job", "key", "column"),
    [
        ("nginx", "correlation_id", "correlation_id"),
        ("flask-api", "correlation_id", "correlation_id"),
        ("postgres-audit", "trace_id", "trace_id"),
    ],
)
def test_from_the_row_to_every_log(demo, wiped, job, key, column):
    assert until(lambda: demo.loki(f'{{job="{job}"}} | {key}="{wiped[column]}"', minutes=60, limit=1))


def test_one_command_says_all_of_it(demo, wiped):
    said = json.loads(demo.watch.check_output("whodunit trace %s --json", wiped["trace_id"]))
    text = json.dumps(said)
    assert wiped["correlation_id"] in text
    assert "jaeger" in {source["name"] for source in said["sources"] if source["state"] == "answered"}, said["sources"]


def test_without_jaeger_the_application_serves_and_the_spans_come_later(demo, administrator, jaeger):
    trace = dice.token_hex(16)
    demo.watch.check_output("docker stop --time 2 jaeger")
    try:
        started = time.monotonic()
        answers = [
            administrator.get(
                f"{administrator.base}/api/games",
                headers={"traceparent": f"00-{trace}-{trace[:16]}-01"},
                timeout=30,
            )
            for _ in range(20)
        ]
        assert time.monotonic() - started < 10
        assert {answer.status_code for answer in answers} == {200}
        time.sleep(6)  # longer than an application holds spans before it sends them
    finally:
        demo.watch.check_output("docker start jaeger")
    assert until(lambda: jaeger(trace), 60)
