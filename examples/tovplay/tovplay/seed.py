"""Fill the empty tables once: `python -m tovplay.seed --players 2000`.

The database itself remembers, in its comment, that it was filled. So tables that somebody has emptied or dropped
since then stay empty: made-up rows must never cover the traces of a wipe.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sqlalchemy import Connection, func, insert, select, text
from werkzeug.security import generate_password_hash

from .config import setting
from .database import owner_connection
from .models import Base, User
from .sample_data import tables

MARK = "holds the sample data of tovplay.seed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=2000)
    players = parser.parse_args().players
    with owner_connection() as connection, connection.begin():
        # Two runs at once: the second waits here, and then sees the first one's mark.
        connection.execute(text('LOCK TABLE "User" IN SHARE ROW EXCLUSIVE MODE'))
        if filled(connection):
            print("filled before")
            return
        password = setting(os.environ, "PLAYER_PASSWORD", Path.read_text)
        print(f"filled with {fill(connection, players, password)} rows")


def remark(connection: Connection) -> str:
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    return connection.scalar(text(f"SELECT shobj_description({database}, 'pg_database')")) or ""


def filled(connection: Connection) -> bool:
    return MARK in remark(connection) or connection.scalar(select(func.count()).select_from(User)) > 0


def fill(connection: Connection, players: int, password: str) -> int:
    """Insert every row and remember it; all of the players have one password, as only a demonstration may."""
    rows = tables(players)
    hashed = generate_password_hash(password, method="pbkdf2:sha256:60000")
    for user in rows["User"]:
        user["password_hash"] = hashed
    for name, table_rows in rows.items():
        connection.execute(insert(Base.metadata.tables[name]), table_rows)
        if "id" in table_rows[0]:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)"),
                {"table": f'"{name}"', "last": len(table_rows)},
            )
    remember(connection)
    return sum(map(len, rows.values()))


def remember(connection: Connection) -> None:
    """Comments take no parameters, so the server puts the statement together; what was remarked before stays."""
    whole = " · ".join(filter(None, (remark(connection), MARK)))
    statement = connection.scalar(
        text("SELECT format('COMMENT ON DATABASE %I IS %L', current_database(), CAST(:remark AS text))"),
        {"remark": whole},
    )
    connection.exec_driver_sql(statement.replace("%", "%%"))


if __name__ == "__main__":
    main()
