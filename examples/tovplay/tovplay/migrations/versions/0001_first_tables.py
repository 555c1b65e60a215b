"""Players, games, requests, sessions and friendships"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _player(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], ["User.id"], ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "User",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("username", sa.String(40), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("display_name", sa.String(120), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("email", name="User_email_key"),
        sa.UniqueConstraint("username", name="User_username_key"),
    )
    op.create_table(
        "Game",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.String(120), nullable=False),
        sa.Column("genre", sa.String(40), nullable=False),
        sa.Column("min_players", sa.Integer, nullable=False),
        sa.Column("max_players", sa.Integer, nullable=False),
        sa.Column("released", sa.Integer, nullable=False),
        sa.UniqueConstraint("title", name="Game_title_key"),
        sa.CheckConstraint("min_players >= 1 AND max_players >= min_players", name="Game_players_check"),
    )
    op.create_index("Game_genre_idx", "Game", ["genre"])
    op.create_table(
        "GameRequest",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("game_id", sa.Integer, nullable=False),
        sa.Column("requester_id", sa.Integer, nullable=False),
        sa.Column("players_wanted", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["game_id"], ["Game.id"], ondelete="CASCADE"),
        _player("requester_id"),
        sa.CheckConstraint("status IN ('open', 'accepted', 'declined', 'cancelled')", name="GameRequest_status_check"),
        sa.CheckConstraint("players_wanted >= 1", name="GameRequest_players_wanted_check"),
    )
    for column in ("game_id", "requester_id", "created_at"):
        op.create_index(f"GameRequest_{column}_idx", "GameRequest", [column])
    op.create_table(
        "ScheduledSession",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("game_request_id", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_minutes", sa.Integer, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["game_request_id"], ["GameRequest.id"], ondelete="CASCADE"),
        _player("host_id"),
        sa.CheckConstraint("duration_minutes BETWEEN 10 AND 720", name="ScheduledSession_duration_check"),
    )
    for column in ("game_request_id", "host_id", "starts_at"):
        op.create_index(f"ScheduledSession_{column}_idx", "ScheduledSession", [column])
    op.create_table(
        "UserFriends",
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("friend_id", sa.Integer, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "friend_id"),
        _player("user_id"),
        _player("friend_id"),
        sa.CheckConstraint("user_id <> friend_id", name="UserFriends_not_self_check"),
    )
    op.create_index("UserFriends_friend_id_idx", "UserFriends", ["friend_id"])


def downgrade() -> None:
    for table in ("UserFriends", "ScheduledSession", "GameRequest", "Game", "User"):
        op.drop_table(table)
