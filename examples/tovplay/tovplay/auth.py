"""Who is asking: a signed bearer token for the API, a signed session cookie for the pages."""

from __future__ import annotations

from functools import wraps

from flask import Flask, abort, current_app, g, request, session
from itsdangerous import BadSignature, URLSafeTimedSerializer

from .models import User, db

TOKEN_SECONDS = 12 * 3600


def init_app(app: Flask) -> None:
    app.before_request(_load_user)
    app.after_request(_name_user)


def issue_token(user: User) -> str:
    return _serializer().dumps(user.id)


def login_required(view):
    @wraps(view)
    def guarded(*args, **kwargs):
        if g.user is None:
            abort(401, "log in first")
        return view(*args, **kwargs)

    return guarded


def admin_required(view):
    @login_required
    @wraps(view)
    def guarded(*args, **kwargs):
        if not g.user.is_admin:
            current_app.logger.warning(
                "forbidden", extra={"action": "FORBIDDEN", "user_id": g.user_id, "path": request.path}
            )
            abort(403, "administrators only")
        return view(*args, **kwargs)

    return guarded


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="api-token")


def _load_user() -> None:
    user_id = _user_id_of_token() or session.get("user_id")
    # Health checks and anonymous pages cost no query.
    remember(db.session.get(User, user_id) if user_id else None)


def remember(user: User | None) -> None:
    """Bind the player to this request; the number outlives a rollback or the player's own deletion."""
    g.user = user
    g.user_id = user.id if user else None


def _user_id_of_token() -> int | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        return _serializer().loads(token, max_age=TOKEN_SECONDS)
    except BadSignature:
        abort(401, "the token is invalid or has expired")


def _name_user(response):
    """Tell the reverse proxy who it was, for its access log; it does not pass this on."""
    if g.get("user_id") is not None:
        response.headers["X-User-Id"] = str(g.user_id)
    return response
