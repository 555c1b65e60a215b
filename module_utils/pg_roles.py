# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets of PostgreSQL's roles, read from and written to the server. The only place here that knows psycopg2."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils.pgbouncer_userlist import ServerRole, UserlistError

try:
    import psycopg2
    from psycopg2 import sql

    AVAILABLE = True
except ImportError:
    AVAILABLE = False

READ = """
    SELECT rolname, rolpassword, rolcanlogin, rolsuper, COALESCE(rolvaliduntil < pg_catalog.now(), false)
    FROM pg_catalog.pg_authid WHERE rolname = ANY(%s)
"""
# The server's statement log would show the verifier. pgaudit still records the ALTER ROLE, with the secret redacted.
QUIET = """
    SET LOCAL log_statement = 'none';
    SET LOCAL log_min_duration_statement = -1;
    SET LOCAL log_min_error_statement = 'panic'
"""


class Server:
    """One connection, closed without a commit unless `alter` made one."""

    def __init__(self, login: Mapping[str, Any]) -> None:
        if not AVAILABLE:
            raise UserlistError("psycopg2 is not installed on this host")
        parameters = {
            "host": login["login_host"] or login["login_unix_socket"],
            "port": login["login_port"],
            "user": login["login_user"],
            "password": login["login_password"],
            "dbname": login["login_db"],
            "sslmode": login["ssl_mode"],
            "sslrootcert": login["ca_cert"],
        }
        with acting_as(login["login_os_user"]), readable_errors():
            self._connection = psycopg2.connect(
                **{key: value for key, value in parameters.items() if value}, client_encoding="UTF8", connect_timeout=10
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def roles(self, names: Iterable[str]) -> dict[str, ServerRole]:
        with readable_errors(), self._connection.cursor() as cursor:
            cursor.execute(READ, (sorted(names),))
            return {name: ServerRole(*rest) for name, *rest in cursor}

    def alter(self, secrets: Mapping[str, str]) -> None:
        """All of them or none."""
        with readable_errors(), self._connection, self._connection.cursor() as cursor:
            cursor.execute(QUIET)
            for name, secret in secrets.items():
                cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(secret)))


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        # Only the first line of the server's answer: the rest may quote the statement, and with it a secret.
        said = error.diag.message_primary or str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserlistError(f"PostgreSQL said: {said}") from error


@contextlib.contextmanager
def acting_as(account: str | None) -> Iterator[None]:
    """PostgreSQL's peer authentication looks at the effective user of the moment of connecting."""
    if not account or os.geteuid() != 0:
        yield
        return
    try:
        uid = pwd.getpwnam(account).pw_uid
    except KeyError:
        raise UserlistError(f"there is no account {account!r} on this host to ask PostgreSQL as") from None
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
