"""Plan and apply: the same steps in one transaction of production, which only --apply commits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row
from tovplay_telemetry import audit_context

from whodunit import WhodunitError
from whodunit.model import Change
from whodunit.undo import steps
from whodunit.undo.columns import dropped_columns, restore
from whodunit.undo.definitions import Definition, Rebuild, Rebuilt, gone
from whodunit.undo.fold import Selection, folded, lost_only
from whodunit.undo.order import parents_first
from whodunit.undo.rewritten import rewritten_tables, set_back
from whodunit.undo.tables import Relation, Table, create_statements, look_up, match, relations_of

BLOCK = 1 << 17
LISTED = 20
_LOST = {"D", "T", "X"}
_DOING = {"I": "restoring", "U": "setting back", "D": "removing"}
# Values go out and in as text: in this form the vault holds them.
_SETTINGS = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c search_path=pg_catalog"
)
_PARENTS = """
SELECT k.conrelid::bigint, k.confrelid::bigint, k.confrelid::regclass::text,
       array_agg(a.attname::text ORDER BY u.n), array_agg(b.attname::text ORDER BY u.n)
FROM pg_constraint k CROSS JOIN unnest(k.conkey, k.confkey) WITH ORDINALITY AS u (child, parent, n)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.child
JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.parent
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY(%s) GROUP BY k.oid ORDER BY k.conname, k.oid
"""


@dataclass(slots=True)
class TableResult:
    """What the plan says about one table, and what applying it did."""

    name: str
    lost: int = 0  # rows to insert again
    changed: int = 0  # rows to set back
    born: int = 0  # rows to delete
    already: int = 0
    conflicts: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)
    not_restored: list[tuple[str, str]] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    checksum: str = ""


@dataclass(slots=True)
class Result:
    reason: str
    applied: bool
    order: list[str]
    tables: list[TableResult]
    blockers: list[str]
    columns: list[str] = field(default_factory=list)  # dropped ones that come back
    rewritten: list[str] = field(default_factory=list)  # ALTER TYPE .. USING
    made: list[str] = field(default_factory=list)  # statements, in their order
    there: list[str] = field(default_factory=list)  # objects that production has again, left alone
    not_made: list[tuple[str, str]] = field(default_factory=list)  # statement, why it fails
    for_superuser: list[str] = field(default_factory=list)  # statements that whoever undoes may not run
    needs_backup: list[str] = field(default_factory=list)  # what only a restored copy of production has
    sequences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    reason: str
    apply: bool = False
    force: bool = False
    fill: Mapping[str, str] = field(default_factory=dict)  # schema.table.column -> value
    operator: str = ""
    key: bytes = b""
    progress: Callable[[str], None] = lambda _: None


def connect(dsn: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(dsn, options=_SETTINGS, application_name="whodunit undo", connect_timeout=10)
    except psycopg.Error as error:
        raise WhodunitError(f"production does not answer: {str(error).strip()}") from error


def undo(
    vault: psycopg.Connection[Any],
    production: psycopg.Connection[Any],
    txs: Sequence[int],
    changes: Sequence[Change],
    options: Options,
) -> Result:
    """Everything in one transaction; a plan rolls it back."""
    relations = relations_of(vault, sorted({change.relation for change in changes}))
    tables = _tables(relations)
    result = Result(options.reason, False, [], [], [])
    try:
        _begin(production, options)
        found = gone(vault, txs)
        result.needs_backup = [
            f"the rows of {each.identity}, which is not audited" for each in found if each.unfollowed
        ]
        rebuild = Rebuild(production, found)
        rebuild.before_rows()
        result.columns = restore(vault, production, dropped_columns(vault, txs), _columns_made(found, rebuild), _pour)
        result.rewritten = set_back(vault, production, rewritten_tables(vault, txs), _pour, force=options.force)
        created = {table.n: _create(production, table) for table in tables}
        for table in tables:
            look_up(production, table)
            match(table, list(_filled(options, table)))
            result.blockers += table.blockers
            result.tables.append(TableResult(table.name, not_restored=table.lost, created=created[table.n]))
        if result.blockers:
            _tell(result, rebuild.told)
            production.rollback()
            return result
        if tables:
            _lock(production, tables, apply=options.apply)
        for table in tables:
            options.progress(f"reading {table.name} from the vault")
            _stage(vault, production, table, [c for c in changes if c.relation in {r.id for r in table.relations}])
            production.execute(steps.create_skipped(table))
            production.execute(steps.find_conflicts(table))
        edges = _edges(production, tables)
        known = tables_by_oid(tables)
        ordered = parents_first(known, {oid: [parent for child, parent, *_ in edges if child == oid] for oid in known})
        result.order = [" + ".join(known[oid].name for oid in group) for group in ordered]
        _orphans(production, tables, edges, ordered)
        if not options.force:
            for table in tables:
                production.execute(sql.SQL("UPDATE {} SET act = NULL WHERE act IS NOT NULL").format(table.skipped))
        for table, told in zip(tables, result.tables, strict=True):
            table.skips = _one(production.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.skipped)))[0]
            _count(production, table, told)
        if options.apply:
            _apply(production, tables, ordered, result, options)
            result.sequences = _sequences(production, tables)
            _verify(production, tables, result)
        if options.apply:
            rebuild.after_rows()
        else:
            rebuild.foretell()
        _tell(result, rebuild.told)
        if result.not_made and not options.force:
            result.blockers.append("not all of it can be made again; --force brings back the rest")
        if options.apply and not result.blockers:
            production.commit()
            result.applied = True
        else:
            production.rollback()
        return result
    except psycopg.Error as error:
        production.rollback()
        raise WhodunitError(_explained(error)) from error
    except WhodunitError:
        production.rollback()
        raise


def undoable(vault: psycopg.Connection[Any], txs: Sequence[int], changes: Sequence[Change]) -> bool:
    """Whether the vault has anything that these transactions took away or changed."""
    return bool(changes or gone(vault, txs) or dropped_columns(vault, txs) or rewritten_tables(vault, txs))


def _columns_made(found: Sequence[Definition], rebuild: Rebuild) -> set[tuple[int, int]]:
    """Table and number of each dropped column that was made again."""
    return {(each.oid, each.column) for each in found if each.column and each.identity not in rebuild.told.there}


def _tell(result: Result, told: Rebuilt) -> None:
    result.made, result.there = told.made, told.there
    result.not_made, result.for_superuser = told.not_made, told.for_superuser


def tables_by_oid(tables: Sequence[Table]) -> dict[int, Table]:
    return {table.oid: table for table in tables if table.oid is not None}


def _tables(relations: Sequence[Relation]) -> list[Table]:
    """Versions of one table belong together, whatever their columns were."""
    named: dict[tuple[str, str], list[Relation]] = {}
    for relation in relations:
        named.setdefault((relation.schema_name, relation.table_name), []).append(relation)
    return [
        Table(n, schema, name, sorted(versions, key=lambda each: each.id))
        for n, ((schema, name), versions) in enumerate(sorted(named.items()), start=1)
    ]


def _begin(production: psycopg.Connection[Any], options: Options) -> None:
    """The reason lets the guard pass and becomes the WHY of this transaction, which can be undone like any other."""
    production.execute(
        "SELECT set_config('audit.reason', %s, true), set_config('lock_timeout', '10s', true),"
        " set_config('work_mem', '64MB', true)",
        (options.reason,),
    )
    if options.key:
        claims = {
            "uid": f"whodunit:{options.operator}",
            "method": "undo",
            "route": "whodunit",
            "reason": options.reason,
        }
        statement, parameters = audit_context.statement(claims, options.key)
        production.execute(statement.encode(), parameters)


def _create(production: psycopg.Connection[Any], table: Table) -> list[str]:
    """A table that is gone comes back as the vault knew it."""
    look_up(production, table)
    if table.oid is not None:
        return []
    statements = create_statements(table.relations[-1])
    # Types and sequences may have been named as production's own search_path shows them.
    production.execute(sql.SQL("SET LOCAL search_path TO {}, public").format(sql.Identifier(table.schema_name)))
    for statement in statements:
        production.execute(statement.encode())
    production.execute("SET LOCAL search_path TO pg_catalog")
    return statements


def _lock(production: psycopg.Connection[Any], tables: Sequence[Table], *, apply: bool) -> None:
    """Nobody changes a row between the look at it and its undoing; readers go on."""
    names = sql.SQL(", ").join(table.identifier for table in sorted(tables, key=lambda each: each.oid or 0))
    mode = sql.SQL("SHARE ROW EXCLUSIVE" if apply else "ACCESS SHARE")
    production.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(names, mode))


def _stage(
    vault: psycopg.Connection[Any], production: psycopg.Connection[Any], table: Table, changes: Sequence[Change]
) -> None:
    """From the vault's COPY into production's, block by block: no row is kept here."""
    txs = sorted({change.tx for change in changes})
    table.folded = len(txs) > 1 or any(change.op not in _LOST for change in changes)
    selection = Selection(
        txs,
        [relation.id for relation in table.relations],
        min(change.first_id for change in changes),
        max(change.last_id for change in changes),
    )
    sources = [source for _, source in table.restored]
    rows = folded(selection, sources, table.key_sources()) if table.folded else lost_only(selection, sources)
    production.execute(steps.create_stage(table))
    _pour(vault, rows, production, sql.SQL("COPY {} FROM STDIN").format(table.stage))
    production.execute(sql.SQL("ANALYZE {}").format(table.stage))


def _pour(
    vault: psycopg.Connection[Any], rows: sql.Composed, production: psycopg.Connection[Any], into: sql.Composed
) -> None:
    """From one server's COPY into the other's, block by block."""
    with (
        vault.cursor() as reader,
        production.cursor() as writer,
        reader.copy(sql.SQL("COPY ({}) TO STDOUT").format(rows)) as source,
        writer.copy(into) as target,
    ):
        block = bytearray()
        for piece in source:
            block += piece
            if len(block) >= BLOCK:
                target.write(bytes(block))
                block.clear()
        target.write(bytes(block))


def _edges(
    production: psycopg.Connection[Any], tables: Sequence[Table]
) -> list[tuple[int, int, str, list[str], list[str]]]:
    with production.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_PARENTS, (list(tables_by_oid(tables)),))
        return cursor.fetchall()


def _orphans(
    production: psycopg.Connection[Any],
    tables: Sequence[Table],
    edges: Sequence[tuple[int, int, str, list[str], list[str]]],
    ordered: Sequence[Sequence[int]],
) -> None:
    """Parents first, and again where a circle or a table's own rows may have lost another one."""
    known = tables_by_oid(tables)
    for group in ordered:
        again = True
        while again:
            found = 0
            for child, parent, name, mine, theirs in edges:
                restored = {column.name for column, _ in known[child].restored}
                offered = {column.name for column, _ in known[parent].restored} if parent in known else set(theirs)
                if child in group and set(mine) <= restored and set(theirs) <= offered:
                    statement = steps.find_orphans(
                        known[child], known.get(parent), sql.SQL(name), list(zip(mine, theirs, strict=True))
                    )
                    found += production.execute(statement).rowcount
            again = found > 0


