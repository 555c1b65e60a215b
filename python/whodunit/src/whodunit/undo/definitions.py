"""What a DROP took along besides rows, made again by the statements that the vault kept from before it.

Production notes how each object is made whenever DDL changes it (55-definitions.sql of role audit_capture). Those notes
are text of production: they are shown in the plan, and executed there as whoever undoes, never in the vault.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

ROWS = 70  # steps below come before the rows, the others after them
FOREIGN_KEY = 80
_CREATES = (30, 50, 85)  # steps that make a relation, to which default privileges may add grants of their own
_FITTED = 90  # from here on it is about what somebody else's object of that name has, too

# Objects that these transactions took away, each as it was before them (a sequence: where it stood at last); not those
# that they had made themselves.
_GONE = """
SELECT g.kind, g.identity, g.objid::bigint, g.objsubid, was.statements,
       g.kind = 'table' AND g.objsubid = 0 AND was.statements #>> '{0,1}' !~ ' PARTITION BY '
       AND NOT EXISTS (SELECT FROM vault.relation r WHERE r.source_relid = g.objid) AS unfollowed
FROM audit.definition g
LEFT JOIN LATERAL (
  SELECT d.statements FROM audit.definition d
  WHERE (d.catalog, d.objid, d.objsubid) = (g.catalog, g.objid, g.objsubid) AND d.id < g.id AND d.statements IS NOT NULL
  ORDER BY g.kind <> 'sequence' AND coalesce(d.tx = ANY(%(txs)s), false), d.id DESC LIMIT 1) was ON true
WHERE g.tx = ANY(%(txs)s) AND g.statements IS NULL AND was.statements IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit.ddl c WHERE c.tx = ANY(%(txs)s) AND c.relid = g.objid AND g.objsubid = 0
                    AND c.event = 'ddl_command_end' AND c.tag LIKE 'CREATE %%')
ORDER BY g.objid, g.objsubid
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """One object: its kind and name, and how it is made, in steps."""

    kind: str
    identity: str
    oid: int
    column: int
    statements: tuple[tuple[int, str], ...]
    unfollowed: bool = False  # a table of whose rows the vault has nothing


@dataclass(slots=True)
class Rebuilt:
    """What became of the statements."""

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)  # objects of that name that production has again
    not_made: list[tuple[str, str]] = field(default_factory=list)  # statement, why
    for_superuser: list[str] = field(default_factory=list)  # owners and grants that only somebody mightier can give


@dataclass(frozen=True, slots=True)
class _Statement:
    step: int
    text: str
    of: Definition


def gone(vault: psycopg.Connection[Any], txs: Sequence[int]) -> list[Definition]:
    with vault.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(_GONE, {"txs": list(txs)})
        return [
            Definition(kind, identity, oid, column, tuple((int(step), str(text)) for step, text in said), unfollowed)
            for kind, identity, oid, column, said, unfollowed in cursor
        ]


class Rebuild:
    """Runs statements in the order of their steps; one that needs another is tried again after it."""

    def __init__(self, production: psycopg.Connection[Any], found: Iterable[Definition]) -> None:
        self.production = production
        self.told = Rebuilt()
        self._beyond: list[_Statement] = []
        self._waiting = sorted(
            (_Statement(step, text, each) for each in found for step, text in each.statements),
            key=lambda each: each.step,
        )

    def before_rows(self) -> None:
        """Schemas, types, sequences, functions, tables and their keys."""
        if self._waiting:
            self.production.execute("SELECT set_config('check_function_bodies', 'off', true)")
            later = [each for each in self._waiting if each.step >= ROWS]
            # What still waits then (a function that returns a view's type) is tried with the rest.
            self._waiting = [*self._run([each for each in self._waiting if each.step < ROWS])[0], *later]

    def after_rows(self) -> None:
        """Constraints, indexes, foreign keys, views, triggers, owners, grants, comments."""
        left, why = self._run(self._waiting)
        self.told.not_made = [(each.text, why[each]) for each in left]
        again, self._beyond = self._beyond, []  # an owner may need a grant that came after it
        for each in again:
            self._try(each)
        self.told.for_superuser = [each.text for each in self._beyond]
        self._waiting = []

    def foretell(self) -> None:
        """For a plan: they are not tried, since they need the rows."""
        self.told.made += [each.text for each in self._waiting if each.of.identity not in self.told.there]
        self._waiting = []

    def _run(self, statements: Sequence[_Statement]) -> tuple[list[_Statement], dict[_Statement, str]]:
        waiting, why, progress = list(statements), dict[_Statement, str](), True
        while waiting and progress:
            left: list[_Statement] = []
            for each in waiting:
                if each.of.identity in self.told.there:
                    continue
                failed = self._try(each)
                if failed is not None:
                    left.append(each)
                    why[each] = failed
            progress = len(left) < len(waiting)
            waiting = left
        return waiting, why

    def _try(self, each: _Statement) -> str | None:
        """Why it failed, or None."""
        try:
            with self.production.transaction():
                self.production.execute(each.text.encode())
        except (
            psycopg.errors.DuplicateTable,
            psycopg.errors.DuplicateObject,
            psycopg.errors.DuplicateSchema,
            psycopg.errors.DuplicateFunction,
            psycopg.errors.DuplicateColumn,
            psycopg.errors.InvalidTableDefinition,  # a second primary key
        ) as error:
            if each.step < _FITTED:
                self.told.there.append(each.of.identity)
                return None
            return _said(error)
        except psycopg.errors.ForeignKeyViolation as error:
            return self._unproven(each, error)
        except psycopg.errors.InsufficientPrivilege as error:
            if each.step < _FITTED:
                return _said(error)
            self._beyond.append(each)
            return None
        except psycopg.Error as error:
            return _said(error)
        self.told.made.append(each.text)
        if each.step in _CREATES and each.of.column == 0:
            self._take_back_defaults(each.of)
        return None

    def _unproven(self, each: _Statement, error: psycopg.Error) -> str | None:
        """A foreign key that some rows break holds for new rows at least."""
        if each.step != FOREIGN_KEY or each.text.endswith("NOT VALID"):
            return _said(error)
        return self._try(_Statement(each.step, f"{each.text} NOT VALID", each.of))

    def _take_back_defaults(self, made: Definition) -> None:
        """Default privileges of whoever undoes are not what the object had."""
        for (grantee,) in self.production.execute(
            "SELECT DISTINCT x.grantee::regrole::text FROM pg_class c CROSS JOIN aclexplode(c.relacl) x"
            " WHERE c.oid = to_regclass(%s) AND x.grantee NOT IN (0, c.relowner)",
            (made.identity,),
        ).fetchall():
            self.production.execute(
                sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(sql.SQL(made.identity), sql.SQL(grantee))
            )


def _said(error: psycopg.Error) -> str:
    detail = error.diag.message_detail
    return f"{error.diag.message_primary or str(error).strip()}{f' ({detail})' if detail else ''}"
