"""The owner's way into the database: migrations and the first data, never the running application."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from .config import setting


@contextmanager
def owner_connection() -> Iterator[Connection]:
    """Log in as the migrator and act as the owner, so that one role owns every table."""
    engine = create_engine(setting(os.environ, "MIGRATION_DATABASE_URL", Path.read_text), poolclass=NullPool)
    with engine.connect() as connection:
        role = os.environ.get("MIGRATION_ROLE")
        if role:
            connection.execute(text(f"SET ROLE {connection.dialect.identifier_preparer.quote(role)}"))
            connection.commit()
        yield connection