def _count(production: psycopg.Connection[Any], table: Table, told: TableResult) -> None:
    for kind, why, act, rows in production.execute(steps.count(table)).fetchall():
        if why == steps.ALREADY:
            told.already += rows
            continue
        if why:
            told.conflicts[why] = told.conflicts.get(why, 0) + rows
        done = {"I": "R"}.get(act, act) if why else kind
        told.lost += rows if done == "R" else 0
        told.changed += rows if done == "U" else 0
        told.born += rows if done == "D" else 0
    told.examples = [(key, why) for key, why in production.execute(steps.list_conflicts(table, LISTED)).fetchall()]


def _apply(
    production: psycopg.Connection[Any],
    tables: Sequence[Table],
    ordered: Sequence[Sequence[int]],
    result: Result,
    options: Options,
) -> None:
    """Insert, set back, delete; where a unique value is still held by a row that has to go, that row goes first."""
    failed: psycopg.Error | None = None
    for order in ("IUD", "DUI", "DIU", "UDI"):
        for told in result.tables:
            told.inserted = told.updated = told.deleted = 0
        try:
            with production.transaction():
                for step in order:
                    _step(production, step, tables, ordered, result, options)
            return
        except (
            psycopg.errors.UniqueViolation,
            psycopg.errors.ExclusionViolation,
            psycopg.errors.ForeignKeyViolation,
        ) as error:
            failed = failed or error
    raise failed or WhodunitError("there was nothing to apply")


