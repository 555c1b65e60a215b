"""ALTER TYPE .. USING: WAL has no trace of the rows that it changes, but the vault has put the old shadow away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from whodunit.undo.tables import COLUMNS, Column

Pour = Callable[[psycopg.Connection[Any], sql.Composed, psycopg.Connection[Any], sql.Composed], None]

# The oldest archive that one of these rewrites has left of each table, and the version that began then.
_REWRITTEN = """
SELECT DISTINCT ON (d.relid) d.relid::bigint AS oid, d.tx, fresh.id AS since, fresh.schema_name, fresh.table_name,
       was.key_columns, was.columns, was.archived_as
FROM audit.ddl d
JOIN vault.relation fresh ON fresh.source_relid = d.relid
  AND fresh.shaped_by IN (SELECT e.id FROM audit.ddl e WHERE e.tx = d.tx)
CROSS JOIN LATERAL (
  SELECT r.* FROM vault.relation r
  WHERE r.source_relid = d.relid AND r.epoch = fresh.epoch AND r.id < fresh.id AND r.archived_as IS NOT NULL
    AND r.dropped_at IS NULL
  ORDER BY r.id DESC LIMIT 1) was
WHERE d.tx = ANY(%s) AND d.event = 'table_rewrite'
ORDER BY d.relid, was.id
"""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A table whose values before are in `archived_as`; versions from `since` on are of after."""

    oid: int
    tx: int
    since: int
    schema_name: str
    table_name: str
    key_columns: Sequence[str]
    columns: Sequence[dict[str, Any]]
    archived_as: str

    @property
    def label(self) -> str:
        return f"{self.schema_name}.{self.table_name}"

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema_name, self.table_name)


def rewritten_tables(vault: psycopg.Connection[Any], txs: Sequence[int]) -> list[Rewritten]:
    with vault.cursor(row_factory=class_row(Rewritten)) as cursor:
        cursor.execute(_REWRITTEN, (list(txs),))
        return cursor.fetchall()


def set_back(
    vault: psycopg.Connection[Any],
    production: psycopg.Connection[Any],
    found: Sequence[Rewritten],
    pour: Pour,
    *,
    force: bool,
) -> list[str]:
    """Old types and old values; rows that were written since keep theirs, unless forced. Sentences of what was done."""
    told = []
    for number, each in enumerate(found, start=1):
        with production.cursor(row_factory=dict_row) as cursor:
            cursor.execute(COLUMNS, (each.oid,))
            now = {column.attnum: column for column in (Column(**row) for row in cursor)}
        pairs = [(now[was["attnum"]], was) for was in each.columns if _comes_back(was, now)]
        key = [(column, was) for column, was in pairs if was["name"] in each.key_columns]
        values = [(column, was) for column, was in pairs if was["name"] not in each.key_columns]
        if not key or len(key) < len(each.key_columns) or any(column.type != was["type"] for column, was in key):
            told.append(
                f"{each.label} was rewritten, its key too: the old values are in the vault's {each.archived_as}"
            )
            continue
        altered = [_type_back(production, each, column, was) for column, was in values if column.type != was["type"]]
        rows, left = _values_back(vault, production, each, number, key, values, pour, force=force)
        for column, was in values:
            if column.type != was["type"]:
                _rest_back(production, each, column, was)
        told += altered
        told.append(f"{each.label} was rewritten: {rows} rows get their old values back from the vault's archive")
        if left:
            told.append(f"{each.label}: {left} rows that were written since keep what they have (--force)")
    return told


def _comes_back(was: dict[str, Any], now: dict[int, Column]) -> bool:
    generated = str(was.get("generated") or "").lower() not in ("", "false")
    hidden = (was.get("policy") or "plain") in ("hash", "exclude")
    return not (generated or hidden or "kept_as" in was) and was["attnum"] in now and not now[was["attnum"]].generated


