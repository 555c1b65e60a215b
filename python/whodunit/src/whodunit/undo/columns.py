"""Dropped columns: the vault's shadow keeps their values, so they are made again and filled row by row of today."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

# A column that a version of the table keeps as dropped and the version before still had, dropped by these transactions.
_DROPPED = """
SELECT DISTINCT ON (r.source_relid, c.col ->> 'attnum') r.schema_name, r.table_name, r.key_columns,
       r.source_relid::bigint AS oid, (c.col ->> 'attnum')::int AS attnum,
       c.col ->> 'name' AS name, c.col ->> 'kept_as' AS kept_as, c.col ->> 'type' AS type, c.col ->> 'policy' AS policy,
       coalesce((c.col ->> 'not_null')::boolean, false) AS not_null, c.col ->> 'default' AS default
FROM vault.relation r CROSS JOIN jsonb_array_elements(r.columns) AS c (col)
JOIN audit.ddl d ON d.relid = r.source_relid AND d.event = 'sql_drop' AND d.object_type = 'table column'
  AND d.tx = ANY(%s)
WHERE r.valid_to IS NULL AND r.archived_as IS NULL AND c.col ? 'kept_as'
  AND (parse_ident(d.object_name))[cardinality(parse_ident(d.object_name))] = c.col ->> 'name'
ORDER BY r.source_relid, c.col ->> 'attnum', r.id DESC
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    schema_name: str
    table_name: str
    key_columns: Sequence[str]
    oid: int
    attnum: int
    name: str
    kept_as: str
    type: str
    policy: str
    not_null: bool
    default: str | None

    @property
    def label(self) -> str:
        return f"{self.schema_name}.{self.table_name}.{self.name}"

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.schema_name, self.table_name)


def dropped_columns(vault: psycopg.Connection[Any], txs: Sequence[int]) -> list[Dropped]:
    with vault.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_DROPPED, (list(txs),))
        return [Dropped(**row) for row in cursor]


def restore(
    vault: psycopg.Connection[Any],
    production: psycopg.Connection[Any],
    found: Sequence[Dropped],
    made: Collection[tuple[int, int]],
    pour: Callable[[psycopg.Connection[Any], sql.Composed, psycopg.Connection[Any], sql.Composed], None],
) -> list[str]:
    """Make each column, but for those that `made` (table, number) names, and fill it; returns what was done."""
    told = []
    for number, each in enumerate(found, start=1):
        is_made = (each.oid, each.attnum) in made
        if not is_made and _exists(production, each):
            told.append(f"column {each.label}: production has one of that name, it is left alone")
            continue
        if each.policy == "hash":
            told.append(f"column {each.label} cannot come back: its policy is hash")
            continue
        told.append(
            f"column {each.label} {each.type}: {_fill(vault, production, each, number, is_made, pour)} values come back"
        )
    return told


def _fill(
    vault: psycopg.Connection[Any],
    production: psycopg.Connection[Any],
    each: Dropped,
    number: int,
    is_made: bool,
    pour: Callable[[psycopg.Connection[Any], sql.Composed, psycopg.Connection[Any], sql.Composed], None],
) -> int:
    column, stage = sql.Identifier(each.name), sql.Identifier(f"undo_column_{number}")
    if not is_made:  # no definition came: the vault's own columns know the type at least
        production.execute(sql.SQL("SET LOCAL search_path TO {}, public").format(sql.Identifier(each.schema_name)))
        production.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(each.table, column, sql.SQL(each.type)))
        if each.default:
            production.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(
                    each.table, column, sql.SQL(each.default)
                )
            )
        production.execute("SET LOCAL search_path TO pg_catalog")
    keys = [sql.Identifier(name) for name in each.key_columns]
    listed = sql.SQL(", ").join([*keys, column])
    production.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            stage, listed, each.table
        )
    )
    value: sql.Composable = sql.Identifier(each.kept_as)
    if each.policy == "encrypt":
        value = sql.SQL("vault.decrypt({})").format(value)
    pour(
        vault,
        sql.SQL("SELECT {}, {} FROM {} WHERE {} IS NOT NULL").format(
            sql.SQL(", ").join(keys), value, each.table, sql.Identifier(each.kept_as)
        ),
        production,
        sql.SQL("COPY {} FROM STDIN").format(stage),
    )
    same = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("s", name)) for name in each.key_columns
    )
    filled = production.execute(
        sql.SQL("UPDATE {} t SET {} = {} FROM {} s WHERE {}").format(
            each.table, column, sql.Identifier("s", each.name), stage, same
        )
    ).rowcount
    if each.not_null and each.default:  # rows that were born since
        production.execute(
            sql.SQL("UPDATE {} SET {} = {} WHERE {} IS NULL").format(each.table, column, sql.SQL(each.default), column)
        )
    if each.not_null and not is_made:
        production.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(each.table, column))
    return filled


def _exists(production: psycopg.Connection[Any], each: Dropped) -> bool:
    row = production.execute(
        "SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND NOT a.attisdropped)",
        (each.schema_name, each.table_name, each.name),
    ).fetchone()
    return bool(row and row[0])
