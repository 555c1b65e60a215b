from __future__ import annotations

from flask import Blueprint, abort, current_app, g, jsonify, request, session
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from .. import auth
from ..models import User, _now, db
from . import _input

blueprint = Blueprint("login", __name__, url_prefix="/api")

# Checked when the player is unknown, so that the answer takes as long as for a known one.
_NOBODY = generate_password_hash("nobody has this password", method="pbkdf2:sha256:60000")


@blueprint.post("/login")
def login():
    data = _input.body()
    email = _input.text(data, "email", 254).lower()
    password = _input.text(data, "password", 200)
    user = db.session.scalar(select(User).where(User.email == email))
    if not check_password_hash(user.password_hash if user else _NOBODY, password) or user is None:
        current_app.logger.warning(
            "login_failed",
            extra={
                "action": "AUTH_FAILED",
                "status": "AUTH_FAILED",
                "email": email,
                "ip_address": request.remote_addr,
            },
        )
        abort(401, "wrong email or password")
    user.last_login_at = _now()
    db.session.commit()
    auth.remember(user)
    session.clear()
    session["user_id"] = user.id
    current_app.logger.info("login_success", extra={"action": "LOGIN", "user_id": user.id, "email": email})
    return jsonify(token=auth.issue_token(user), user=user.to_dict())


@blueprint.post("/logout")
@auth.login_required
def logout():
    current_app.logger.info("logout", extra={"action": "LOGOUT", "user_id": g.user_id})
    session.clear()
    return "", 204