def _step(
    production: psycopg.Connection[Any],
    step: str,
    tables: Sequence[Table],
    ordered: Sequence[Sequence[int]],
    result: Result,
    options: Options,
) -> None:
    known = tables_by_oid(tables)
    told = {table.oid: each for table, each in zip(tables, result.tables, strict=True)}
    for group in ordered if step != "D" else list(reversed(ordered)):
        statements: list[tuple[int, sql.Composed]] = []
        for oid in group:
            table, each = known[oid], told[oid]
            statement: sql.Composed | None = None
            if step == "I" and each.lost:
                statement = steps.insert(table, _filled(options, table))
            elif step == "U" and each.changed:
                statement = steps.update(table)
            elif step == "D" and each.born:
                statement = steps.delete(table)
            if statement is not None:
                statements.append((oid, statement))
        if not statements:
            continue
        options.progress(f"{_DOING[step]} {', '.join(known[oid].name for oid, _ in statements)}")
        if len(statements) == 1:
            counts = [production.execute(statements[0][1]).rowcount]
        else:
            counts = list(_one(production.execute(steps.together([statement for _, statement in statements]))))
        for (oid, _), rows in zip(statements, counts, strict=True):
            each = told[oid]
            if step == "I":
                each.inserted = rows
            elif step == "U":
                each.updated = rows
            else:
                each.deleted = rows


