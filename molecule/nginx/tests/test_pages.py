"""Pages of the platform beside the application: a login first, and only nginx says behind it who that was."""

from __future__ import annotations

import json

import pytest
from test_gateway import basic
from wire import NAME, SECRETS

testinfra_hosts = [f"docker://{NAME}"]

LEAD = basic("incident-lead", SECRETS["vault_incident_lead_password"])
NOBODY = [{}, basic("incident-lead", "wrong"), basic("loki-reader"), basic("", "")]


@pytest.mark.parametrize("headers", NOBODY, ids=["no login", "wrong password", "a reader of Loki", "empty"])
@pytest.mark.parametrize("forged", [{}, {"X-Remote-User": "incident-lead"}], ids=["", "forged name"])
def test_nobody_comes_in_without_a_login(ask, headers, forged):
    answer = ask("GET", "/logs/incident/", {**headers, **forged})
    assert answer.status == 401 and b"headers" not in answer.body


def test_the_page_hears_who_it_was_and_no_password(ask):
    forged = {"X-Remote-User": "somebody-else", "X-Forwarded-For": "6.6.6.6", "Cookie": "session=secret"}
    answer = ask("GET", "/logs/incident/e1-x7?since=all", {**LEAD, **forged})
    seen = json.loads(answer.body)
    headers = dict(seen["headers"])
    assert answer.status == 200 and seen["path"] == "/e1-x7?since=all"
    assert [value for name, value in seen["headers"] if name == "x-remote-user"] == ["incident-lead"]
    assert headers["x-forwarded-prefix"] == "/logs/incident"
    assert not {"authorization", "cookie"} & set(headers)
    assert headers["x-forwarded-for"] != "6.6.6.6"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_only_read(ask, method):
    assert ask(method, "/logs/incident/", LEAD).status == 403


def test_the_application_is_still_there(ask):
    assert json.loads(ask("GET", "/logs/other").body)["port"] == 8000


def test_readers_and_those_who_were_refused_are_remembered(ask, followers):
    follower = followers["/var/log/nginx/gateway.json.log"]
    follower.waiting()
    ask("GET", "/logs/incident/remembered", LEAD)
    ask("GET", "/logs/incident/refused", basic("incident-lead", "wrong"))
    told = [json.loads(follower.lines.get(timeout=5)) for _ in range(2)]
    assert [(each["action"], each["user_id"], each["http_status"]) for each in told] == [
        ("LOG_READ", "incident-lead", 200),
        ("LOG_ACCESS_REFUSED", "", 401),
    ]
