"""The incident page, as a browser on another machine reaches it: through nginx, TLS and a password."""

from __future__ import annotations

import pytest
import requests

from .conftest import ROOT


@pytest.fixture
def browse(demo):
    def get(path="", login=("incident-lead", demo.secrets["vault_incident_lead_password"]), **headers):
        return requests.get(
            f"https://{demo.address('tovplay-watch')}/logs/incident/{path}",
            auth=login,
            headers=headers,
            verify=str(ROOT / "inventory/demo/pki/ca.crt"),
            timeout=60,
        )

    return get


@pytest.mark.parametrize("login", [None, ("incident-lead", "guess"), ("loki-reader", "guess")])
def test_strangers_see_nothing(browse, login):
    assert browse(login=login, **{"X-Remote-User": "incident-lead"}).status_code == 401


def test_incidents_are_listed_and_told(browse):
    listed = browse("?since=all")
    assert listed.status_code == 200 and "<h1>Incidents</h1>" in listed.text
    assert "default-src 'none'" in listed.headers["Content-Security-Policy"]
    assert browse("static/page.css", login=None).status_code == 401
    assert browse("static/page.css").headers["Content-Type"].startswith("text/css")
    links = [part.split('"')[0] for part in listed.text.split('href="/logs/incident/')[1:]]
    incident = next(link for link in links if link.startswith("e"))
    told = browse(incident)
    assert told.status_code == 200 and f"whodunit undo {incident} --apply" in told.text
    assert browse(f"{incident}.json").json()["incident"] == incident


def test_what_is_not_there_is_one_sentence(browse):
    answer = browse("e1-x999999999")
    assert answer.status_code == 404 and "the vault has no transaction" in answer.text
