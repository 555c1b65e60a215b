"""The application's side under strain, on the demo: a crowd, hostile clients, a watch host that does not answer."""

from __future__ import annotations

import json
import secrets as dice
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from .conftest import CA, until

ROWS_OF = """SELECT json_build_object('correlation_id', correlation_id, 'trace_id', trace_id, 'app_user', app_user,
  'requester', new_data ->> 'requester_id')
FROM vault.audit_log WHERE table_name = 'GameRequest' AND action = 'INSERT' AND new_data ->> 'message' LIKE '%s %%'"""
# Containers of the watch host that take logs, spans, and what browsers report.
TAKERS = ("jaeger", "loki", "ingest")


def tags(span: dict) -> dict:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def loki(demo, query: str, number: int, wanted=lambda _: True) -> list[dict]:
    """The entries, once there are that many; Loki may be on its way back."""

    def ask() -> list[dict]:
        try:
            found = [entry for entry in demo.loki(query, minutes=15, limit=5000) if wanted(entry)]
        except requests.HTTPError:
            return []
        return found if len(found) >= number else []

    return until(ask, 120)


def test_two_hundred_writes_of_fifty_players_at_once_are_never_mixed(demo, log_in, administrator, jaeger):
    """Log lines, rows' context and spans of each request name its own player, and no other request's id."""
    players = administrator.get("/api/users?limit=50&offset=400").json()
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda each: log_in(f"{each['username']}@example.org"), players))
    mark = f"crowd {dice.token_hex(8)}"

    def write(number: int) -> tuple[str, str]:
        body = {"game_id": 1, "players_wanted": 2, "message": f"{mark} {number}"}
        answer = sessions[number % 50].post("/api/game-requests", json=body)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Correlation-ID"], str(players[number % 50]["id"])

    with ThreadPoolExecutor(200) as pool:
        written = dict(pool.map(write, range(200)))
    assert len(written) == 200, "an id twice"

    rows = until(lambda: rows if len(rows := rows_of(demo, mark)) == 200 else None, 60)
    assert {row["correlation_id"]: row["app_user"] for row in rows} == written
    assert all(row["requester"] == row["app_user"] for row in rows)
    traces = {row["correlation_id"]: row["trace_id"] for row in rows}
    assert len(set(traces.values())) == 200

    said = loki(demo, '{job="flask-api"} | action="GAME_REQUEST_CREATE"', 200, lambda e: e["correlation_id"] in written)
    assert {(e["correlation_id"], e["user_id"], e["trace_id"]) for e in said} == {
        (cid, user, traces[cid]) for cid, user in written.items()
    }
    for cid in list(written)[::5]:
        (server,) = until(lambda cid=cid: [span for span in jaeger(traces[cid]) if "enduser.id" in tags(span)])
        assert (tags(server)["enduser.id"], tags(server)["correlation_id"]) == (written[cid], cid)


def rows_of(demo, mark: str) -> list[dict]:
    return [json.loads(line) for line in demo.vault(ROWS_OF % mark).splitlines()]


@pytest.mark.parametrize(
    ("agent", "reaches"),
    [('"}\\n{"user_id":"1","action":"DELETE_USER"}', True), ("\x1b]0;owned\x07\x1b[2J", False), ("x" * 7000, True)],
    ids=["fake json", "terminal, which gunicorn refuses", "7 kB"],
)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"email": 'a\r\n{"level":"ERROR","user_id":1}\n\x1b[2J\u2028', "password": "x"}), 401),
        ("x" * 1_000_000, 413),
    ],
    ids=["line ends", "a megabyte"],
)
def test_a_hostile_request_is_one_record_of_each_kind(demo, agent, reaches, body, status):
    address = f"https://{demo.address('tovplay-prod')}/api/login"
    marker = dice.token_hex(16)
    headers = {"User-Agent": agent, "X-Correlation-ID": marker, "Content-Type": "application/json"}
    answer = requests.post(address, data=body, headers=headers, verify=CA, timeout=30)
    assert answer.status_code == (status if reaches else 400), answer.text
    (access,) = loki(demo, f'{{job="nginx"}} | correlation_id="{marker}"', 1)
    assert (access["path"], access.get("user_id", "")) == ("/api/login", "")
    said = loki(demo, f'{{job="flask-api"}} | correlation_id="{marker}"', 2) if reaches else []
    messages = [json.loads(entry["line"])["message"] for entry in said]
    assert len(messages) == len(set(messages)), messages
    for entry in [access, *said]:
        assert not entry.get("parse_error") and entry.get("user_id", "") == ""
        assert not set(entry["line"]) & {"\x1b", "\r", "\n", "\u2028"}


def test_without_jaeger_loki_and_ingest_the_application_serves_as_fast_and_nothing_is_lost(demo, administrator, jaeger):
    def serve(trace: str) -> list[float]:
        answers = [
            administrator.get("/api/games", headers={"traceparent": f"00-{trace}-{trace[:16]}-01"}) for _ in range(40)
        ]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.elapsed.total_seconds() for answer in answers]

    usual = statistics.median(serve(dice.token_hex(16)))
    trace = dice.token_hex(16)
    demo.watch.check_output(f"docker stop --time 2 {' '.join(TAKERS)}")
    try:
        alone = statistics.median(serve(trace))
        ours = {"Origin": administrator.base}
        reported = administrator.post("/_tovplay/events", data='{"batch": "0", "events": []}', headers=ours)
        time.sleep(6)  # longer than an application holds spans before it sends them
    finally:
        demo.watch.check_output(f"docker start {' '.join(TAKERS)}")
    print(f"median seconds of a request: {usual:.4f}, while nobody takes logs and spans {alone:.4f}")
    assert alone < 2 * usual + 0.02
    assert reported.status_code >= 500 and reported.elapsed.total_seconds() < 2

    responses = loki(demo, f'{{job="flask-api"}} | trace_id="{trace}" |= `"message":"response"`', 40)
    assert len(responses) == 40
    assert len([span for span in until(lambda: jaeger(trace), 60) if tags(span).get("correlation_id")]) == 40
    counted = demo.prod.check_output("curl --silent http://127.0.0.1:8888/metrics")
    lost = [line for line in counted.splitlines() if "enqueue_failed" in line and not line.startswith("#")]
    assert "otelcol_exporter_queue_size" in counted and not [line for line in lost if float(line.split()[-1]) > 0], lost
