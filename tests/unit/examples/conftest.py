"""The sample application on an in-memory database; Molecule's scenario runs it on PostgreSQL."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples/tovplay"))

from sqlalchemy import event, insert
from sqlalchemy.pool import StaticPool
from tovplay import create_app
from tovplay.models import Base, db
from tovplay.sample_data import tables
from werkzeug.security import generate_password_hash

PLAYERS = 60


@pytest.fixture
def password():
    """The one that every player has."""
    return "פassword of every player"


@pytest.fixture
def app(password):
    app = create_app(
        {
            "SECRET_KEY": "only for tests",
            "SQLALCHEMY_DATABASE_URI": "sqlite://",
            "SQLALCHEMY_ENGINE_OPTIONS": {"poolclass": StaticPool},
            "LOG_LEVEL": "INFO",
        }
    )
    with app.app_context():
        event.listen(db.engine, "connect", _like_postgresql)
        db.create_all()
        rows = tables(PLAYERS)
        hashed = generate_password_hash(password, method="pbkdf2:sha256:1000")
        for user in rows["User"]:
            user["password_hash"] = hashed
        for name, table_rows in rows.items():
            db.session.execute(insert(Base.metadata.tables[name]), table_rows)
        db.session.commit()
    return app


@pytest.fixture
def log(app):
    """What the application writes to its standard output from here on."""
    stream = io.StringIO()
    app.logger.handlers[0].setStream(stream)
    return stream


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def login(app, password):
    """A client that is logged in by token as the player with this email."""

    def log_in(email: str):
        client = app.test_client(use_cookies=False)
        answer = client.post("/api/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {answer.json['token']}"
        return client

    return log_in


@pytest.fixture
def admin(login):
    return login("admin@example.com")


@pytest.fixture
def john(login):
    return login("john@example.com")


def _like_postgresql(connection, _) -> None:
    connection.create_function("pg_sleep", 1, lambda seconds: None)
    connection.execute("PRAGMA foreign_keys = ON")
