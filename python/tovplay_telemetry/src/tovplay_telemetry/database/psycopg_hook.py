"""psycopg 3: its cursors are Python classes; their methods are wrapped where they stand, so subclasses inherit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from tovplay_telemetry.database.statement import IDLE, Statement


class _Driver:
    def __init__(self, cursor: type) -> None:
        self._cursor = cursor
        self._execute = cursor.execute  # type: ignore[attr-defined]  # before it is wrapped

    def text(self, query: Any, cursor: Any) -> str:
        if isinstance(query, str):
            return query
        return query.decode(errors="replace") if isinstance(query, bytes) else query.as_string(cursor)

    def status(self, connection: Any) -> int:
        return connection.pgconn.transaction_status

    def is_autocommit(self, connection: Any) -> bool:
        return connection.autocommit

    def database(self, connection: Any) -> str | None:
        return connection.pgconn.db.decode(errors="replace")

    def run(self, connection: Any, sql: str, parameters: tuple[str, ...] | None = None) -> None:
        # Never prepared: PgBouncer before 1.21 cannot pass prepared statements on.
        self._execute(self._cursor(connection), sql, parameters, prepare=False)


def install(module: Any) -> None:
    """Wrap what runs statements, and what ends a transaction without a statement of its own."""
    driver = _Driver(module.Cursor)
    module.Cursor.execute = _around(module.Cursor.execute, driver)
    module.Cursor.executemany = _around(module.Cursor.executemany, driver)
    module.ServerCursor.execute = _around(module.ServerCursor.execute, driver, wrappable=False)
    module.Cursor.stream = _around_stream(module.Cursor.stream, driver)
    module.Cursor.copy = _around_copy(module.Cursor.copy, driver)
    for kind in (module.Connection, module.AsyncConnection):
        kind._tovplay_told = None
    for name in ("commit", "rollback", "tpc_begin"):
        setattr(module.Connection, name, _forgetting(getattr(module.Connection, name)))
    transaction = module.Transaction
    transaction.__exit__ = _leaving(transaction.__exit__)


def _around(method: Any, driver: _Driver, *, wrappable: bool = True) -> Any:
    @wraps(method)
    def wrapper(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        with Statement(driver, self, query, wrappable=wrappable):
            return method(self, query, *arguments, **options)

    return wrapper


def _around_stream(method: Any, driver: _Driver) -> Any:
    @wraps(method)
    def wrapper(self: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        with Statement(driver, self, query):
            yield from method(self, query, *arguments, **options)

    return wrapper


def _around_copy(method: Any, driver: _Driver) -> Any:
    @wraps(method)
    @contextmanager
    def wrapper(self: Any, statement: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        with Statement(driver, self, statement), method(self, statement, *arguments, **options) as copy:
            yield copy

    return wrapper


def _forgetting(method: Any) -> Any:
    @wraps(method)
    def wrapper(self: Any, *arguments: Any, **options: Any) -> Any:
        self._tovplay_told = None
        return method(self, *arguments, **options)

    return wrapper


def _leaving(method: Any) -> Any:
    """`with connection.transaction()`: its end, and a rollback to its savepoint, take back what was told in it."""

    @wraps(method)
    def wrapper(self: Any, kind: Any, error: Any, trace: Any) -> Any:
        try:
            return method(self, kind, error, trace)
        finally:
            if kind is not None or self.connection.pgconn.transaction_status == IDLE:
                self.connection._tovplay_told = None

    return wrapper
