from __future__ import annotations

from flask import Blueprint, abort, jsonify, request
from sqlalchemy import select

from ..models import Game, db
from . import _input

blueprint = Blueprint("games", __name__, url_prefix="/api")


@blueprint.get("/games")
def list_games():
    offset, limit = _input.page()
    query = select(Game).order_by(Game.title).offset(offset).limit(limit)
    if request.args.get("genre"):
        query = query.where(Game.genre == request.args["genre"])
    return jsonify([game.to_dict() for game in db.session.scalars(query)])


@blueprint.get("/games/<int:game_id>")
def get_game(game_id: int):
    game = db.session.get(Game, game_id) or abort(404, "no such game")
    return jsonify(game.to_dict())