def _filled(options: Options, table: Table) -> dict[str, str]:
    """Values for columns of that table that the vault may not keep."""
    split = ((name.rpartition("."), value) for name, value in options.fill.items())
    return {column: value for (of, _, column), value in split if of == table.name}


def _one(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise WhodunitError("production gave no answer to a question that always has one")
    return tuple(row)


def _sequences(production: psycopg.Connection[Any], tables: Sequence[Table]) -> list[str]:
    """No sequence may hand out a number again that came back with a row."""
    moved = []
    for table in tables:
        for column in table.columns:
            if column.sequence is None:
                continue
            row = production.execute(
                sql.SQL(
                    "SELECT m.top, setval({name}::regclass, m.top) FROM (SELECT"
                    " max({column})::bigint AS top FROM {table}) m,"
                    " {sequence} s WHERE m.top IS NOT NULL AND (m.top > s.last_value OR m.top ="
                    " s.last_value AND NOT s.is_called)"
                ).format(
                    name=sql.Literal(column.sequence),
                    sequence=sql.SQL(column.sequence),
                    column=sql.Identifier(column.name),
                    table=table.identifier,
                )
            ).fetchone()
            if row is not None:
                moved.append(f"{column.sequence} = {row[0]}")
    return moved


def _verify(production: psycopg.Connection[Any], tables: Sequence[Table], result: Result) -> None:
    """Count and checksum of what came back, against the images; a difference takes the whole undo back."""
    for table, told in zip(tables, result.tables, strict=True):
        wanted, there, equal, checksum = _one(production.execute(steps.verify(table)))
        still = _one(production.execute(steps.remaining(table))) if table.folded else (0,)
        if wanted != equal or still[0]:
            raise WhodunitError(
                f"{table.name} would not be as it was ({there} of {wanted} rows, {equal} of them with their old values,"
                f" {still[0]} rows too many), so nothing was changed; a trigger of the table alters what is written:"
                " see \\d of the table"
            )
        told.checksum = f"{there} rows equal their images, checksum {checksum}"


def _explained(error: psycopg.Error) -> str:
    message = (error.diag.message_primary or str(error)).strip()
    detail = error.diag.message_detail
    return f"nothing was changed: {message}{f' ({detail})' if detail else ''}"


def parse_fill(values: Sequence[str]) -> dict[str, str]:
    """--fill schema.table.column=value"""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or name.count(".") < 2:
            raise WhodunitError(f"--fill {json.dumps(value)} is not of the form schema.table.column=value")
        found[name] = text
    return found
