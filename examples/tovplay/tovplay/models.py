"""The five tables. Deleting a player takes everything that hangs on that player along."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, ForeignKey, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import DateTime


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_name)s_key",
            "ix": "%(table_name)s_%(column_0_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


db = SQLAlchemy(model_class=Base)


def _now() -> datetime:
    return datetime.now(UTC)


def _moment(**options) -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), **options)


def _player(**options) -> Mapped[int]:
    return mapped_column(ForeignKey("User.id", ondelete="CASCADE"), **options)


class User(db.Model):
    __tablename__ = "User"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    username: Mapped[str] = mapped_column(String(40), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    display_name: Mapped[str] = mapped_column(String(120))
    country: Mapped[str] = mapped_column(String(2))
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = _moment(default=_now)
    last_login_at: Mapped[datetime | None] = _moment()

    def to_dict(self) -> dict:
        return {
            "id": self.id,
            "username": self.username,
            "display_name": self.display_name,
            "country": self.country,
            "created_at": self.created_at.isoformat(),
        }


class Game(db.Model):
    __tablename__ = "Game"
    __table_args__ = (CheckConstraint("min_players >= 1 AND max_players >= min_players", name="players"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(120), unique=True)
    genre: Mapped[str] = mapped_column(String(40), index=True)
    min_players: Mapped[int]
    max_players: Mapped[int]
    released: Mapped[int]

    def to_dict(self) -> dict:
        return {
            "id": self.id,
            "title": self.title,
            "genre": self.genre,
            "min_players": self.min_players,
            "max_players": self.max_players,
            "released": self.released,
        }


class GameRequest(db.Model):
    __tablename__ = "GameRequest"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'accepted', 'declined', 'cancelled')", name="status"),
        CheckConstraint("players_wanted >= 1", name="players_wanted"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    game_id: Mapped[int] = mapped_column(ForeignKey("Game.id", ondelete="CASCADE"), index=True)
    requester_id: Mapped[int] = _player(index=True)
    players_wanted: Mapped[int]
    message: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(12), default="open")
    created_at: Mapped[datetime] = _moment(default=_now, index=True)

    game: Mapped[Game] = relationship()

    def to_dict(self) -> dict:
        return {
            "id": self.id,
            "game_id": self.game_id,
            "requester_id": self.requester_id,
            "players_wanted": self.players_wanted,
            "message": self.message,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
        }


class ScheduledSession(db.Model):
    __tablename__ = "ScheduledSession"
    __table_args__ = (CheckConstraint("duration_minutes BETWEEN 10 AND 720", name="duration"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    game_request_id: Mapped[int] = mapped_column(ForeignKey("GameRequest.id", ondelete="CASCADE"), index=True)
    host_id: Mapped[int] = _player(index=True)
    starts_at: Mapped[datetime] = _moment(index=True)
    duration_minutes: Mapped[int]
    cancelled: Mapped[bool] = mapped_column(default=False)

    game_request: Mapped[GameRequest] = relationship()

    def to_dict(self) -> dict:
        return {
            "id": self.id,
            "game_request_id": self.game_request_id,
            "host_id": self.host_id,
            "starts_at": self.starts_at.isoformat(),
            "duration_minutes": self.duration_minutes,
            "cancelled": self.cancelled,
        }


class UserFriends(db.Model):
    __tablename__ = "UserFriends"
    __table_args__ = (CheckConstraint("user_id <> friend_id", name="not_self"),)

    user_id: Mapped[int] = _player(primary_key=True)
    friend_id: Mapped[int] = _player(primary_key=True, index=True)
    since: Mapped[datetime] = _moment(default=_now)
