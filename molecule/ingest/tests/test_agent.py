"""The agent in a real browser: ids on their way, what is reported, what never is, and whom it asks."""

from __future__ import annotations

import pytest
from conftest import SITE, requests_of
from patience import wait_for
from playwright.sync_api import expect

testinfra_hosts = ["docker://tovplay-ingest"]
SECRETS = ("Eve", "eve@example.com", "4711", "topsecret", "5500 0000", "hunter2")


def out(page):
    expect(page.locator("#out")).not_to_be_empty()
    return page.evaluate("JSON.parse(document.getElementById('out').textContent)")


def actions(found):
    return [event["action"] for event in found]


def test_a_click_and_its_requests_have_one_id_in_every_log(host, page, session, events):
    page.click("#delete-17")
    first, second = (seen["headers"] for seen in out(page))
    found = events(session, lambda e: actions(e).count("REQUEST") == 2)
    click = next(event for event in found if event["action"] == "CLICK")
    requests = [event for event in found if event["action"] == "REQUEST"]
    correlation_id, trace_id = click["correlation_id"], click["trace_id"]

    assert first["x-correlation-id"] == second["x-correlation-id"] == correlation_id
    assert {first["traceparent"], second["traceparent"]} == {f"00-{trace_id}-{one['span_id']}-01" for one in requests}
    assert first["x-browser-session-id"] == session
    assert first["x-own"] == "kept", "the page's own headers stay"
    assert [(one["method"], one["path"], one["http_status"]) for one in requests] == [
        ("DELETE", "/api/delete", 200),
        ("GET", "/api/list", 200),
    ]
    logged = requests_of(host, correlation_id)
    assert [(line["path"], line["trace_id"], line["browser_session_id"], line["user_id"]) for line in logged] == [
        ("/api/delete", trace_id, session, "42"),
        ("/api/list", trace_id, session, "42"),
    ]


def test_the_page_itself_is_found_by_its_own_request(host, session, events):
    (loaded,) = [event for event in events(session) if event["action"] == "NAVIGATION"]
    logged = requests_of(host, loaded["correlation_id"])
    assert [(line["method"], line["path"], line["trace_id"]) for line in logged] == [("GET", "/", loaded["trace_id"])]


def test_the_old_way_of_asking_carries_them_too(page, session, events):
    page.click("#xhr")
    seen = out(page)
    found = events(session, lambda e: "REQUEST" in actions(e))
    assert seen["headers"]["x-correlation-id"] == next(e for e in found if e["action"] == "CLICK")["correlation_id"]
    assert seen["body"] == 4


def test_other_origins_get_no_header_of_ours(page, session, events):
    asked = []
    page.on("request", lambda request: asked.append(request) if "elsewhere" in request.url else None)
    page.click("#elsewhere")
    expect(page.locator("#out")).to_have_text("opaque")
    assert not {"x-correlation-id", "traceparent", "x-browser-session-id"} & set(asked[0].headers)


def test_errors_and_rejections_are_reported_without_what_they_repeat(page, session, events):
    page.click("#error")
    page.click("#reject")
    found = {e["action"]: e for e in events(session, lambda e: {"ERROR", "UNHANDLED_REJECTION"} <= set(actions(e)))}
    assert found["ERROR"]["error_type"] == "TypeError"
    assert found["ERROR"]["message"] == "broken at https://x/y for [email]"
    assert "app.js" in found["ERROR"]["stack"]
    assert found["UNHANDLED_REJECTION"]["error_type"] == "RangeError"
    assert found["UNHANDLED_REJECTION"]["level"] == "error"


def test_navigation_within_the_page(page, session, events):
    page.click("#spa")
    found = events(session, lambda e: actions(e).count("NAVIGATION") == 2)
    assert [e["path"] for e in found if e["action"] == "NAVIGATION"] == ["/", "/next"]


def test_a_page_that_is_left_at_once_loses_nothing(page, session, events):
    page.click("#error")
    page.goto("about:blank")
    assert {"NAVIGATION", "CLICK", "ERROR"} <= set(actions(events(session, lambda e: "ERROR" in actions(e))))


def test_neither_events_nor_recordings_hold_what_was_typed_or_written(host, page, session, events):
    page.fill("#card", "5500 0000 4711")
    page.fill("#password", "hunter2")
    page.click("#delete-17")
    page.wait_for_function("window.tovplayRecorder")
    page.wait_for_timeout(500)
    page.goto("about:blank")
    found = events(session, lambda e: "REQUEST" in actions(e))
    folder = f"/var/lib/tovplay/ingest/replay/{session}"
    host.run(f"timeout 20 sh -c 'until ls {folder}/*.gz; do sleep 0.2; done'")
    recording = host.check_output(f"zcat {folder}/*.gz")
    assert "delete-17" in recording, "the recording is one"
    for secret in SECRETS:
        assert secret not in recording, secret
        assert secret not in str([{**event, "user_agent": ""} for event in found]), secret


@pytest.mark.parametrize("path", ["/nonce", "/self"])
def test_pages_with_a_content_security_policy_get_the_agent_and_keep_the_policy(context, call, path):
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(SITE + path)
    # The policy forbids what wait_for_function does in the page when it has to ask twice.
    wait_for(lambda: page.evaluate("!!(window.tovplayBrowser && window.tovplayBrowser.session())"), pause=0.1)
    wait_for(lambda: page.evaluate("!!window.tovplayRecorder"), pause=0.1)
    assert not [text for text in said if "Content Security Policy" in text and "style" not in text], said
    assert "unsafe" not in call("GET", path).headers["Content-Security-Policy"]


def test_a_policy_that_forbids_it_is_obeyed(context):
    page = context.new_page()
    page.goto(SITE + "/closed")
    page.wait_for_timeout(500)
    assert page.evaluate("window.tovplayBrowser === undefined")


def test_nobody_is_observed_before_having_agreed(context, events):
    page = context.new_page()
    posts = []
    page.on("request", lambda request: posts.append(request.url) if "/_tovplay/" in request.url else None)
    page.goto(SITE + "/asks")
    page.click("#delete-17")
    assert "x-browser-session-id" not in out(page)[0]["headers"]
    page.wait_for_timeout(4000)
    assert posts == [f"{SITE}/_tovplay/agent.js"]
    assert page.evaluate("[window.tovplayBrowser.session(), sessionStorage.length]") == [None, 0]

    page.evaluate("window.tovplayBrowser.consent({events: true, replay: false})")
    session = page.evaluate("window.tovplayBrowser.session()")
    page.click("#xhr")
    assert "CLICK" in actions(events(session, lambda e: "CLICK" in actions(e)))
    assert page.evaluate("window.tovplayRecorder === undefined"), "no recording was agreed to"

    page.evaluate("window.tovplayBrowser.consent(false)")
    before = len(posts)
    page.click("#xhr")
    page.wait_for_timeout(4000)
    assert len(posts) == before
    assert page.evaluate("window.tovplayBrowser.session()") is None


def test_a_page_is_whole_whatever_the_encoding(call):
    for accepted in ("gzip", "identity", "br, gzip;q=0.5"):
        answer = call("GET", "/", headers={"Accept-Encoding": accepted})
        assert answer.text.count('<script async src="/_tovplay/agent.js"') == 1, accepted
        assert answer.text.endswith("</html>")
    assert call("GET", "/", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] == "gzip"
    assert "_tovplay" not in call("GET", "/app.js").text