def _type_back(production: psycopg.Connection[Any], each: Rewritten, column: Column, was: dict[str, Any]) -> str:
    """Rows of after keep their value where the old type can read it."""
    name, type_ = sql.Identifier(column.name), sql.SQL(was["type"])
    alter = sql.SQL("ALTER TABLE {} ").format(each.table)
    production.execute(alter + sql.SQL("ALTER {0} DROP DEFAULT, ALTER {0} DROP NOT NULL").format(name))
    try:
        with production.transaction():
            production.execute(alter + sql.SQL("ALTER {0} TYPE {1} USING {0}::text::{1}").format(name, type_))
        return f"{each.label}.{column.name} is {was['type']} again"
    except (psycopg.errors.DataError, psycopg.errors.IntegrityError):
        production.execute(alter + sql.SQL("ALTER {0} TYPE {1} USING NULL::{1}").format(name, type_))
        return f"{each.label}.{column.name} is {was['type']} again; values of after do not fit and are dropped"


def _rest_back(production: psycopg.Connection[Any], each: Rewritten, column: Column, was: dict[str, Any]) -> None:
    alter, name = sql.SQL("ALTER TABLE {} ALTER ").format(each.table), sql.Identifier(column.name)
    if was.get("default"):
        production.execute(alter + sql.SQL("{} SET DEFAULT {}").format(name, sql.SQL(was["default"])))
    if was.get("not_null"):
        production.execute(alter + sql.SQL("{} SET NOT NULL").format(name))


def _values_back(
    vault: psycopg.Connection[Any],
    production: psycopg.Connection[Any],
    each: Rewritten,
    number: int,
    key: Sequence[tuple[Column, dict[str, Any]]],
    values: Sequence[tuple[Column, dict[str, Any]]],
    pour: Pour,
    *,
    force: bool,
) -> tuple[int, int]:
    """Rows that were set back, and rows left alone."""
    stage, since = (sql.Identifier(f"undo_{kind}_{number}") for kind in ("rewritten", "since"))
    key_names = [sql.Identifier(column.name) for column, _ in key]
    names = [sql.Identifier(column.name) for column, _ in (*key, *values)]
    make = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0")
    for table, columns in ((stage, names), (since, key_names)):
        production.execute(make.format(table, sql.SQL(", ").join(columns), each.table))
    old = sql.SQL(", ").join(
        sql.SQL("vault.decrypt({})" if was.get("policy") == "encrypt" else "{}").format(sql.Identifier(was["name"]))
        for _, was in (*key, *values)
    )
    pour(
        vault,
        sql.SQL("SELECT {} FROM {}").format(old, sql.SQL(each.archived_as)),
        production,
        sql.SQL("COPY {} FROM STDIN").format(stage),
    )
    written = sql.SQL(
        "SELECT DISTINCT {} FROM vault.history h JOIN vault.relation r ON r.id = h.relation"
        " WHERE h.tx >= {} AND r.source_relid = {} AND r.id >= {} AND h.new IS NOT NULL"
    ).format(
        sql.SQL(", ").join(sql.SQL("h.new ->> {}").format(sql.Literal(column.name)) for column, _ in key),
        sql.Literal(each.tx),
        sql.Literal(each.oid),
        sql.Literal(each.since),
    )
    pour(vault, written, production, sql.SQL("COPY {} FROM STDIN").format(since))

    def row(alias: str, of: Sequence[tuple[Column, dict[str, Any]]]) -> sql.Composed:
        return sql.SQL("ROW({})").format(sql.SQL(", ").join(sql.Identifier(alias, column.name) for column, _ in of))

    differs = sql.SQL("{} = {} AND NOT record_image_eq({}, {})").format(
        row("t", key), row("s", key), row("t", values), row("s", values)
    )
    is_since = sql.SQL("EXISTS (SELECT FROM {} w WHERE {} = {})").format(since, row("w", key), row("s", key))
    left = 0
    if not force:
        counted = production.execute(
            sql.SQL("SELECT count(*) FROM {} t, {} s WHERE {} AND {}").format(each.table, stage, differs, is_since)
        ).fetchone()
        left = counted[0] if counted else 0
        differs = sql.SQL("{} AND NOT {}").format(differs, is_since)
    settable = [(column, was) for column, was in values if not column.always]
    if not settable:
        return 0, left
    rows = production.execute(
        sql.SQL("UPDATE {} t SET {} FROM {} s WHERE {}").format(
            each.table,
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(column.name), sql.Identifier("s", column.name))
                for column, _ in settable
            ),
            stage,
            differs,
        )
    ).rowcount
    return rows, left
