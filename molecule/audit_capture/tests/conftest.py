"""Tables to write to, made as the migrations would."""

from __future__ import annotations

import uuid

import pytest
from audit_sql import ROWS, TABLES, sql
from passwords import APP, MIGRATOR


@pytest.fixture
def name():
    """An application_name of the test's own: what the audit noted outlives it."""
    return f"probe-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module", autouse=True)
def tables(host):
    sql(host, TABLES, MIGRATOR, options="-c audit.reason=setup")
    sql(host, ROWS, APP, "fill")


@pytest.fixture
def rows_to_lose(host, tables):
    """300 rows in each table again."""
    sql(host, ROWS, APP, "fill")
