"""Tells the database who acts: the signed context and a speaking application_name, for the transaction only.

`writes` (default): before the first statement that may write; a transaction that only reads pays nothing. `always`:
before the first statement. Told again when the user changes, and after a ROLLBACK TO SAVEPOINT, which takes it back.
Never for the session: behind PgBouncer the next client would inherit it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from tovplay_telemetry import audit_context
from tovplay_telemetry.activation import state
from tovplay_telemetry.counters import count
from tovplay_telemetry.database.statements import Kind
from tovplay_telemetry.records import email_hash
from tovplay_telemetry.request import Request, current

_TAG_ONLY = "SELECT set_config('application_name', %s, true)"
_host = socket.gethostname()[:64]


def due(told: Any, kind: Kind) -> tuple[Any, Request] | None:
    """What is to be told before this statement: a mark to remember, and whose it is; None when nothing is."""
    mode = state.settings.database
    if mode == "off" or kind.resets or (kind.reads and mode == "writes"):
        return None
    request = current()
    # A read need not tell again: only a write must have the latest user.
    if told is not None and kind.reads and told[0] == request.correlation_id:
        return None
    mark = (request.correlation_id, request.user.id)
    return None if told == mark else (mark, request)


def statement(request: Request) -> tuple[str, tuple[str, ...]]:
    """The statement that tells, with its parameters; without a key the name alone: an unsigned context is a finding."""
    found = claims(request)
    key = state.settings.key
    if key is not None:
        try:
            return audit_context.statement(found, key)
        except audit_context.ContextError:
            count("faults_context")
    return _TAG_ONLY, (audit_context.tag(found),)


def claims(request: Request) -> Mapping[str, Any]:
    user = request.user
    found: dict[str, Any] = {"cid": request.correlation_id, "pod": _host}
    if user.id is not None:
        found["uid"] = user.id if isinstance(user.id, int) and not isinstance(user.id, bool) else str(user.id)[:128]
        if user.email:
            found["email_hash"] = email_hash(user.email, state.settings.key or b"")
    if request.ip_address:
        found["ip"] = request.ip_address
    if request.method:
        found["method"] = request.method
    if request.route:
        found["route"] = request.route
    if request.browser_session_id:
        found["bsid"] = request.browser_session_id
    traceparent = request.traceparent
    if traceparent:
        found["tp"] = traceparent
    return found
