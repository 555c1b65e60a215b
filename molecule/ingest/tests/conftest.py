"""A real Chromium at the scenario's host, and what the host has of it: log lines, events, recordings."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml
from playwright.sync_api import Browser, sync_playwright

NAME = "tovplay-ingest"
ROOT = Path(__file__).resolve().parents[3]
SITE = f"https://{NAME}"
WATCH = f"https://{NAME}:3444"
SECRETS = yaml.safe_load((ROOT / "molecule/shared/group_vars/all/secrets.yml").read_text())


@pytest.fixture(scope="session")
def address() -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return subprocess.check_output(["docker", "inspect", "--format", template, NAME], text=True).strip()


@pytest.fixture(scope="session")
def chromium(address) -> Iterator[Browser]:
    path = subprocess.check_output([ROOT / "tools/chromium"], text=True).strip()
    with sync_playwright() as playwright:
        arguments = [f"--host-resolver-rules=MAP {NAME} {address}, MAP localhost {address}"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium):
    """A fresh browser: its certificates are the scenario's own, which no system trusts."""
    made = chromium.new_context(ignore_https_errors=True)
    yield made
    made.close()


@pytest.fixture
def page(context):
    """The application's page with the agent at work."""
    page = context.new_page()
    page.goto(SITE + "/")
    page.wait_for_function("window.tovplayBrowser && window.tovplayBrowser.session()")
    return page


@pytest.fixture
def session(page) -> str:
    return page.evaluate("window.tovplayBrowser.session()")


@pytest.fixture
def call(address):
    """`call(method, path, port=443, **options)`: one plain request to the host."""
    authority = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / "pki/ca.crt"

    def run(method: str, path: str, port: int = 443, **options) -> requests.Response:
        headers = {"Host": NAME if port == 443 else f"{NAME}:{port}", **options.pop("headers", {})}
        return requests.request(
            method,
            f"https://{address}:{port}{path}",
            headers=headers,
            verify=str(authority),
            timeout=30,
            **options,
        )

    return run


def requests_of(host, correlation_id: str) -> list[dict]:
    """The access log's lines with that id."""
    logged = lines(host, "/var/log/nginx/access.json.log")
    return [line for line in logged if line["correlation_id"] == correlation_id]


def lines(host, path: str) -> list[dict]:
    return [json.loads(line) for line in host.check_output(f"cat {path} 2>/dev/null || :").splitlines()]


@pytest.fixture
def events(host) -> Callable[..., list[dict]]:
    """`events(session, wanted)`: the session's events, as soon as `wanted(them)` holds, or what there is after 20 s."""

    def run(session: str, wanted: Callable[[list[dict]], bool] = bool) -> list[dict]:
        for _ in range(100):
            written = lines(host, "/var/log/tovplay/frontend/events.json")
            found = [event for event in written if event["browser_session_id"] == session]
            if wanted(found):
                break
            time.sleep(0.2)
        return found

    return run


def metric(host, name: str) -> float:
    text = host.check_output("curl -sS http://127.0.0.1:8470/metrics")
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name + " ")))
