"""psycopg2: a connection whose cursors tell first. Its types are C, so they are extended, not patched."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from tovplay_telemetry.database.statement import Statement


class _Driver:
    def __init__(self, cursor: type) -> None:
        self._cursor = cursor

    def text(self, query: Any, cursor: Any) -> str:
        if isinstance(query, str):
            return query
        return query.decode(errors="replace") if isinstance(query, bytes) else query.as_string(cursor)

    def status(self, connection: Any) -> int:
        return connection.get_transaction_status()

    def is_autocommit(self, connection: Any) -> bool:
        return connection.autocommit

    def database(self, connection: Any) -> str | None:
        if connection._tovplay_database is None:
            connection._tovplay_database = connection.info.dbname
        return connection._tovplay_database

    def run(self, connection: Any, sql: str, parameters: tuple[str, ...] | None = None) -> None:
        cursor = self._cursor(connection)
        cursor.execute(sql, parameters)
        cursor.close()


def install(module: Any) -> None:
    """Replace psycopg2.connect; connections made from now on tell."""
    extensions = import_module("psycopg2.extensions")
    driver = _Driver(extensions.cursor)
    connect = module.connect

    class Cursor:
        """Mixed into whatever cursor class is asked for."""

        def execute(self, query: Any, vars: Any = None) -> Any:
            with Statement(driver, self, query, wrappable=self.name is None):  # type: ignore[attr-defined]
                return super().execute(query, vars)  # type: ignore[misc]

        def executemany(self, query: Any, vars_list: Any) -> Any:
            with Statement(driver, self, query, wrappable=self.name is None):  # type: ignore[attr-defined]
                return super().executemany(query, vars_list)  # type: ignore[misc]

        def callproc(self, procname: Any, *arguments: Any) -> Any:
            with Statement(driver, self, f"CALL {procname}"):
                return super().callproc(procname, *arguments)  # type: ignore[misc]

        def copy_expert(self, sql: Any, *arguments: Any, **options: Any) -> Any:
            with Statement(driver, self, sql):
                return super().copy_expert(sql, *arguments, **options)  # type: ignore[misc]

        def copy_from(self, file: Any, table: Any, *arguments: Any, **options: Any) -> Any:
            with Statement(driver, self, f"COPY {table} FROM STDIN"):
                return super().copy_from(file, table, *arguments, **options)  # type: ignore[misc]

    class Connection:
        """Mixed into whatever connection class is asked for."""

        _tovplay_told: Any = None
        _tovplay_database: Any = None

        def cursor(self, *arguments: Any, **options: Any) -> Any:
            name, given, *rest = (*arguments, None, None)[: max(2, len(arguments))]
            factory = options.pop("cursor_factory", None) or given or self.cursor_factory or extensions.cursor  # type: ignore[attr-defined]
            return super().cursor(options.pop("name", name), cursor_class(factory), *rest, **options)  # type: ignore[misc]

        def tpc_begin(self, xid: Any) -> Any:
            self._tovplay_told = None
            return super().tpc_begin(xid)  # type: ignore[misc]

    @lru_cache(maxsize=64)
    def cursor_class(factory: Any) -> Any:
        if not isinstance(factory, type) or issubclass(factory, Cursor):
            return factory
        return type(factory.__name__, (Cursor, factory), {"__module__": factory.__module__})

    @lru_cache(maxsize=16)
    def connection_class(factory: Any) -> Any:
        if not isinstance(factory, type) or issubclass(factory, Connection):
            return factory
        return type(factory.__name__, (Connection, factory), {"__module__": factory.__module__})

    def connecting(dsn: Any = None, connection_factory: Any = None, cursor_factory: Any = None, **options: Any) -> Any:
        if options.get("async") or options.get("async_"):  # its statements return before they have run
            return connect(dsn, connection_factory, cursor_factory, **options)
        return connect(dsn, connection_class(connection_factory or extensions.connection), cursor_factory, **options)

    module.connect = connecting
