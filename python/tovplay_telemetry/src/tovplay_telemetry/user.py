"""Who is logged in, found where Flask applications keep it, without ever asking the database.

A finder of the application's own is a function without arguments that returns the id, a pair of id and e-mail, or None.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tovplay_telemetry.counters import count

_busy = threading.local()


class User(NamedTuple):
    id: Any = None
    email: str | None = None


NOBODY = User()
_NOTHING: dict[str, Any] = {}


def find(own: Callable[[], Any] | None) -> User | None:
    """The user of the current application context; None where there is none to ask, or while it is being asked."""
    flask = sys.modules.get("flask")
    if flask is None or getattr(_busy, "finding", False):
        return None
    try:
        g = flask.g._get_current_object()
    except RuntimeError:  # no application context
        return None
    # A finder may log, or load the user from the database, and both would ask for the user.
    _busy.finding = True
    try:
        if own is None:
            return _default(flask, vars(g))
        found = own()
        if found is None:
            return NOBODY
        return User(*found) if isinstance(found, tuple) else User(found)
    except Exception:
        count("faults_user_finder")
        return None
    finally:
        _busy.finding = False


def _default(flask: Any, g: dict[str, Any]) -> User:
    login = g.get("_login_user")
    # Only what is loaded already: an attribute of a row may be expired, and reading it would run SQL in a log call.
    known = getattr(login or g.get("user"), "__dict__", _NOTHING)
    identity = g.get("user_id")
    if identity is None and "flask_login" in sys.modules and flask.has_request_context():
        # Past Flask's own way: using the session through it would add "Vary: Cookie" to the answer.
        context = vars(flask.globals.request_ctx._get_current_object())
        session = context.get("_session", context.get("session"))
        identity = dict.get(session, "_user_id") if isinstance(session, dict) else None
        if identity is None and login is not None:
            identity = known.get("id")
    if identity is None and "_jwt_extended_jwt" in g:
        identity = g["_jwt_extended_jwt"].get("sub")  # verified by flask-jwt-extended before it is there
    if identity is None:
        return NOBODY
    email = g.get("user_email") or known.get("email")
    return User(identity, email if isinstance(email, str) else None)
