from __future__ import annotations

from flask import Blueprint, abort, current_app, g, jsonify, request
from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError

from ..auth import admin_required, login_required
from ..models import GameRequest, ScheduledSession, User, UserFriends, db
from . import _input

blueprint = Blueprint("players", __name__, url_prefix="/api")


@blueprint.get("/users")
@login_required
def list_users():
    offset, limit = _input.page()
    users = db.session.scalars(select(User).order_by(User.id).offset(offset).limit(limit))
    return jsonify([user.to_dict() for user in users])


@blueprint.get("/users/<int:user_id>")
@login_required
def get_user(user_id: int):
    user = db.session.get(User, user_id) or abort(404, "no such player")
    return jsonify(user.to_dict())


@blueprint.get("/users/<int:user_id>/friends")
@login_required
def list_friends(user_id: int):
    friends = db.session.scalars(
        select(User).join(UserFriends, UserFriends.friend_id == User.id).where(UserFriends.user_id == user_id)
    )
    return jsonify([friend.to_dict() for friend in friends])


@blueprint.post("/friends")
@login_required
def add_friend():
    friend_id = _input.number(_input.body(), "friend_id", 1, 2**31 - 1)
    if friend_id == g.user_id:
        abort(400, "nobody befriends themselves")
    db.session.add_all(
        [UserFriends(user_id=g.user_id, friend_id=friend_id), UserFriends(user_id=friend_id, friend_id=g.user_id)]
    )
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        abort(409, "no such player, or friends already")
    current_app.logger.info(
        "friend_added", extra={"action": "FRIEND_ADD", "user_id": g.user_id, "target_user": friend_id}
    )
    return jsonify(user_id=g.user_id, friend_id=friend_id), 201


@blueprint.delete("/friends/<int:friend_id>")
@login_required
def remove_friend(friend_id: int):
    gone = db.session.execute(
        delete(UserFriends).where(
            or_(
                (UserFriends.user_id == g.user_id) & (UserFriends.friend_id == friend_id),
                (UserFriends.user_id == friend_id) & (UserFriends.friend_id == g.user_id),
            )
        )
    ).rowcount
    db.session.commit()
    if not gone:
        abort(404, "not friends")
    current_app.logger.info(
        "friend_removed", extra={"action": "FRIEND_REMOVE", "user_id": g.user_id, "target_user": friend_id}
    )
    return "", 204


@blueprint.delete("/delete-user/<int:user_id>")
@admin_required
def delete_user(user_id: int):
    reason = request.args.get("reason", "")[:500]
    current_app.logger.info(
        "delete_user_attempt",
        extra={"action": "DELETE_USER", "user_id": g.user_id, "target_user": user_id, "action_reason": reason},
    )
    if not reason.strip():
        abort(400, "say why: ?reason=…")
    user = db.session.get(User, user_id) or abort(404, "no such player")
    count = 1 + _records_of(user_id)
    db.session.delete(user)
    db.session.commit()
    current_app.logger.info(
        "delete_user_success",
        extra={
            "action": "DELETE_USER_COMPLETE",
            "user_id": g.user_id,
            "target_user": user_id,
            "records_deleted": count,
        },
    )
    return jsonify(deleted=user_id, records_deleted=count)


def _records_of(user_id: int) -> int:
    """What the database will take along when this player goes."""
    requests = select(GameRequest.id).where(GameRequest.requester_id == user_id)
    counts = (
        select(func.count()).select_from(requests.subquery()),
        select(func.count())
        .select_from(ScheduledSession)
        .where(or_(ScheduledSession.host_id == user_id, ScheduledSession.game_request_id.in_(requests))),
        select(func.count())
        .select_from(UserFriends)
        .where(or_(UserFriends.user_id == user_id, UserFriends.friend_id == user_id)),
    )
    return sum(db.session.scalar(count) for count in counts)
