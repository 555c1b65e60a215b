"""What browsers may send: POST /in/events and /in/replay, and the scripts that do so.

nginx has judged size, rate, origin and certificate before; everything that is inside is judged here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeVar

from flask import Blueprint, Response, abort, current_app, request, send_from_directory
from prometheus_client import Counter
from pydantic import ValidationError

from .config import Settings
from .events import EventLog
from .model import Event, EventBatch, ReplayBatch, plain
from .store import QuotaError, ReplayStore

EVENTS = Counter("tovplay_ingest_events_total", "Events written to the log", ["action"])
REPLAY_BYTES = Counter("tovplay_ingest_replay_bytes_total", "Bytes of recordings received and kept")
DROPPED = Counter("tovplay_ingest_dropped_total", "Events and parts that were not kept", ["kind", "reason"])
for _kind in ("events", "replay"):
    for _reason in ("browser", "content_type", "duplicate", "invalid", "quota", "size", "unwritable"):
        DROPPED.labels(_kind, _reason)

EVENTS_BYTES = 128 * 1024
REPLAY_BYTES_A_PART = 1024 * 1024
Batch = TypeVar("Batch", EventBatch, ReplayBatch)
_SESSION = re.compile(r"[0-9a-f]{32}")
_SCRIPT = re.compile(r"agent\.js|recorder-[0-9a-f]{16}\.js")


def intake(settings: Settings, log: EventLog, store: ReplayStore) -> Blueprint:
    """The blueprint over one log and one store."""
    blueprint = Blueprint("intake", __name__, url_prefix="/in")

    @blueprint.post("/events")
    def take_events() -> Response:
        session, body = _sent("events", EVENTS_BYTES)
        batch = _parsed("events", EventBatch, body)
        DROPPED.labels("events", "browser").inc(batch.dropped)
        good = []
        for one in batch.events:
            try:
                good.append(Event.model_validate(one))
            except ValidationError:
                DROPPED.labels("events", "invalid").inc()
        try:
            new = log.append(session, batch.batch, _address(), plain(request.headers.get("User-Agent", ""))[:400], good)
        except OSError:
            DROPPED.labels("events", "unwritable").inc(len(good))
            current_app.logger.exception("events cannot be written")
            abort(503)
        if not new:
            DROPPED.labels("events", "duplicate").inc(len(good))
        for event in good if new else ():
            EVENTS.labels(event.action).inc()
        return Response(status=204)

    @blueprint.post("/replay")
    def take_replay() -> Response:
        session, body = _sent("replay", REPLAY_BYTES_A_PART)
        batch = _parsed("replay", ReplayBatch, body)
        DROPPED.labels("replay", "browser").inc(batch.dropped)
        times = [event.timestamp for event in batch.events]
        try:
            new = store.add(session, batch.batch, min(times), max(times), body)
        except QuotaError:
            DROPPED.labels("replay", "quota").inc()
            abort(Response(status=507))  # no room (RFC 4918); werkzeug knows no such error
        except OSError:
            DROPPED.labels("replay", "unwritable").inc()
            current_app.logger.exception("recordings cannot be written")
            abort(503)
        if new:
            REPLAY_BYTES.inc(len(body))
        else:
            DROPPED.labels("replay", "duplicate").inc()
        return Response(status=204)

    @blueprint.get("/<name>")
    def script(name: str) -> Response:
        if not _SCRIPT.fullmatch(name):
            abort(404)
        answer = send_from_directory(settings.assets, name, mimetype="text/javascript")
        # The recorder's name changes with its content, the agent's does not.
        seconds = 300 if name == "agent.js" else 31_536_000
        answer.headers["Cache-Control"] = f"public, max-age={seconds}"
        return answer

    return blueprint


def _sent(kind: str, longest: int) -> tuple[str, bytes]:
    """Session and body of a request of the agent's; anything else is counted and refused."""
    if request.mimetype not in ("text/plain", "application/json"):
        DROPPED.labels(kind, "content_type").inc()
        abort(415)
    if (request.content_length or 0) > longest:
        DROPPED.labels(kind, "size").inc()
        abort(413)
    session = request.args.get("session", "")
    if not _SESSION.fullmatch(session):
        DROPPED.labels(kind, "invalid").inc()
        abort(400)
    return session, request.get_data()


def _parsed(kind: str, model: type[Batch], body: bytes) -> Batch:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        DROPPED.labels(kind, "invalid").inc()
        abort(400)


def _address() -> str:
    """The browser's address as the application's nginx saw it."""
    try:
        return str(ipaddress.ip_address(request.headers.get("X-Real-IP", "")))
    except ValueError:
        return ""
