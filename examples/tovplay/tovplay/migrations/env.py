"""Bring the schema up to date, in one transaction, in the name of the role that owns the tables."""

from __future__ import annotations

import sys

from alembic import context
from tovplay.database import owner_connection
from tovplay.models import Base


def say(*, step, **_) -> None:
    print(f"migrated to {step.up_revision_id}" if step.is_upgrade else f"back from {step.up_revision_id}")
    sys.stdout.flush()


with owner_connection() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, on_version_apply=say)
    with context.begin_transaction():
        context.run_migrations()
