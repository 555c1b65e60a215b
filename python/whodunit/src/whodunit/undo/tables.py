"""What the vault knew of a table, what production has of it now, and which column goes where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from whodunit.undo.fold import Source

_SEQUENCE = re.compile(r"nextval\('((?:[^']|'')+)'::regclass\)")

COLUMNS = """
SELECT a.attname AS name, a.attnum AS attnum, a.attnotnull AS not_null,
       a.atthasdef OR a.attidentity <> '' AS has_default,
       a.attgenerated <> '' AS generated, a.attidentity = 'a' AS always,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
            ELSE format_type(a.atttypid, a.atttypmod) END AS type,
       array_position(i.indkey::int2[], a.attnum) AS key,
       pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname) AS sequence
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.oid = %s ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """One version of a table as the vault has it."""

    id: int
    source_relid: int
    schema_name: str
    table_name: str
    columns: tuple[dict[str, Any], ...]
    key_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of production's table now."""

    name: str
    attnum: int
    type: str
    not_null: bool = False
    has_default: bool = False
    generated: bool = False
    always: bool = False
    key: int | None = None
    sequence: str | None = None


@dataclass(slots=True)
class Table:
    """One table to undo: n is its number in names of temporary tables."""

    n: int
    schema_name: str
    table_name: str
    relations: list[Relation]
    oid: int | None = None
    columns: list[Column] = field(default_factory=list)
    restored: list[tuple[Column, Source]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)  # column, why it cannot come back
    blockers: list[str] = field(default_factory=list)
    created: bool = False
    folded: bool = True
    skips: bool = True  # whether any row is to be left alone or treated otherwise

    @property
    def name(self) -> str:
        return f"{self.schema_name}.{self.table_name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema_name, self.table_name)

    @property
    def stage(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"undo_{self.n}")

    @property
    def skipped(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"undo_skipped_{self.n}")

    @property
    def key(self) -> list[tuple[int, Column]]:
        """Position among the restored columns, and the column, in the key's order."""
        found = [(position, column) for position, (column, _) in enumerate(self.restored) if column.key is not None]
        return sorted(found, key=lambda each: each[1].key or 0)

    def key_sources(self) -> list[Source]:
        return [self.restored[position][1] for position, _ in self.key]


def relations_of(vault: psycopg.Connection[Any], ids: Sequence[int]) -> list[Relation]:
    with vault.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT id, source_relid::bigint, schema_name, table_name, columns, key_columns FROM"
            " vault.relation WHERE id = ANY(%s)"
            " ORDER BY id",
            (list(ids),),
        )
        return [
            Relation(**{**row, "columns": tuple(row["columns"]), "key_columns": tuple(row["key_columns"])})
            for row in cursor
        ]


def look_up(production: psycopg.Connection[Any], table: Table) -> None:
    """The table under its name, else whatever has its number and its key now: it was renamed."""
    with production.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)::oid::bigint", (table.identifier.as_string(production),))
        row = cursor.fetchone()
        table.oid = row[0] if row else None
        if table.oid is None:
            newest = table.relations[-1]
            cursor.execute(
                "SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON"
                " n.oid = c.relnamespace"
                " WHERE c.oid = %s AND c.relkind IN ('r', 'p') AND (SELECT count(*) FROM"
                " pg_attribute a WHERE a.attrelid = c.oid"
                " AND NOT a.attisdropped AND a.attname = ANY(%s)) = %s",
                (newest.source_relid, list(newest.key_columns), len(newest.key_columns)),
            )
            renamed = cursor.fetchone()
            if renamed is not None:
                table.oid, table.schema_name, table.table_name = renamed
    if table.oid is not None:
        with production.cursor(row_factory=dict_row) as cursor:
            cursor.execute(COLUMNS, (table.oid,))
            table.columns = [Column(**row) for row in cursor]


def match(table: Table, filled: Sequence[str] = ()) -> None:
    """Decide for every column of production where its old value stands, or why it cannot come back."""
    table.restored, table.lost, table.blockers = [], [], []
    newest = table.relations[-1]
    named = {str(each["name"]): each for each in newest.columns}
    current = {column.name for column in table.columns}
    for column in table.columns:
        if column.generated:
            continue
        names, policies = {}, set()
        for relation in table.relations:
            entry = _entry(relation, column, same_table=relation.source_relid == table.oid)
            if entry is not None:
                names[relation.id] = str(entry["name"])
                policies.add(str(entry.get("policy") or "plain"))
        if not names:
            continue
        kept_out = policies & {"hash", "exclude"}
        if kept_out:
            table.lost.append((column.name, f"its policy is {sorted(kept_out)[0]}, so the vault never had the value"))
            if column.key is not None:
                table.blockers.append(f"{table.name}: key column {column.name} is not in the vault")
            elif column.not_null and not column.has_default and column.name not in filled:
                table.blockers.append(
                    f"{table.name}.{column.name} takes no NULL, has no default and is not in the vault: "
                    f"give lost rows a value with --fill '{table.name}.{column.name}=…'"
                )
            continue
        table.restored.append((column, Source(names, encrypted="encrypt" in policies)))
    for name, entry in named.items():
        if (
            "kept_as" not in entry
            and name not in current
            and not any(entry.get("attnum") == c.attnum for c in table.columns if table.oid == newest.source_relid)
        ):
            table.lost.append((name, "production has no such column any more"))
    if not table.key:
        table.blockers.append(f"{table.name} has no primary key now: add it first")
    elif len(table.key) != sum(column.key is not None for column in table.columns):
        table.blockers.append(f"{table.name}: the primary key is another one now than in the history")


def create_statements(relation: Relation) -> list[str]:
    """The dropped table as the vault knew it: columns, defaults and primary key; a serial's sequence with it."""
    table = f"{_quoted(relation.schema_name)}.{_quoted(relation.table_name)}"
    statements, columns, owned = [], [], []
    present = [column for column in relation.columns if "kept_as" not in column]
    for each in sorted(present, key=lambda column: int(column["attnum"])):
        default = each.get("default")
        generated = str(each.get("generated") or "") not in ("", "False", "false")
        sequence = _SEQUENCE.fullmatch(str(default)) if default else None
        if sequence:
            name = sequence.group(1).replace("''", "'")
            statements.append(f"CREATE SEQUENCE IF NOT EXISTS {name}")
            owned.append(f"ALTER SEQUENCE {name} OWNED BY {table}.{_quoted(str(each['name']))}")
        columns.append(
            f"{_quoted(str(each['name']))} {each['type']}"
            + (
                f" GENERATED ALWAYS AS ({default}) STORED"
                if default and generated
                else f" DEFAULT {default}"
                if default
                else ""
            )
            + (" NOT NULL" if each.get("not_null") else "")
        )
    key = ", ".join(_quoted(name) for name in relation.key_columns)
    if key:
        columns.append(f"PRIMARY KEY ({key})")
    schema = f"CREATE SCHEMA IF NOT EXISTS {_quoted(relation.schema_name)}"
    return [schema, *statements, f"CREATE TABLE {table} ({', '.join(columns)})", *owned]


def _entry(relation: Relation, column: Column, *, same_table: bool) -> dict[str, Any] | None:
    """The column in that version: by number where it is the same table, since columns get renamed, else by name."""
    for each in relation.columns:
        if "kept_as" in each:  # dropped before: not in the images
            continue
        if (each.get("attnum") == column.attnum) if same_table else (each["name"] == column.name):
            return each
    return None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
