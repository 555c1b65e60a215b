from __future__ import annotations

from flask import Blueprint, abort, current_app, g, jsonify, request
from sqlalchemy import select

from ..auth import login_required
from ..models import Game, GameRequest, db
from . import _input

blueprint = Blueprint("requests", __name__, url_prefix="/api/game-requests")


@blueprint.get("")
@login_required
def list_requests():
    offset, limit = _input.page()
    query = select(GameRequest).order_by(GameRequest.created_at.desc()).offset(offset).limit(limit)
    if request.args.get("game_id", type=int):
        query = query.where(GameRequest.game_id == request.args.get("game_id", type=int))
    return jsonify([entry.to_dict() for entry in db.session.scalars(query)])


@blueprint.post("")
@login_required
def create_request():
    data = _input.body()
    game = db.session.get(Game, _input.number(data, "game_id", 1, 2**31 - 1)) or abort(404, "no such game")
    entry = GameRequest(
        game_id=game.id,
        requester_id=g.user_id,
        players_wanted=_input.number(data, "players_wanted", 1, game.max_players),
        message=_input.text(data, "message", 1000),
    )
    db.session.add(entry)
    db.session.commit()
    current_app.logger.info(
        "game_request_created",
        extra={"action": "GAME_REQUEST_CREATE", "user_id": g.user_id, "game_id": game.id, "request_id": entry.id},
    )
    return jsonify(entry.to_dict()), 201


@blueprint.patch("/<int:request_id>")
@login_required
def change_request(request_id: int):
    entry = db.session.get(GameRequest, request_id) or abort(404, "no such request")
    status = _input.text(_input.body(), "status", 12)
    mine = entry.requester_id == g.user_id
    if status not in (("cancelled",) if mine else ("accepted", "declined")) or entry.status != "open":
        abort(409, f"a request that is {entry.status} cannot become {status} by you")
    entry.status = status
    db.session.commit()
    current_app.logger.info(
        "game_request_changed",
        extra={"action": "GAME_REQUEST_UPDATE", "user_id": g.user_id, "request_id": request_id, "status": status},
    )
    return jsonify(entry.to_dict())
