"""The SQL of an undo on production, one function a step. Rows never pass through Python: they go from COPY to COPY."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from whodunit.undo.tables import Table

ALREADY = "already as it was"
PRESENT = "a row with this key is there now"
GONE = "the row is gone since"
CHANGED = "the row was changed since"
ORPHAN = "the row it refers to is gone"


def create_stage(table: Table) -> sql.Composed:
    """Typed like the target, so each value is parsed once, by the type's own input function."""
    images = ("b", "a") if table.folded else ("b",)
    return sql.SQL('CREATE TEMPORARY TABLE {} (n bigint, kind "char", {}) ON COMMIT DROP').format(
        sql.Identifier(f"undo_{table.n}"),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(f"{image}{position}"), sql.SQL(column.type))
            for image in images
            for position, (column, _) in enumerate(table.restored)
        ),
    )


def create_skipped(table: Table) -> sql.Composed:
    return sql.SQL('CREATE TEMPORARY TABLE {} (n bigint, act "char", why text) ON COMMIT DROP').format(
        sql.Identifier(f"undo_skipped_{table.n}")
    )


def find_conflicts(table: Table) -> sql.Composed:
    """Rows that are not to be touched, with the reason and with what --force would do to them."""
    as_before, parts = _same("b", table), []
    parts.append(
        sql.SQL(
            "SELECT s.n, CASE WHEN {as_before} THEN NULL ELSE 'U' END,"
            " CASE WHEN {as_before} THEN {already} ELSE {present} END"
            " FROM {stage} s JOIN {target} t ON {key} WHERE s.kind = 'R'"
        ).format(
            as_before=as_before,
            already=sql.Literal(ALREADY),
            present=sql.Literal(PRESENT),
            stage=table.stage,
            target=table.identifier,
            key=_same_key(table, "b"),
        )
    )
    if table.folded:
        names = {
            "absent": _absent(table),
            "as_before": as_before,
            "as_after": _same("a", table),
            "gone": sql.Literal(GONE),
            "already": sql.Literal(ALREADY),
            "changed": sql.Literal(CHANGED),
            "stage": table.stage,
            "target": table.identifier,
        }
        parts.append(
            sql.SQL(
                "SELECT s.n, CASE WHEN {absent} THEN 'I' WHEN {as_before} THEN NULL ELSE 'U' END,"
                " CASE WHEN {absent} THEN {gone} WHEN {as_before} THEN {already} ELSE {changed} END"
                " FROM {stage} s LEFT JOIN {target} t ON {key}"
                " WHERE s.kind = 'U' AND ({absent} OR NOT {as_after})"
            ).format(key=_same_key(table, "b"), **names)
        )
        parts.append(
            sql.SQL(
                "SELECT s.n, CASE WHEN {absent} THEN NULL ELSE 'D' END,"
                " CASE WHEN {absent} THEN {already} ELSE {changed} END"
                " FROM {stage} s LEFT JOIN {target} t ON {key}"
                " WHERE s.kind = 'D' AND ({absent} OR NOT {as_after})"
            ).format(key=_same_key(table, "a"), **names)
        )
    return sql.SQL("INSERT INTO {} (n, act, why) {}").format(table.skipped, sql.SQL(" UNION ALL ").join(parts))


def find_orphans(
    table: Table, parent: Table | None, parent_name: sql.Composable, columns: Sequence[tuple[str, str]]
) -> sql.Composed:
    """Lost rows whose parent is neither on production nor among what comes back; one level, run until none is found."""
    position = {column.name: number for number, (column, _) in enumerate(table.restored)}
    mine = [sql.Identifier("s", f"b{position[child]}") for child, _ in columns]
    staged: sql.Composable = sql.SQL("")
    if parent is not None:
        there = {column.name: number for number, (column, _) in enumerate(parent.restored)}
        staged = sql.SQL(
            " AND NOT EXISTS (SELECT FROM {stage} p LEFT JOIN {skipped} q USING (n) WHERE {same}"
            " AND p.kind IN ('R', 'U') AND (q.n IS NULL OR q.act IN ('I', 'U') OR q.why = {already}))"
        ).format(
            stage=parent.stage,
            skipped=parent.skipped,
            already=sql.Literal(ALREADY),
            same=_and(
                sql.SQL("{} = {}").format(sql.Identifier("p", f"b{there[name]}"), own)
                for (_, name), own in zip(columns, mine, strict=True)
            ),
        )
    return sql.SQL(
        "INSERT INTO {skipped} (n, act, why) SELECT s.n, NULL, {why} FROM {stage} s WHERE s.kind = 'R' AND {filled}"
        " AND NOT EXISTS (SELECT FROM {skipped} q WHERE q.n = s.n)"
        " AND NOT EXISTS (SELECT FROM {parent} p WHERE {same}){staged}"
    ).format(
        skipped=table.skipped,
        why=sql.Literal(ORPHAN),
        stage=table.stage,
        filled=_and(sql.SQL("{} IS NOT NULL").format(own) for own in mine),
        parent=parent_name,
        same=_and(
            sql.SQL("{} = {}").format(sql.Identifier("p", name), own)
            for (_, name), own in zip(columns, mine, strict=True)
        ),
        staged=staged,
    )


def insert(table: Table, filled: dict[str, str]) -> sql.Composed:
    values: list[sql.Composable] = [sql.Identifier("s", f"b{position}") for position in range(len(table.restored))]
    names = [column.name for column, _ in table.restored]
    types = {column.name: column.type for column in table.columns}
    for name in sorted(filled):
        names.append(name)
        values.append(sql.SQL("{}::{}").format(sql.Literal(filled[name]), sql.SQL(types[name])))
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} WHERE {}").format(
        table.identifier,
        sql.SQL(", ").join(sql.Identifier(name) for name in names),
        sql.SQL(", ").join(values),
        _staged(table),
        _acts("R", "I"),
    )


