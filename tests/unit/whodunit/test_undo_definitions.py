"""What DROP takes along: with the capture's own SQL on production, everything is as it was after the undo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.whodunit.conftest import SHADOW_COLUMNS

CAPTURE = ROOT / "roles/audit_capture/files"
MIRRORED = {
    "audit.ddl": "xid, at, db_user, event, tag, statement, object_type, schema_name, object_name, relid, columns",
    "audit.definition": "xid, at, catalog, objid, objsubid, kind, identity, relid, statements",
}
# Everything that pg_dump would tell of a table, in words that do not depend on numbers of objects.
DESCRIPTION = """
SELECT concat_ws(' ', d.kind, d.identity, d.statements - CASE d.kind WHEN 'sequence' THEN -1 ELSE 1000 END)
FROM audit.definable d WHERE d.kind NOT IN ('extension', 'table column')
"""
SHOP = (Path(__file__).parent / "shop.sql").read_text(encoding="utf-8")
PARTITIONS = """
CREATE TABLE public.event (id int, day date NOT NULL, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE public.event_1 PARTITION OF public.event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE public.event_2 PARTITION OF public.event FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE INDEX event_note ON public.event (note);
ALTER TABLE public.event ADD CONSTRAINT short CHECK (length(note) < 50);
INSERT INTO public.event SELECT n, date '2026-01-01' + n % 50, 'note ' || n FROM generate_series(1, 300) n;
"""


@pytest.fixture
def captured(world):
    """Production with the capture in it, the vault with all that it has noted."""

    def install(setup: str, *tables: str) -> None:
        for role in ("owner_of_shop", "shop_reader", "shop_writer"):
            if world._value(world.production, "SELECT to_regrole(%s) IS NOT NULL", (role,)):
                world.production.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())
        world.production.execute(setup.encode())
        for part in sorted(CAPTURE.glob("[0-9]*.sql")):
            world.production.execute(part.read_bytes())
        wanted = [
            {"schema": s, "name": t, "guard": "warn", "max_delete": 0, "max_update": 0, "columns": {}}
            for s, t in (n.split(".") for n in tables)
        ]
        world.production.execute("SELECT audit.converge(%s)", (json.dumps({"tables": wanted, "new_tables": "report"}),))
        world.production.commit()
        found = world.production.execute(
            "SELECT format('%I.%I', schema_name, table_name), schema_name, table_name, relid::bigint,"
            " audit.columns_of(relid)"
            " FROM audit.relation WHERE relkind = 'r' ORDER BY 1"
        ).fetchall()
        for _, schema, table, oid, columns in found:
            described = [{"schema": schema, "table": table, "oid": oid, "columns": columns}]
            world.vault.execute("SELECT vault.adopt(%s)", (json.dumps(described),))
        world.vault.execute("SELECT set_config('vault.moves', 'on', false)")
        for name, *_ in found:
            copy(world, name)
        mirror(world, "true")
        world.vault.execute("SELECT set_config('vault.moves', '', false)")
        world.vault.commit()

    return install


def copy(world, table: str) -> None:
    names = [
        row[0]
        for row in world.vault.execute(
            SHADOW_COLUMNS,
            (table,),
        )
    ]
    listed = ", ".join(f'"{name}"' for name in names)
    with (
        world.production.cursor().copy(f"COPY (SELECT {listed} FROM {table}) TO STDOUT") as source,
        world.vault.cursor().copy(f"COPY {table} ({listed}) FROM STDIN") as target,
    ):
        for piece in source:
            target.write(piece)


def mirror(world, where: str) -> None:
    """What the subscription would bring of the meta tables, in production's order."""
    for table, names in MIRRORED.items():
        for row in world.production.execute(
            f"SELECT to_jsonb(t) FROM (SELECT {names} FROM {table} WHERE {where} ORDER BY ctid) t"
        ).fetchall():
            world.vault.execute(
                f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s)",
                (json.dumps(row[0]),),
            )
    world.production.commit()


def happens(world, *statements: str) -> str:
    """One transaction of production with what it noted, and its replay: the incident's id."""
    xid = world._value(world.production, "SELECT pg_current_xact_id()::text::bigint")
    for statement in statements:
        world.production.execute(statement.encode())
    world.production.commit()
    world.vault.execute(
        "SELECT set_config('vault.worker', 'apply', false),"
        " pg_replication_origin_xact_setup(pg_current_wal_lsn(), clock_timestamp())"
    )
    mirror(world, f"xid = {xid}")
    world.vault.commit()
    return f"e{world._value(world.vault, 'SELECT vault.current_epoch()')}-x{xid}"


def described(world) -> set[str]:
    """Everything that production's catalog has, a line an object."""
    world.production.execute("SET LOCAL search_path TO pg_catalog")
    found = {row[0] for row in world.production.execute(DESCRIPTION)}
    world.production.commit()
    return found


def test_a_dropped_table_comes_back_with_all_that_hung_on_it(captured, world, whodunit):
    captured(SHOP, "shop.customer", "shop.orders", "shop.line")
    before, rows = described(world), [world.rows(f"shop.{each}") for each in ("customer", "orders", "line", "totals")]
    identifier = happens(world, "SET LOCAL audit.reason = 'by mistake'", "DROP TABLE shop.orders CASCADE")
    assert not any(each.startswith("table shop.orders") for each in described(world))
    plan = whodunit("undo", identifier)
    assert "CREATE TABLE shop.orders" in plan and "FOREIGN KEY" in plan
    assert "200  lost rows come back" in plan
    assert "NOT made again" not in whodunit("undo", identifier, "--apply")
    assert described(world) == before
    assert [world.rows(f"shop.{each}") for each in ("customer", "orders", "line", "totals")] == rows
    assert world._value(world.production, "SELECT nextval('shop.orders_id_seq')") == 201
    assert "is already" in whodunit("undo", identifier) or "already as they were" in whodunit("undo", identifier)


