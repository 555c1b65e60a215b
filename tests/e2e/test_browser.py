"""A person deletes a player in a real Chromium: the click is found in every log, and the session can be watched."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from .conftest import ROOT

PROD, WATCH = "https://tovplay-prod", "https://tovplay-watch:3444"
VICTIM = 1733
REASON = "asked for in the browser"


@dataclasses.dataclass
class Deleted:
    """What the person did: the tab's session and the ids that the browser sent."""

    session: str
    correlation_id: str
    trace_id: str


@pytest.fixture(scope="module")
def chromium(demo):
    path = subprocess.check_output([ROOT / "tools/chromium"], text=True).strip()
    rules = ", ".join(f"MAP {name} {demo.address(name)}" for name in ("tovplay-prod", "tovplay-watch"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[f"--host-resolver-rules={rules}"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def deleted(demo, chromium: Browser) -> Deleted:
    """Log in as the administrator, look for the player, say why, click Delete, go away."""
    context = chromium.new_context(ignore_https_errors=True, viewport={"width": 1100, "height": 760})
    page = context.new_page()
    page.goto(PROD + "/")
    page.fill("#login [name=email]", "admin@example.com")
    page.fill("#login [name=password]", demo.player_password)
    page.click("#login [type=submit]")
    expect(page.locator("#result")).to_contain_text("200")
    page.goto(f"{PROD}/players?offset={VICTIM - 5}&limit=10")
    page.wait_for_function("window.tovplayRecorder")
    session = page.evaluate("window.tovplayBrowser.session()")
    page.fill("#why [name=reason]", REASON)
    with page.expect_request(f"**/api/delete-user/{VICTIM}?*") as asked:
        page.click(f"#delete-{VICTIM}")
    expect(page.locator("#result")).to_contain_text("Deleted")
    page.wait_for_timeout(1000)
    headers = asked.value.headers
    page.goto("about:blank")
    context.close()
    return Deleted(session, headers["x-correlation-id"], headers["traceparent"].split("-")[1])


def found(demo, query: str) -> list[dict]:
    """What Loki has within 20 s."""
    for _ in range(100):
        if entries := demo.loki(query, minutes=10):
            return entries
        time.sleep(0.2)
    return []


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("frontend", {"action": "CLICK"}),
        ("frontend", {"action": "REQUEST"}),
        ("nginx", {"method": "DELETE", "user_id": "1"}),
    ],
    ids=["click", "request", "nginx"],
)
def test_the_click_is_found_by_its_id_in_every_log(demo, deleted, job, told):
    wanted = "".join(f' | {name}="{value}"' for name, value in told.items())
    entries = found(demo, f'{{job="{job}"}} | correlation_id="{deleted.correlation_id}"{wanted}')
    assert len(entries) == 1
    (entry,) = entries
    assert (entry["browser_session_id"], entry["trace_id"]) == (deleted.session, deleted.trace_id)


def test_the_application_says_who_was_deleted_and_why(demo, deleted):
    (entry,) = found(demo, f'{{job="flask-api"}} | action="DELETE_USER" | target_user="{VICTIM}"')
    assert (entry["user_id"], entry["action_reason"]) == ("1", REASON)


def test_the_session_plays_back_beside_its_log_lines(demo, deleted, chromium, tmp_path):
    folder = f"/var/lib/tovplay/ingest/replay/{deleted.session}"
    demo.watch.check_output(f"timeout 20 sh -c 'until ls {folder}/*.gz; do sleep 0.2; done'")
    recording = demo.watch.check_output(f"zcat {folder}/*.gz")
    assert REASON not in recording and "admin@example.com" not in recording
    found(demo, f'{{job="nginx"}} | correlation_id="{deleted.correlation_id}"')
    reader = {"username": "replay-reader", "password": demo.secrets["vault_replay_reader_password"]}
    context = chromium.new_context(
        ignore_https_errors=True, http_credentials=reader, viewport={"width": 1440, "height": 860}
    )
    page = context.new_page()
    page.goto(WATCH + "/replay/")
    page.click(f'a[href="{deleted.session}/"]')
    page.wait_for_selector("body[data-state=loaded]")
    line = page.locator("#lines li[data-job=nginx] button", has_text=f"DELETE /api/delete-user/{VICTIM}")
    line.click()
    expect(page.locator("#detail")).to_contain_text(deleted.correlation_id)
    page.click("#play")
    page.wait_for_selector("body[data-state=finished]")
    replayed = page.frame_locator("#player").frame_locator("iframe")
    expect(replayed.locator(f"#delete-{VICTIM - 1}")).to_have_text("******")
    expect(replayed.locator(f"#delete-{VICTIM}")).to_have_count(0)
    page.screenshot(path=tmp_path / "playback.png")
    context.close()


def test_the_shipper_tells_events_from_other_sources(demo, deleted):
    (entry,) = found(demo, f'{{job="frontend"}} | correlation_id="{deleted.correlation_id}" | action="CLICK"')
    assert (entry["host"], entry["log_class"], entry["logger"]) == ("tovplay-watch", "application", "browser")
    assert json.loads(entry["line"])["message"].startswith(f"button#delete-{VICTIM} ")
