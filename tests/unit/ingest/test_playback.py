"""Pages over recordings: what they show, what they forbid, and what Loki is asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_says import SESSION, body, recorded
from tovplay_ingest.app import create_app

TRACE = "b" * 32


@pytest.fixture
def loki():
    """A server that answers as Loki does: `loki.url`, and `loki.asked`, the queries."""

    class Loki(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            server.asked.append(query)
            if "count_over_time" in query:
                metric = {"browser_session_id": SESSION, "user_id": "42"} if "user_id" in query else {}
                result = [{"metric": metric, "value": [0, "1"]}] if metric else []
            elif "trace_id=~" in query:
                stream = {"job": "postgres-audit", "statement": "DELETE"}
                result = [{"stream": stream, "values": [["1790000000300000000", "c"]]}]
            else:
                one = {"stream": {"job": "nginx", "trace_id": TRACE}, "values": [["1790000000200000000", "b"]]}
                other = {"stream": {"job": "frontend"}, "values": [["1790000000100000000", "<script>"]]}
                result = [one, other, one]
            text = json.dumps({"status": "success", "data": {"result": result}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Loki)
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def client(settings, loki):
    made = create_app(type(settings)(**{**vars(settings), "loki_url": loki.url})).test_client()
    made.post(f"/in/replay?session={SESSION}", data=body(recorded(0), recorded(61_000)), content_type="text/plain")
    return made


def directives(answer) -> dict[str, str]:
    return dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))


def test_the_list_names_length_and_user(client):
    page = client.get("/replay/").text
    assert f'href="{SESSION}/"' in page
    assert "1:01" in page and "<td>42</td>" in page


def test_lines_come_in_order_once_and_with_those_of_their_traces(client, loki):
    answer = json.loads(client.get(f"/replay/{SESSION}/logs").data)
    assert [line["job"] for line in answer["lines"]] == ["frontend", "nginx", "postgres-audit"]
    assert answer["problem"] == ""
    assert f'browser_session_id="{SESSION}"' in loki.asked[-2]
    assert f'trace_id=~"{TRACE}"' in loki.asked[-1]


def test_without_loki_the_recording_still_plays(settings, client):
    gone = create_app(type(settings)(**{**vars(settings), "loki_url": "http://127.0.0.1:9"})).test_client()
    assert "Loki gave no answer" in gone.get("/replay/").text
    assert "Loki gave no answer" in json.loads(gone.get(f"/replay/{SESSION}/logs").data)["problem"]
    assert gone.get(f"/replay/{SESSION}/events").status_code == 200


def test_the_page_runs_our_scripts_alone_and_the_player_reaches_nothing(client):
    page, player = directives(client.get(f"/replay/{SESSION}/")), directives(client.get("/replay/player"))
    for policy in (page, player):
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["form-action"] == policy["base-uri"] == "'none'"
    assert page["style-src"] == "'self'"
    assert "connect-src" not in player and player["img-src"] == player["font-src"] == "data:"
    assert page["frame-ancestors"] == "'none'"


def test_pages_hold_no_script_or_style_of_their_own(client):
    for path in ("/replay/", f"/replay/{SESSION}/", "/replay/player"):
        page = client.get(path).text
        assert "style=" not in page and "<style" not in page
        assert page.count("<script") == page.count('.js" defer></script>')


@pytest.mark.parametrize("session", ["f" * 32, "..", "%2e%2e", "A" * 32, "static"])
def test_sessions_that_are_none(client, session):
    for what in ("", "events", "logs"):
        assert client.get(f"/replay/{session}/{what}").status_code in (404, 308)


def test_assets(client):
    assert client.get("/replay/static/replay.js").status_code == 200
    assert client.get("/replay/static/secret.txt").status_code == 404