def test_a_dropped_schema_comes_back_with_types_and_functions(captured, world, whodunit):
    captured(SHOP, "shop.customer", "shop.orders", "shop.line")
    happens(world, "GRANT SELECT ON shop.line TO shop_writer")  # an event that names no object
    before, rows = described(world), [world.rows(f"shop.{each}") for each in ("customer", "orders", "line")]
    identifier = happens(world, "SET LOCAL audit.reason = 'by mistake'", "DROP SCHEMA shop CASCADE")
    assert "NOT made again" not in whodunit("undo", identifier, "--apply")
    assert described(world) == before
    assert [world.rows(f"shop.{each}") for each in ("customer", "orders", "line")] == rows


@pytest.mark.parametrize("drop", ["DROP TABLE public.event", "DROP TABLE public.event_1"])
def test_partitions_come_back(captured, world, whodunit, drop):
    captured(PARTITIONS, "public.event")
    before, rows = described(world), world.rows("public.event")
    identifier = happens(world, drop)
    whodunit("undo", identifier, "--apply")
    assert described(world) == before
    assert world.rows("public.event") == rows


def test_what_takes_no_rows_is_undone_by_its_statement(captured, world, whodunit):
    captured(SHOP, "shop.customer", "shop.orders", "shop.line")
    before = described(world)
    for drop in (
        "DROP INDEX shop.orders_note",
        "ALTER TABLE shop.orders DROP CONSTRAINT sane",
        "ALTER TABLE shop.line DROP CONSTRAINT line_order_fkey",
        "DROP TRIGGER touch ON shop.orders",
        "DROP VIEW shop.open_orders CASCADE",
        "DROP FUNCTION shop.touched() CASCADE",
        "DROP POLICY mine ON shop.orders",
    ):
        identifier = happens(world, drop)
        assert described(world) != before
        whodunit("undo", identifier, "--apply")
        assert described(world) == before, drop
        mirror(world, f"xid > {identifier.partition('x')[2]}")  # what the undo itself made
        world.vault.commit()


def test_a_dropped_column_comes_back_with_its_constraints_and_indexes(captured, world, whodunit):
    captured(SHOP, "shop.customer", "shop.orders", "shop.line")
    # The column stands last now.
    before = {each for each in described(world) if not each.startswith("table shop.orders")}
    values = world.production.execute("SELECT id, number FROM shop.orders ORDER BY id").fetchall()
    identifier = happens(world, "ALTER TABLE shop.orders DROP COLUMN number CASCADE")
    assert before - described(world)
    assert "Column shop.orders.number integer: 200 values come back" in whodunit("undo", identifier, "--apply")
    assert before - described(world) == set()
    assert world.production.execute("SELECT id, number FROM shop.orders ORDER BY id").fetchall() == values


def test_values_that_alter_type_using_took_come_back(captured, world, whodunit):
    captured(
        "CREATE SCHEMA shop; CREATE TABLE shop.customer (id int PRIMARY KEY, name text DEFAULT 'x' NOT NULL);"
        "INSERT INTO shop.customer SELECT n, 'name ' || n FROM generate_series(1, 10) n",
        "shop.customer",
    )
    before, rows = described(world), world.rows("shop.customer")
    identifier = happens(
        world, "ALTER TABLE shop.customer ALTER name DROP DEFAULT, ALTER name TYPE varchar(3) USING ''"
    )
    world.vault.execute("SELECT set_config('vault.worker', '', false), set_config('vault.moves', 'on', false)")
    copy(world, "shop.customer")
    world.vault.execute("SELECT set_config('vault.moves', '', false)")
    world.vault.commit()
    assert world.rows("shop.customer") != rows
    told = whodunit("undo", identifier, "--apply")
    assert "10 rows get their old values back" in told
    assert world.rows("shop.customer") == rows
    assert described(world) == before


def test_rows_that_the_vault_never_had_need_a_backup(captured, world, whodunit):
    captured(
        "CREATE SCHEMA shop; CREATE TABLE shop.kept (id int PRIMARY KEY); CREATE TABLE shop.loose (id int PRIMARY KEY);"
        "INSERT INTO shop.kept VALUES (1); INSERT INTO shop.loose VALUES (1)",
        "shop.kept",
    )
    identifier = happens(world, "DROP SCHEMA shop CASCADE")
    told = whodunit("undo", identifier, "--apply")
    assert "NEEDS BACKUP: the rows of shop.loose, which is not audited; restore a copy of production to" in told
    assert (
        "recovery_target_time = '" in told and "shop.kept" not in told.partition("NEEDS BACKUP")[2].partition("\n")[0]
    )
    assert "sudo -u postgres tovplay-backup side production --time '2" in told
    assert (world.rows("shop.kept"), world.rows("shop.loose")) == (["(1)"], [])


def test_without_production_the_undo_says_where_a_backup_has_to_stop(captured, world, whodunit):
    captured("CREATE SCHEMA shop; CREATE TABLE shop.kept (id int PRIMARY KEY)", "shop.kept")
    identifier = happens(world, "DROP TABLE shop.kept")
    told = whodunit("undo", identifier, "--to", "host=127.0.0.1 port=9 dbname=gone", fails=True)
    assert "NEEDS BACKUP, if it is gone: restore production to recovery_target_time = '" in told
