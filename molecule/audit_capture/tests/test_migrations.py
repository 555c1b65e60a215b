"""Alembic's own migrations, unedited: the reason is the deploy job's, in its environment."""

from __future__ import annotations

import pytest
from audit_sql import context, events, findings, sql
from passwords import MIGRATOR, PASSWORDS

testinfra_hosts = ["docker://tovplay-audit-capture"]

PLACE = "/var/lib/postgresql/migrations"
FILES = {
    "alembic.ini": "[alembic]\nscript_location = %(here)s\n",
    "env.py": """
from alembic import context
from sqlalchemy import create_engine

with create_engine("postgresql://").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
""",
    "versions/one.py": """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "one", None


def upgrade():
    op.add_column("Game", sa.Column("genre", sa.Text()))
    op.execute("UPDATE \\"Game\\" SET genre = title")
    op.alter_column("Game", "genre", new_column_name="kind")


def downgrade():
    op.drop_column("Game", "kind")
""",
}


@pytest.fixture
def alembic(host, rows_to_lose):
    """`alembic(name, reason, *arguments)`: the real program, straight to PostgreSQL as the migrating role."""
    for path, text in FILES.items():
        host.check_output("mkdir -p %s/versions && printf %%s %s > %s", PLACE, text, f"{PLACE}/{path}")

    def once(name, reason, *arguments):
        where = "PGHOST=127.0.0.1 PGDATABASE=TovPlay PGUSER=%s PGPASSWORD=%s PGAPPNAME=%s PGOPTIONS=%s"
        options = f"-c audit.reason={reason}" if reason else ""
        return host.run(
            f"cd {PLACE} && {where} python3 -m alembic {' '.join(arguments)}",
            MIGRATOR,
            PASSWORDS[MIGRATOR],
            name,
            options,
        )

    return once


def test_alembic_runs_unedited_with_a_reason_in_its_environment(host, name, alembic):
    done = alembic(name, None, "upgrade", "head")
    assert done.rc != 0
    assert 'UPDATE of 300 rows of public."Game" (at most 100) is refused' in done.stderr
    done = alembic(name, "release-43", "upgrade", "head")
    assert done.rc == 0, done.stderr
    (row,) = [row for row in context(host, name) if row["table_name"] == 'public."Game"']
    assert (row["reason"], row["db_user"], row["db_role"]) == ("release-43", MIGRATOR, "tovplay_owner")
    done = alembic(name, None, "downgrade", "base")
    assert done.rc != 0
    assert 'ALTER TABLE of public."Game".kind is refused' in done.stderr
    done = alembic(name, "release-44", "downgrade", "base")
    assert done.rc == 0, done.stderr
    assert {event["reason"] for event in events(host, name)} >= {"release-43", "release-44"}
    assert {found["detail"].get("verdict") for found in findings(host, name)} <= {"allowed", None}
    sql(host, "DROP TABLE alembic_version", MIGRATOR, name, options="-c audit.reason=test")
