from __future__ import annotations

from flask import Blueprint, jsonify, request
from sqlalchemy import func, select, text

from ..auth import login_required
from ..models import GameRequest, ScheduledSession, db

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
def healthz():
    db.session.execute(text("SELECT 1"))
    return jsonify(status="ok")


@blueprint.get("/api/reports/activity")
@login_required
def activity():
    """The monthly report nobody has made fast yet."""
    seconds = max(0.0, min(request.args.get("seconds", 1.5, type=float), 10.0))
    db.session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    return jsonify(
        requests=db.session.scalar(select(func.count()).select_from(GameRequest)),
        sessions=db.session.scalar(select(func.count()).select_from(ScheduledSession)),
    )


@blueprint.get("/api/reports/revenue")
@login_required
def revenue():
    """Divides by the number of paying players, and there are none."""
    paying = db.session.scalar(text("SELECT 0"))
    return jsonify(per_player=1000 / paying)
