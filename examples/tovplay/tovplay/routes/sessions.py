from __future__ import annotations

from flask import Blueprint, abort, current_app, g, jsonify
from sqlalchemy import select

from ..auth import login_required
from ..models import GameRequest, ScheduledSession, db
from . import _input

blueprint = Blueprint("sessions", __name__, url_prefix="/api/sessions")


@blueprint.get("")
@login_required
def list_sessions():
    offset, limit = _input.page()
    query = select(ScheduledSession).order_by(ScheduledSession.starts_at.desc()).offset(offset).limit(limit)
    return jsonify([entry.to_dict() for entry in db.session.scalars(query)])


@blueprint.post("")
@login_required
def schedule():
    data = _input.body()
    request_id = _input.number(data, "game_request_id", 1, 2**31 - 1)
    game_request = db.session.get(GameRequest, request_id) or abort(404, "no such request")
    entry = ScheduledSession(
        game_request_id=game_request.id,
        host_id=g.user_id,
        starts_at=_input.moment(data, "starts_at"),
        duration_minutes=_input.number(data, "duration_minutes", 10, 720),
    )
    db.session.add(entry)
    db.session.commit()
    current_app.logger.info(
        "session_scheduled",
        extra={"action": "SESSION_SCHEDULE", "user_id": g.user_id, "session_id": entry.id},
    )
    return jsonify(entry.to_dict()), 201


@blueprint.delete("/<int:session_id>")
@login_required
def cancel(session_id: int):
    entry = db.session.get(ScheduledSession, session_id) or abort(404, "no such session")
    if entry.host_id != g.user_id and not g.user.is_admin:
        abort(403, "only its host cancels a session")
    entry.cancelled = True
    db.session.commit()
    current_app.logger.info(
        "session_cancelled", extra={"action": "SESSION_CANCEL", "user_id": g.user_id, "session_id": session_id}
    )
    return "", 204
