"""What happens around one SQL statement, the same for both drivers: tell who acts, open a span, close both."""

from __future__ import annotations

from typing import Any, Protocol

from tovplay_telemetry.activation import state
from tovplay_telemetry.counters import count
from tovplay_telemetry.database import identity
from tovplay_telemetry.database.statements import Kind, kind

# PQtransactionStatus of libpq; both drivers hand out its numbers.
IDLE, ACTIVE, INTRANS = 0, 1, 2


class Driver(Protocol):
    def text(self, query: Any, cursor: Any) -> str: ...
    def status(self, connection: Any) -> int: ...
    def is_autocommit(self, connection: Any) -> bool: ...
    def database(self, connection: Any) -> str | None: ...
    def run(self, connection: Any, sql: str, parameters: tuple[str, ...] | None = None) -> None: ...


class Statement:
    """A context manager around the driver's own execute; an error of ours never reaches the application."""

    __slots__ = ("_connection", "_driver", "_kind", "_must_commit", "_span", "_wrappable")

    def __init__(self, driver: Driver, cursor: Any, query: Any, *, wrappable: bool = True) -> None:
        """wrappable: whether the result is there once execute returns, so that a transaction around it may end then."""
        self._driver = driver
        self._connection = cursor.connection
        self._wrappable = wrappable
        self._must_commit = False
        self._span: Any = None
        try:
            self._kind = kind(driver.text(query, cursor))
        except Exception:
            count("faults_statement")
            self._kind = _UNREADABLE

    def __enter__(self) -> None:
        try:
            found = self._before()
            told = identity.statement(found[1]) if found else None
        except Exception:
            count("faults_context")
            self._must_commit, told = False, None
        if told:
            self._tell(found[0], *told)
        self._open_span()

    def __exit__(self, kind_of_error: Any, error: BaseException | None, trace: Any) -> None:
        if state.tracing:
            try:
                state.tracing.end_statement(self._span, error)
            except Exception:
                count("faults_span")
        if self._kind.resets:
            self._connection._tovplay_told = None
        if self._must_commit:
            if error is None:
                self._driver.run(self._connection, "COMMIT")  # a deferred constraint's error is the application's
            else:
                self._quietly("ROLLBACK")

    def _before(self) -> Any:
        status = self._driver.status(self._connection)
        if status == IDLE:
            self._connection._tovplay_told = None
        elif status not in (ACTIVE, INTRANS):
            return None  # a failed transaction takes no statement, and a lost connection none at all
        found = identity.due(getattr(self._connection, "_tovplay_told", None), self._kind)
        if found is None or status != IDLE or not self._driver.is_autocommit(self._connection):
            return found
        if not self._wrappable or not self._kind.wrappable:
            if not self._kind.reads:
                count("contexts_untold")
            return None
        self._must_commit = True
        return found

    def _tell(self, mark: Any, sql: str, parameters: tuple[str, ...]) -> None:
        began = self._driver.status(self._connection) == IDLE
        try:
            if self._must_commit:
                self._driver.run(self._connection, "BEGIN")
            self._driver.run(self._connection, sql, parameters)
        except Exception:
            count("contexts_untold")
            if began:  # nothing of the application's is in this transaction yet
                self._quietly("ROLLBACK")
                self._must_commit = False
            return
        if not self._must_commit:
            self._connection._tovplay_told = mark

    def _open_span(self) -> None:
        if state.tracing:
            try:
                database = self._driver.database(self._connection)
                self._span = state.tracing.start_statement(self._kind.operation, self._kind.shown, database)
            except Exception:
                count("faults_span")

    def _quietly(self, sql: str) -> None:
        try:
            self._driver.run(self._connection, sql)
        except Exception:  # the connection is gone, and with it the transaction
            count("faults_rollback")


_UNREADABLE = Kind("OTHER", False, False, False, "")