def update(table: Table) -> sql.Composed | None:
    """None when the vault has no column that could be set."""
    settable = [
        (position, column)
        for position, (column, _) in enumerate(table.restored)
        if column.key is None and not column.always
    ]
    if not settable:
        return None
    return sql.SQL("UPDATE {} t SET {} FROM {} WHERE {} AND {}").format(
        table.identifier,
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column.name), sql.Identifier("s", f"b{position}"))
            for position, column in settable
        ),
        _staged(table),
        _same_key(table, "b"),
        _acts("U", "U"),
    )


def delete(table: Table) -> sql.Composed:
    return sql.SQL("DELETE FROM {} t USING {} WHERE {} AND {}").format(
        table.identifier, _staged(table), _same_key(table, "a"), _acts("D", "D")
    )


def together(statements: Sequence[sql.Composed]) -> sql.Composed:
    """One statement for tables that refer to each other: their foreign keys are checked at its end."""
    return sql.SQL("WITH {} SELECT {}").format(
        sql.SQL(", ").join(
            sql.SQL("{} AS ({} RETURNING 1)").format(sql.Identifier(f"q{n}"), each) for n, each in enumerate(statements)
        ),
        sql.SQL(", ").join(
            sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(f"q{n}")) for n in range(len(statements))
        ),
    )


def count(table: Table) -> sql.Composed:
    """By kind: rows to touch, and rows left alone with the reason."""
    return sql.SQL(
        "SELECT s.kind::text, CASE WHEN q.n IS NULL THEN '' ELSE q.why END, q.act::text, count(*)"
        " FROM {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).format(_staged(table))


def list_conflicts(table: Table, limit: int) -> sql.Composed:
    key = [position for position, _ in table.key]
    own = sql.SQL(", ").join(sql.Identifier("s", f"b{position}") for position in key)
    if table.folded:
        other = sql.SQL(", ").join(sql.Identifier("s", f"a{position}") for position in key)
        shown = sql.SQL("CASE WHEN s.kind = 'D' THEN jsonb_build_array({}) ELSE jsonb_build_array({}) END").format(
            other, own
        )
    else:
        shown = sql.SQL("jsonb_build_array({})").format(own)
    return sql.SQL(
        "SELECT {}::text, q.why FROM {} q JOIN {} s USING (n) WHERE q.why <> {} ORDER BY q.n LIMIT {}"
    ).format(shown, table.skipped, table.stage, sql.Literal(ALREADY), sql.Literal(limit))


def verify(table: Table) -> sql.Composed:
    """Rows that came back: how many there must be, are there, and equal their image; and their checksum."""
    return sql.SQL(
        "SELECT count(*), count({there}), count(*) FILTER (WHERE {there} IS NOT NULL AND {same}),"
        " coalesce(sum(hashtextextended({now}, 0)) FILTER (WHERE {there} IS NOT NULL), 0)::text"
        " FROM {staged} LEFT JOIN {target} t ON {key}"
        " WHERE ({restored}) OR ({reverted}) OR s.kind <> 'D' AND q.why = {already}"
    ).format(
        there=sql.Identifier("t", table.key[0][1].name),
        same=_same("b", table),
        now=sql.SQL("{}::text").format(_row("t", table)),
        staged=_staged(table),
        target=table.identifier,
        key=_same_key(table, "b"),
        restored=_acts("R", "I"),
        reverted=_acts("U", "U"),
        already=sql.Literal(ALREADY),
    )


def remaining(table: Table) -> sql.Composed:
    """Rows that were to be deleted and are still there."""
    return sql.SQL("SELECT count(*) FROM {} JOIN {} t ON {} WHERE {}").format(
        _staged(table), table.identifier, _same_key(table, "a"), _acts("D", "D")
    )


def _staged(table: Table) -> sql.Composed:
    """Staged rows s, and q what is known against touching them; mostly nothing is, and then nothing is joined."""
    if table.skips:
        return sql.SQL("{} s LEFT JOIN {} q USING (n)").format(table.stage, table.skipped)
    return sql.SQL('{} s CROSS JOIN (SELECT NULL::bigint AS n, NULL::"char" AS act, NULL::text AS why) q').format(
        table.stage
    )


def _acts(kind: str, act: str) -> sql.Composed:
    return sql.SQL("((q.n IS NULL AND s.kind = {}) OR q.act = {})").format(sql.Literal(kind), sql.Literal(act))


def _same_key(table: Table, image: str) -> sql.Composed:
    return _and(
        sql.SQL("{} = {}").format(sql.Identifier("t", column.name), sql.Identifier("s", f"{image}{position}"))
        for position, column in table.key
    )


def _absent(table: Table) -> sql.Composed:
    return sql.SQL("{} IS NULL").format(sql.Identifier("t", table.key[0][1].name))


def _same(image: str, table: Table) -> sql.Composed:
    """Whether production's row is that image, for types without equality, too: bytes first, text where they differ."""
    now, then = _row("t", table), _row(image, table)
    return sql.SQL("(CASE WHEN record_image_eq({now}, {then}) THEN true ELSE {now}::text = {then}::text END)").format(
        now=now, then=then
    )


def _row(image: str, table: Table) -> sql.Composed:
    """Production's row (t) or a staged image of it (b, a), column by column of the same base types."""
    return sql.SQL("ROW({})").format(
        sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Identifier("t", column.name), sql.SQL(column.type))
            if image == "t"
            else sql.Identifier("s", f"{image}{position}")
            for position, (column, _) in enumerate(table.restored)
        )
    )


def _and(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(parts)
