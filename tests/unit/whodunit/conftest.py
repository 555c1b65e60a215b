"""A PostgreSQL of the tests' own with the vault's real SQL, filled as replication would fill it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tests.conftest import ROOT

VAULT_SQL = ROOT / "roles" / "audit_vault" / "files" / "sql"
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # other tests may have this machine's cores
DESCRIBE = """
SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
  'name', a.attname, 'attnum', a.attnum, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
  'default', pg_get_expr(d.adbin, d.adrelid), 'generated', a.attgenerated <> '',
  'key', array_position(i.indkey::int2[], a.attnum) + 1)) ORDER BY a.attnum)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
SHADOW_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


@dataclass
class World:
    """Production and its vault; what happens on the one is written to the other as the apply worker would."""

    production: psycopg.Connection[Any]
    vault: psycopg.Connection[Any]
    vault_dsn: str
    production_dsn: str
    pid: int = field(default=0)

    def track(self, *tables: str, policies: dict[tuple[str, str], str] | None = None) -> None:
        """Shadows of production's tables with the rows that are there: the baseline."""
        for (table, column), policy in (policies or {}).items():
            self.vault.execute("INSERT INTO vault.policy VALUES ('public', %s, %s, %s)", (table, column, policy))
        for table in tables:
            oid, columns = self._describe(table)
            self.vault.execute(
                "SELECT vault.adopt(%s)",
                (json.dumps([{"schema": "public", "table": table, "oid": oid, "columns": columns}]),),
            )
        self.vault.execute("SELECT set_config('vault.moves', 'on', false)")
        for table in tables:
            self._copy(table)
        self.vault.execute("SELECT set_config('vault.moves', '', false)")
        self.vault.commit()
        self.production.commit()

    def commit(self, *statements: str, **context: Any) -> str:
        """One transaction of production, and its replay in the vault; returns the incident's id."""
        replay = context.pop("replay", None)
        if replay is None:
            replay = list(statements)
        xid = self._value(self.production, "SELECT pg_current_xact_id()::text::bigint")
        for statement in statements:
            self.production.execute(statement.encode())
        self.production.commit()
        self.vault.execute("SELECT set_config('vault.worker', 'apply', false)")
        self.vault.execute(
            "SELECT pg_replication_origin_xact_setup(pg_current_wal_lsn(), coalesce(%s::timestamptz,"
            " clock_timestamp()))",
            (context.get("at"),),
        )
        if context.pop("noted", True):
            row = {
                "xid": xid,
                "at": context.pop("at", None),
                "pg_session_id": "6731a000.1f",
                "pid": 31,
                "db_user": "app",
                "db_role": "app",
                "client_addr": "10.0.0.9",
                "client_port": 41000,
                "application_name": "web",
                "command": statements[0].split()[0],
                "table_name": "public.User",
                "statement": context.pop("shown", statements[0]),
                "replication_role": "origin",
                **context,
            }
            names = ", ".join(row)
            values = ", ".join("coalesce(%s, clock_timestamp())" if name == "at" else "%s" for name in row)
            self.vault.execute(f"INSERT INTO audit.context ({names}) VALUES ({values})", list(row.values()))
        for statement in replay:
            self.vault.execute(statement.encode())
        self.vault.commit()
        return f"e{self._value(self.vault, 'SELECT vault.current_epoch()')}-x{xid}"

    def mirror_insert(self, table: str, keys: str, **context: Any) -> str:
        """What somebody else's transaction inserted on production reaches the vault, too."""
        names = [row[0] for row in self.vault.execute(SHADOW_COLUMNS, (table,))]
        listed = ", ".join(f'"{name}"' for name in names)
        texts = ", ".join(f'"{name}"::text' for name in names)
        found = self.production.execute(f"SELECT {texts} FROM {table} WHERE {keys}").fetchall()
        self.production.commit()
        with psycopg.connect(self.vault_dsn) as other:  # literals only: commit() takes whole statements
            literals = [
                "(" + ", ".join(psycopg.sql.Literal(value).as_string(other) for value in row) + ")" for row in found
            ]
        return self.commit(
            "SELECT 1", replay=[f"INSERT INTO {table} ({listed}) VALUES {', '.join(literals)}"], **context
        )

    def seal(self) -> None:
        self.vault.execute("SELECT set_config('vault.worker', '', false)")
        self.vault.execute("SELECT * FROM vault.seal_now()")
        self.vault.commit()

    def rows(self, table: str) -> list[str]:
        """The table as text, to compare before with after."""
        found = [row[0] for row in self.production.execute(f"SELECT t::text FROM {table} t ORDER BY t::text")]
        self.production.commit()
        return found

    def _describe(self, table: str) -> tuple[int, Any]:
        oid = self._value(self.production, "SELECT %s::regclass::oid::bigint", (f'public."{table}"',))
        columns = self._value(self.production, DESCRIBE, (f'public."{table}"',))
        return oid, columns

    def _copy(self, table: str) -> None:
        names = [row[0] for row in self.vault.execute(SHADOW_COLUMNS, (f'public."{table}"',))]
        listed = ", ".join(f'"{name}"' for name in names)
        with (
            self.production.cursor().copy(f'COPY (SELECT {listed} FROM public."{table}") TO STDOUT') as source,
            self.vault.cursor().copy(f'COPY public."{table}" ({listed}) FROM STDIN') as target,
        ):
            for piece in source:
                target.write(piece)

    @staticmethod
    def _value(connection: psycopg.Connection[Any], sql: str, parameters: Any = None) -> Any:
        row = connection.execute(sql, parameters).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The socket's directory of a running server."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        # make check installs no server; where there is none, the scenarios audit_vault and whodunit run the same SQL.
        pytest.skip(
            "no PostgreSQL server is installed here: what needs the vault's SQL is proven by"
            " molecule test -s audit_vault"
        )
    bin_folder = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="whodunit-"))
    # PostgreSQL refuses to run as root.
    owner = pwd.getpwnam("nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(*command: str) -> None:
        subprocess.run(
            [str(bin_folder / command[0]), *command[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            user=owner.pw_uid,
            group=owner.pw_gid,
        )

    run("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8")
    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c track_commit_timestamp=on"
    run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", settings, "start")
    try:
        yield str(folder)
    finally:
        run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def world(cluster: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """Two fresh databases."""
    names = ("production", "vault")
    dsn = {name: f"host={cluster} user=postgres dbname={name}" for name in names}
    with psycopg.connect(f"host={cluster} user=postgres dbname=postgres", autocommit=True) as admin:
        for name in names:
            # The capture makes its database a template, so that nobody drops it.
            admin.execute("UPDATE pg_database SET datistemplate = false WHERE datname = %s", (name,))
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(dsn["production"]) as production, psycopg.connect(dsn["vault"]) as vault:
        for path in sorted(VAULT_SQL.glob("*.sql")):
            vault.execute(path.read_bytes())
        # No subscription here: everything but the baseline counts as replayed.
        vault.execute(
            "CREATE OR REPLACE FUNCTION vault.is_replayed(shadow oid) RETURNS boolean LANGUAGE sql AS"
            " $$ SELECT current_setting('vault.moves', true) IS DISTINCT FROM 'on' $$"
        )
        vault.execute(
            "SELECT pg_replication_origin_create('whodunit') WHERE NOT EXISTS"
            " (SELECT FROM pg_replication_origin WHERE roname = 'whodunit')"
        )
        vault.execute("SELECT pg_replication_origin_session_setup('whodunit')")
        vault.execute("INSERT INTO vault.epoch (n, from_tx, reason) VALUES (1, 0, 'first')")
        vault.commit()
        yield World(production, vault, dsn["vault"], dsn["production"])


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    """The command's configuration: this vault, this production, no Loki."""
    key = tmp_path / "key"
    key.write_text("correct horse battery staple\n")
    path = tmp_path / "whodunit.toml"
    path.write_text(
        f'vault = "{world.vault_dsn}"\nproduction = "{world.production_dsn}"\ncontext_keys = "{key}"\n'
        'pooled_roles = ["app"]\nloki_url = "http://127.0.0.1:9"\n'
    )
    return path


@pytest.fixture
def whodunit(config: Path) -> Callable[..., str]:
    """Run the command, as a shell would."""
    from click.testing import CliRunner
    from whodunit.cli import main

    def run(*arguments: str, fails: bool = False) -> str:
        result = CliRunner().invoke(main, ["--config", str(config), *arguments])
        assert (result.exit_code != 0) == fails, (result.output, result.exception)
        return result.output

    return run
