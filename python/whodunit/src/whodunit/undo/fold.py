"""The net change of each row: what it was before the first event and what it is after the last one.

Every history row has up to two images, the one before (number 2 * id) and the one after (2 * id + 1), each with the key
that it carries. Of one key the lowest number tells whether the row existed before, the highest whether it exists
after. An UPDATE that moves a row to another key so becomes the loss of the one and the birth of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

RESTORE, REVERT, REMOVE = "R", "U", "D"  # insert the lost row, set the old values, delete the new row


@dataclass(frozen=True, slots=True)
class Net:
    kind: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def kind_of(first: int, last: int) -> str | None:
    """What takes the row back to where it was; None when it neither was there before nor is there now."""
    existed, exists = first % 2 == 0, last % 2 == 1
    if existed:
        return REVERT if exists else RESTORE
    return REMOVE if exists else None


def fold(
    events: Iterable[tuple[int, Mapping[str, Any] | None, Mapping[str, Any] | None]], key: Sequence[str]
) -> dict[Any, Net]:
    """The same in memory: the meaning that SQL below has to keep, and what tests compare it with."""
    images: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {}
    for identifier, old, new in events:
        for number, image in ((2 * identifier, old), (2 * identifier + 1, new)):
            if image is not None:
                images.setdefault(tuple(image[name] for name in key), []).append((number, image))
    net = {}
    for row, numbered in images.items():
        first, last = min(numbered, key=lambda each: each[0]), max(numbered, key=lambda each: each[0])
        kind = kind_of(first[0], last[0])
        before, after = (first[1] if kind != REMOVE else None), (last[1] if kind != RESTORE else None)
        if kind is not None and not (kind == REVERT and before == after):
            net[row] = Net(kind, before, after)
    return net


@dataclass(frozen=True, slots=True)
class Source:
    """Where a column's value stands in the images of each version of the table."""

    names: Mapping[int, str]  # relation -> name in the image
    encrypted: bool = False

    def value(self, alias: str, image: str) -> sql.Composed:
        field = sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(image))
        names = set(self.names.values())
        if len(names) == 1:
            value = sql.SQL("{} ->> {}").format(field, sql.Literal(names.pop()))
        else:
            value = sql.SQL("CASE {}.relation {} END").format(
                sql.Identifier(alias),
                sql.SQL(" ").join(
                    sql.SQL("WHEN {} THEN {} ->> {}").format(sql.Literal(relation), field, sql.Literal(name))
                    for relation, name in sorted(self.names.items())
                ),
            )
        return sql.SQL("vault.decrypt({})").format(value) if self.encrypted else sql.SQL("({})").format(value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The history rows of one table that are to be undone."""

    txs: Sequence[int]
    relations: Sequence[int]
    first_id: int
    last_id: int

    def where(self, alias: str) -> sql.Composed:
        return sql.SQL(
            "{a}.tx = ANY({txs}) AND {a}.relation = ANY({relations}) AND {a}.id BETWEEN {first} AND {last}"
        ).format(
            a=sql.Identifier(alias),
            txs=sql.Literal(list(self.txs)),
            relations=sql.Literal(list(self.relations)),
            first=sql.Literal(self.first_id),
            last=sql.Literal(self.last_id),
        )


def lost_only(selection: Selection, columns: Sequence[Source]) -> sql.Composed:
    """When every row was lost at most once there is nothing to fold: n, kind and the before-image, as they stand."""
    return sql.SQL("SELECT h.id * 2, 'R', {} FROM vault.history h WHERE {}").format(
        sql.SQL(", ").join(column.value("h", "old") for column in columns), selection.where("h")
    )


def folded(selection: Selection, columns: Sequence[Source], key: Sequence[Source]) -> sql.Composed:
    """n, kind, the before-image and the after-image of every row that is not as it was."""

    def key_of(image: str) -> sql.Composed:
        return sql.SQL("jsonb_build_array({})").format(sql.SQL(", ").join(each.value("h", image) for each in key))

    return sql.SQL(
        "WITH images AS ("
        " SELECT h.id * 2 AS n, {old_key} AS k FROM vault.history h WHERE {where_h} AND h.old IS NOT NULL"
        " UNION ALL SELECT h.id * 2 + 1, {new_key} FROM vault.history h WHERE {where_h} AND h.new IS NOT NULL"
        "), net AS (SELECT min(n) AS first, max(n) AS last FROM images GROUP BY k)"
        " SELECT net.first, CASE WHEN net.last % 2 = 0 THEN 'R' WHEN net.first % 2 = 0 THEN 'U' ELSE 'D' END,"
        " {before}, {after} FROM net"
        " LEFT JOIN vault.history b ON b.id = net.first / 2 AND net.first % 2 = 0 AND {where_b}"
        " LEFT JOIN vault.history a ON a.id = net.last / 2 AND net.last % 2 = 1 AND {where_a}"
        " WHERE (net.first % 2 = 0 OR net.last % 2 = 1)"
        " AND (net.first % 2 = 1 OR net.last % 2 = 0 OR b.old IS DISTINCT FROM a.new)"
    ).format(
        old_key=key_of("old"),
        new_key=key_of("new"),
        where_h=selection.where("h"),
        where_b=selection.where("b"),
        where_a=selection.where("a"),
        before=sql.SQL(", ").join(each.value("b", "old") for each in columns),
        after=sql.SQL(", ").join(each.value("a", "new") for each in columns),
    )
