"""Run by test_actions.py with telemetry active: decorated functions, finders of users, jobs."""

from __future__ import annotations

import asyncio
import logging
import sys
import types

from flask import Flask, g, session
from tovplay_telemetry import audit_log, correlation_id, init_app, work

app = Flask(__name__)
app.logger.handlers[:] = [logging.StreamHandler(sys.stdout)]
app.secret_key = "of the test"  # noqa: S105


@audit_log("GAME_REQUEST_CREATE", target_type="GameRequest")
def create(number):
    """Creates."""
    return 10 // number


@audit_log("WAIT")
async def wait(number):
    await asyncio.sleep(0)
    return 10 // number


@app.get("/create/<int:number>")
@audit_log("VIEW", "Page")
def view(number):
    g.user_id = 7
    return str(create(number))


@app.get("/who/<how>")
def who(how):
    account = types.SimpleNamespace(id=5, email="five@tovtech.org")
    if how == "session":
        session["_user_id"] = "4"
    elif how == "request_loader":
        g._login_user = account
    elif how == "jwt":
        g._jwt_extended_jwt = {"sub": "jay"}
    elif how == "object":
        g.user, g.user_id = account, account.id
    app.logger.info("who")
    return "", {"X-Vary": "no"}


sys.modules.setdefault("flask_login", types.ModuleType("flask_login"))
assert (create.__name__, create.__doc__) == ("create", "Creates.")
assert create(5) == 2 and asyncio.run(wait(5)) == 2
for function in (lambda: create(0), lambda: asyncio.run(wait(0))):
    try:
        function()
    except ZeroDivisionError:
        continue
    raise AssertionError("the exception did not reach its caller")
client = app.test_client()
with client:
    assert client.get("/create/5").text == "2"
    assert client.get("/create/0").status_code == 500
for how in ("nobody", "session", "request_loader", "jwt", "object"):
    answer = app.test_client().get(f"/who/{how}")
    assert "Vary" not in answer.headers or how == "session", answer.headers
init_app(app, find_user=lambda: (99, "own@tovtech.org"))
app.test_client().get("/who/nobody")
with work("nightly", user_id="cron", correlation_id="0" * 32):
    app.logger.info("job")
    assert correlation_id() == "0" * 32
app.logger.info("after")


def failing():
    raise RuntimeError("a finder that fails")


init_app(app, find_user=failing)
assert app.test_client().get("/who/nobody").status_code == 200
