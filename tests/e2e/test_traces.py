"""From a row of the vault to its trace and to every log line, on the running demo."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from .conftest import until

ROW_OF = """SELECT row_to_json(a) FROM vault.audit_log a
WHERE table_name = 'User' AND action = 'DELETE' AND old_data ->> 'id' = '%d'"""


@pytest.fixture(scope="module")
def wiped(demo, administrator):
    """A user deleted through the API: what the vault's row alone says of it."""
    players = administrator.get("/api/users?limit=50&offset=150").json()
    victim = players[-1]["id"]
    reason = quote("closing the account")
    gone = administrator.delete(f"/api/delete-user/{victim}?reason={reason}")
    assert gone.ok, gone.text
    return json.loads(until(lambda: demo.vault(ROW_OF % victim)))


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
