from __future__ import annotations

from flask import Blueprint, render_template
from sqlalchemy import func, select

from ..models import Game, GameRequest, User, db

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index():
    counts = {
        "players": db.session.scalar(select(func.count()).select_from(User)),
        "games": db.session.scalar(select(func.count()).select_from(Game)),
        "open requests": db.session.scalar(
            select(func.count()).select_from(GameRequest).where(GameRequest.status == "open")
        ),
    }
    newest = db.session.scalars(select(GameRequest).order_by(GameRequest.created_at.desc()).limit(10)).all()
    games = db.session.scalars(select(Game).order_by(Game.title)).all()
    return render_template("index.html", counts=counts, newest=newest, games=games)
