"""Pages for people who may read: the list of recordings, and one of them beside its log lines.

A recording is hostile: it is parsed by the player only, in a frame that runs no script of it and loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, render_template, send_from_directory, stream_with_context

from .config import Settings
from .logs import Logs, LogsError
from .store import ReplayStore

# The page: own scripts and styles, own data.
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The player's frame: no connection at all. A recorded page brings its styles along, hence 'unsafe-inline' for them.
_PLAYER = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_ASSETS = ("replay.js", "replay.css", "player.js", "player.css")


def playback(settings: Settings, store: ReplayStore, logs: Logs) -> Blueprint:
    """The blueprint over one store and one Loki."""
    blueprint = Blueprint("playback", __name__, url_prefix="/replay")

    @blueprint.after_request
    def strict(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", _PAGE)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @blueprint.get("/")
    def sessions() -> str:
        problem, users, errors = "", {}, {}
        try:
            users, errors = logs.users(), logs.errors()
        except LogsError as error:
            problem = str(error)
        return render_template(
            "sessions.html",
            recordings=store.recordings(),
            users=users,
            errors=errors,
            problem=problem,
            when=_when,
            span=_span,
        )

    @blueprint.get("/<session>/")
    def session_page(session: str) -> str:
        recording = store.recording(session) or abort(404)
        return render_template("session.html", recording=recording, when=_when, span=_span)

    @blueprint.get("/<session>/events")
    def events(session: str) -> Response:
        store.recording(session) or abort(404)

        def parts() -> Iterator[bytes]:
            yield b"["
            for number, body in enumerate(store.bodies(session)):
                yield (b",\n" if number else b"") + body
            yield b"]"

        return Response(stream_with_context(parts()), mimetype="application/json")

    @blueprint.get("/<session>/logs")
    def lines(session: str) -> Response:
        store.recording(session) or abort(404)
        try:
            answer = {"lines": logs.of_session(session), "problem": ""}
        except LogsError as error:
            answer = {"lines": [], "problem": str(error)}
        return Response(json.dumps(answer), mimetype="application/json")

    @blueprint.get("/player")
    def player() -> Response:
        return Response(render_template("player.html"), headers={"Content-Security-Policy": _PLAYER})

    @blueprint.get("/static/<name>")
    def static(name: str) -> Response:
        if name not in _ASSETS:
            abort(404)
        return send_from_directory(settings.assets, name)

    return blueprint


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(milliseconds: int) -> str:
    minutes, seconds = divmod(max(0, milliseconds) // 1000, 60)
    return f"{minutes}:{seconds:02}"
