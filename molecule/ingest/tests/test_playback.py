"""The page that plays a recording back: who may see it, that it shows the page, and that the page can do nothing."""

from __future__ import annotations

import itertools
import json

from conftest import SECRETS, WATCH, lines
from playwright.sync_api import expect

testinfra_hosts = ["docker://tovplay-ingest"]
READER = {"username": "replay-reader", "password": SECRETS["vault_replay_reader_password"]}


def recorded(host, page, session: str) -> None:
    """Do something on the page, leave it, and wait until its recording is on disk."""
    page.wait_for_function("window.tovplayRecorder")
    page.fill("#card", "typed")
    page.click("#delete-17")
    page.wait_for_timeout(700)
    page.goto("about:blank")
    folder = f"/var/lib/tovplay/ingest/replay/{session}"
    host.check_output(f"timeout 20 sh -c 'until ls {folder}/*.gz; do sleep 0.2; done'")


def test_a_recorded_session_plays_back(host, page, session, chromium):
    recorded(host, page, session)
    watcher = chromium.new_context(ignore_https_errors=True, http_credentials=READER)
    view = watcher.new_page()
    said, asked = [], []
    view.on("console", lambda message: said.append(message.text))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(f"{WATCH}/replay/")
    view.click(f'a[href="{session}/"]')
    view.wait_for_selector("body[data-state=loaded]")
    replayed = view.frame_locator("#player").frame_locator("iframe")
    expect(replayed.locator("#delete-17")).to_have_text("****** *** *****")
    expect(replayed.locator("#card")).to_have_value("")
    view.click("#play")
    view.wait_for_selector("body[data-state=finished]")
    expect(replayed.locator("#card")).to_have_value("*****")
    assert replayed.locator("script").count() == 0
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {"tovplay-ingest:3444"}
    assert not [text for text in said if "Refused" in text or "violates" in text], said
    watcher.close()


def test_watching_needs_a_password_and_is_logged(host, call):
    for path in ("/replay/", f"/replay/{'a' * 32}/events", "/replay/player"):
        assert call("GET", path, port=3444).status_code == 401
        assert call("GET", path, port=3444, auth=("replay-reader", "wrong-password")).status_code == 401
    assert call("GET", "/replay/", port=3444, auth=tuple(READER.values())).status_code == 200
    logged = [line for line in lines(host, "/var/log/nginx/gateway.json.log") if line["path"] == "/replay/"]
    assert [(line["action"], line["user_id"]) for line in logged][-1] == ("REPLAY_READ", "replay-reader")
    assert "REPLAY_ACCESS_REFUSED" in [line["action"] for line in logged]


def test_readers_of_logs_do_not_watch_people(call):
    reader = ("loki-reader", SECRETS["vault_loki_reader_password"])
    assert call("GET", "/replay/", port=3444, auth=reader).status_code == 401


numbers = itertools.count(2)


def element(name: str, children: list | None = None, **attributes: str) -> dict:
    """As rrweb serialises one."""
    return {"type": 2, "id": next(numbers), "tagName": name, "attributes": attributes, "childNodes": children or []}


def test_a_hostile_recording_runs_nothing(host, call, chromium):
    """Scripts, handlers, addresses: as an attacker would send them, past the agent."""
    session = "e" * 32
    own = "top.owned=1"
    handler = {"onclick": own, "onload": own, "onerror": own, "src": "https://evil.example/x.png"}
    script = element("script", [{"type": 3, "id": 99, "textContent": own}])
    frame = element("iframe", srcdoc=f"<script>{own}</script>")
    link = element("a", href=f"javascript:{own}")
    body = element("body", [script, element("img", **handler), frame, link, element("b", id="seen")], **handler)
    html = element("html", [body])
    document = {"type": 0, "id": 1, "childNodes": [html]}
    start = 1_790_000_000_000
    parts = [
        {"type": 4, "timestamp": start, "data": {"href": "javascript:alert(1)", "width": 800, "height": 600}},
        {"type": 2, "timestamp": start + 1, "data": {"node": document, "initialOffset": {"left": 0, "top": 0}}},
        {"type": 3, "timestamp": start + 500, "data": {"source": 99}},
    ]
    headers = {"Origin": "https://tovplay-ingest", "Content-Type": "text/plain"}
    sent = json.dumps({"batch": "e" * 32, "events": parts})
    assert call("POST", f"/_tovplay/replay?session={session}", headers=headers, data=sent).status_code == 204

    watcher = chromium.new_context(ignore_https_errors=True, http_credentials=READER)
    view = watcher.new_page()
    asked = []
    view.on("request", lambda request: asked.append(request))
    view.goto(f"{WATCH}/replay/{session}/")
    view.wait_for_selector("body[data-state=loaded]")
    replayed = view.frame_locator("#player").frame_locator("iframe").first
    expect(replayed.locator("#seen")).to_be_attached()
    replayed.locator("body").dispatch_event("click")
    view.wait_for_timeout(500)
    assert view.evaluate("window.owned") is None
    assert view.frames[1].evaluate("window.owned") is None
    foreign = [request for request in asked if "tovplay-ingest" not in request.url and request.url.startswith("http")]
    assert {request.failure for request in foreign} == {"csp"}, "the policy keeps the picture from being fetched"
    watcher.close()
