"""The sample application as it is, with and without telemetry: no file of it differs, nor does any answer of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from tovplay_telemetry import audit_context

from tests.conftest import ROOT
from tests.unit.telemetry.conftest import KEY

EXAMPLE = ROOT / "examples" / "tovplay"
PASSWORD = "password of every player"
ID, SESSION, TRACE, SPAN = "ab" * 16, "cd" * 16, "ef" * 16, "12" * 8
WITNESS = """
CREATE TABLE seen (ctx text, tag text, op text, row_id int);
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen VALUES (current_setting('audit.ctx', true), current_setting('application_name'), tg_op, OLD.id);
  RETURN OLD; END $$;
CREATE TRIGGER seen AFTER DELETE ON "User" FOR EACH ROW EXECUTE FUNCTION seen();
"""


@pytest.fixture(scope="module")
def database(cluster) -> str:
    """A socket's folder, with the application's tables in database Example, filled by its own programs."""
    subprocess.run(["createdb", "-h", cluster.folder, "-U", "postgres", "Example"], check=True)
    variables = {
        "PATH": os.environ["PATH"],
        "MIGRATION_DATABASE_URL": f"postgresql://postgres@/Example?host={cluster.folder}",
        "PLAYER_PASSWORD": PASSWORD,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=EXAMPLE, env=variables, check=True)
    fill = [sys.executable, "-m", "tovplay.seed", "--players", "60"]
    subprocess.run(fill, cwd=EXAMPLE, env=variables, check=True, stdout=subprocess.DEVNULL)
    with psycopg.connect(f"host={cluster.folder} user=postgres dbname=Example", autocommit=True) as connection:
        connection.execute(WITNESS)
    return str(cluster.folder)


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


@pytest.fixture
def example(serve, database, pooler) -> Any:
    def serving(**variables: str) -> Any:
        url = f"postgresql+psycopg2://postgres@/Example?host={database}&port=6432"
        return serve(
            "tovplay:create_app()", EXAMPLE, threads=2, DATABASE_URL=url, SECRET_KEY="of the test", **variables
        )

    return serving


@pytest.fixture(scope="module")
def people(database) -> dict[str, Any]:
    with psycopg.connect(f"host={database} user=postgres dbname=Example") as connection:
        (admin,) = connection.execute('SELECT id, email FROM "User" WHERE is_admin ORDER BY id LIMIT 1').fetchall()
        (victim,) = connection.execute('SELECT id FROM "User" WHERE NOT is_admin ORDER BY id DESC LIMIT 1').fetchone()
        return {"id": admin[0], "email": admin[1], "victim": victim}


def login(url: str, people: dict[str, Any]) -> dict[str, str]:
    answer = requests.post(f"{url}/api/login", json={"email": people["email"], "password": PASSWORD}, timeout=30)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def answers(url: str, people: dict[str, Any]) -> Iterator[tuple[int, str, set[str]]]:
    headers = login(url, people)
    for method, path in (
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/api/users"),
        ("GET", f"/api/users/{people['victim']}/friends"),
        ("GET", "/api/users/999999"),
        ("GET", "/nowhere"),
        ("POST", "/api/friends"),
        ("DELETE", f"/api/delete-user/{people['victim']}"),
        ("GET", "/api/reports/revenue"),
    ):
        with closing(requests.request(method, url + path, headers=headers, json={}, timeout=30)) as answer:
            yield answer.status_code, answer.text, {name.lower() for name in answer.headers} - {"x-correlation-id"}


def test_no_file_and_no_answer_differs(example, people):
    before = digest(EXAMPLE)
    with example(TOVPLAY_TELEMETRY="off", PYTHONPATH="") as served:
        without = list(answers(served.url, people))
    with example() as served:
        assert list(answers(served.url, people)) == without
    assert digest(EXAMPLE) == before


def test_from_the_click_to_the_row(example, people, receiver, database):
    """One id in the log, the trace and the audit context; and from the context alone to the browser's session."""
    with example(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as served:
        headers = login(served.url, people) | {
            "X-Correlation-ID": ID,
            "traceparent": f"00-{TRACE}-{SPAN}-00",  # a caller that says "not sampled" hides nothing
            "X-Browser-Session-Id": SESSION,
        }
        path = f"/api/delete-user/{people['victim']}"
        assert requests.delete(f"{served.url}{path}?reason=a+test", headers=headers, timeout=30).status_code == 200
        served.wait_for(lambda line: line.get("correlation_id") == ID and line["message"] == "response")
        lines = [line for line in served.lines() if line.get("correlation_id") == ID]
        spans = receiver.wait(lambda found: any(span["traceId"] == TRACE and span["kind"] == 2 for span in found))

    said = {line["message"]: line for line in lines}
    assert {"request", "delete_user_attempt", "delete_user_success", "response"} <= set(said)
    for line in lines:
        assert (line["trace_id"], line["browser_session_id"], line["method"]) == (TRACE, SESSION, "DELETE")
        assert line["route"] == "/api/delete-user/<int:user_id>" and line["path"] == path
    assert said["delete_user_attempt"]["action_reason"] == "a test"
    assert said["delete_user_success"]["action"] == "DELETE_USER_COMPLETE"
    assert said["delete_user_success"]["email"] == people["email"] and "context" not in said["delete_user_success"]

    with psycopg.connect(f"host={database} user=postgres dbname=Example") as connection:
        rows = connection.execute("SELECT ctx, tag, op FROM seen WHERE row_id = %s", (people["victim"],)).fetchall()
    ((ctx, tag, op),) = rows
    claims = audit_context.verify(ctx, [KEY])
    assert claims is not None and op == "DELETE" and tag == f"t={TRACE};u={people['id']};c={ID[:8]}"
    assert (claims["uid"], claims["cid"], claims["bsid"], claims["method"]) == (people["id"], ID, SESSION, "DELETE")
    assert claims["route"] == "/api/delete-user/<int:user_id>" and audit_context.trace_id(claims) == TRACE

    mine = [span for span in spans if span["traceId"] == TRACE]
    (server,) = (span for span in mine if span["kind"] == 2)
    assert server["parentSpanId"] == SPAN and server["name"] == "DELETE /api/delete-user/<int:user_id>"
    deleting = [span for span in mine if span["attributes"].get("db.operation") == "DELETE"]
    assert deleting and all(span["parentSpanId"] == server["spanId"] for span in deleting)
    for span in deleting:
        assert span["attributes"]["db.system"] == "postgresql" and span["attributes"]["db.name"] == "Example"
        assert (
            'DELETE FROM "User" WHERE' in span["attributes"]["db.statement"]
            and "%(" in span["attributes"]["db.statement"]
        )
        assert int(span["endTimeUnixNano"]) > int(span["startTimeUnixNano"])
    assert receiver.resources[0]["service.name"] == "tovplay-backend" and receiver.resources[0]["service.version"]
