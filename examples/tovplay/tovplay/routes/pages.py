from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, url_for
from sqlalchemy import func, select

from ..models import Game, GameRequest, User, db
from . import _input

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


@blueprint.get("/players")
def players():
    if g.user is None:
        return redirect(url_for("pages.index"))
    offset, limit = _input.page()
    users = db.session.scalars(select(User).order_by(User.id).offset(offset).limit(limit)).all()
    return render_template("players.html", users=users, offset=offset, limit=limit)
