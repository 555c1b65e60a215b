"""Whether the vault still says what it said: every batch's root is computed anew and compared with the anchors outside.

A superuser of the vault can change rows, seals and functions. So nothing of the vault computes here: rows come as they
are, the canonical form is asked for in this program's own SQL, hashes are made here, and what counts is the anchor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from whodunit.merkle import Tree, leaf

# The same rows in the same order as vault.leaves(): the history, its meta rows, the commit times, the definitions.
_LEAVES = """
SELECT source, id, tx, canonical FROM (
  SELECT 1 AS place, 'history' AS source, h.id, h.tx,
         jsonb_build_array(h.id, h.tx, h.relation, h.op, h.key, h.old, h.new, h.lsn, h.recorded_at)::text AS canonical
  FROM vault.history h WHERE h.tx >= {first} AND h.tx < {end}
  UNION ALL SELECT 2, 'context', c.id, c.tx, jsonb_build_array('context', to_jsonb(c))::text
  FROM audit.context c WHERE c.tx >= {first} AND c.tx < {end}
  UNION ALL SELECT 3, 'ddl', d.id, d.tx, jsonb_build_array('ddl', to_jsonb(d))::text
  FROM audit.ddl d WHERE d.tx >= {first} AND d.tx < {end}
  UNION ALL SELECT 4, 'finding', f.id, f.tx, jsonb_build_array('finding', to_jsonb(f))::text
  FROM audit.finding f WHERE f.tx >= {first} AND f.tx < {end}
  UNION ALL SELECT 5, 'transaction', t.tx, t.tx, jsonb_build_array('transaction', t.tx, t.xid, t.commit_at, t.lsn)::text
  FROM vault.sealed_transaction t WHERE t.tx >= {first} AND t.tx < {end}
  UNION ALL SELECT 6, 'definition', d.id, d.tx, jsonb_build_array('definition', to_jsonb(d))::text
  FROM audit.definition d WHERE d.tx >= {first} AND d.tx < {end}
) leaves ORDER BY place, id, canonical
"""
DIGEST = 32
LOOKAHEAD = 10_000  # records after the first difference that tell what happened to it


@dataclass(frozen=True, slots=True)
class Anchor:
    n: int
    root: str
    source: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is not as it was."""

    seal: int
    what: str  # edited | deleted | inserted | reordered | batch | seal
    record: str
    detail: str


@dataclass(slots=True)
class Verdict:
    seals: int = 0
    records: int = 0
    anchored: dict[str, int] = field(default_factory=dict)
    retired: int = 0
    fault: Fault | None = None
    notes: list[str] = field(default_factory=list)  # what else a reader must know of what is provable


@dataclass(frozen=True, slots=True)
class Record:
    source: str
    id: str
    tx: str
    digest: bytes

    @property
    def name(self) -> str:
        return f"{self.source} {self.id} (tx {self.tx})"


def read_anchors(path: Path) -> list[Anchor]:
    """The append-only file beside the vault; one JSON object a line."""
    return parse_anchors(path.read_text(encoding="utf-8").splitlines(), "file")


def read_retired(path: Path) -> int | None:
    """Up to which transaction days were dropped, as the keeper noted it beside the anchors; None when it never did."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            value = json.loads(line)
            if value["event"] == "vault_retired":
                found.append(int(value["through_tx"]))
    return max(found, default=None)


def parse_anchors(lines: Iterable[str], source: str) -> list[Anchor]:
    """What anybody else's line says is not an anchor."""
    found = []
    for line in lines:
        try:
            value = json.loads(line)
            found.append(Anchor(int(value["n"]), str(value["root"]).removeprefix("\\x"), source))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def verify(connection: psycopg.Connection[Any], anchors: Iterable[Anchor], retired: int | None = None) -> Verdict:
    """Seal after seal until the first fault. retired: read_retired(); what is older may be gone, never different."""
    roots: dict[int, dict[str, set[str]]] = {}
    for anchor in anchors:
        roots.setdefault(anchor.n, {}).setdefault(anchor.source, set()).add(anchor.root)
    verdict = Verdict()
    connection.execute("SET timezone = 'UTC'")
    claimed = _retired(connection)
    if claimed is not None and (retired is None or claimed > retired):
        verdict.notes.append(
            f"the vault says that days through tx {claimed} were dropped for their age: not anchored, not believed"
        )
    before: bytes | None = None
    expected = None
    for seal in _seals(connection):
        n = int(seal["n"])
        if expected is not None and n != expected:
            missing = f"{expected} to {n - 1}" if n > expected else f"before {n}"
            if _epoch_begins(connection, n):
                verdict.notes.append(
                    f"seals {missing} are anchored and gone: the vault was set back, as its epochs say"
                )
        if expected is not None and n != expected and not _epoch_begins(connection, n):
            verdict.fault = Fault(n, "seal", f"seal {missing}", "the numbers of the seals do not go on")
            return verdict
        fault = _outside(n, bytes(seal["root"]), roots.get(n, {}), verdict) or _chained(n, seal["prev_root"], before)
        if fault is None and retired is not None and int(seal["first"]) <= retired:
            verdict.retired += 1
            fault = _retired_batch(connection, seal, verdict)
        elif fault is None:
            fault = _batch(connection, seal, verdict)
        if fault is not None:
            verdict.fault = fault
            return verdict
        before, expected = bytes(seal["root"]), n + 1
        verdict.seals += 1
    lost = [n for n in sorted(roots) if expected is None or n >= expected]
    if lost:
        verdict.fault = Fault(lost[0], "seal", f"seal {lost[0]}", "it was anchored, and the vault has it no more")
    return verdict


def _seals(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT s.n, s.prev_root, s.root, s.first_id, s.last_id, s.rows, s.horizon_xid AS end,"
            " lag(s.horizon_xid, 1, 0::bigint) OVER (ORDER BY s.n) AS first FROM vault.seal s ORDER BY s.n"
        )
        return cursor.fetchall()


def _outside(n: int, root: bytes, anchored: Mapping[str, set[str]], verdict: Verdict) -> Fault | None:
    for source, found in sorted(anchored.items()):
        verdict.anchored[source] = verdict.anchored.get(source, 0) + 1
        if root.hex() not in found:
            return Fault(
                n, "seal", f"seal {n}", f"the vault's root is {root.hex()}, the anchor ({source}) says {min(found)}"
            )
    return None


def _chained(n: int, previous: bytes | None, before: bytes | None) -> Fault | None:
    if before is not None and (previous is None or bytes(previous) != before):
        return Fault(n, "seal", f"seal {n}", "it does not continue the seal before")
    return None


def _batch(connection: psycopg.Connection[Any], seal: Mapping[str, Any], verdict: Verdict) -> Fault | None:
    """The batch's root from its rows; where it differs, the first row that is to blame."""
    tree = Tree()
    tree.add(leaf(bytes(seal["prev_root"] or b"")))
    for record in _records(connection, seal):
        tree.add(record.digest)
        verdict.records += 1
    if tree.root() == bytes(seal["root"]):
        return None
    return _blame(connection, seal)


def _retired_batch(connection: psycopg.Connection[Any], seal: Mapping[str, Any], verdict: Verdict) -> Fault | None:
    """Rows of a dropped day are gone, not changed: the kept leaves make the root, and what is left is among them."""
    n, kept = int(seal["n"]), _kept_leaves(connection, int(seal["n"])) or []
    tree = Tree()
    tree.add(leaf(bytes(seal["prev_root"] or b"")))
    for digest in kept:
        tree.add(digest)
    if tree.root() != bytes(seal["root"]):
        return Fault(n, "seal", f"seal {n}", "its kept leaves do not make its root")
    rest = iter(kept)
    for record in _records(connection, seal):
        verdict.records += 1
        if not any(digest == record.digest for digest in rest):
            return Fault(
                n, "edited", record.name, f"batch {n}, whose days were dropped; the leaves have no such record"
            )
    return None


def _records(connection: psycopg.Connection[Any], seal: Mapping[str, Any]) -> Iterator[Record]:
    """One record at a time; JSON's text has no control characters, so only backslashes are doubled by COPY."""
    query = sql.SQL(_LEAVES).format(first=sql.Literal(seal["first"]), end=sql.Literal(seal["end"]))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
        rest = b""
        for piece in copy:
            lines = (rest + bytes(piece)).split(b"\n")
            rest = lines.pop()
            for line in lines:
                source, identifier, tx, canonical = line.split(b"\t", 3)
                yield Record(source.decode(), identifier.decode(), tx.decode(), leaf(canonical.replace(b"\\\\", b"\\")))


def _blame(connection: psycopg.Connection[Any], seal: Mapping[str, Any]) -> Fault:
    n = int(seal["n"])
    kept = _kept_leaves(connection, n)
    if kept is not None:
        tree = Tree()
        tree.add(leaf(bytes(seal["prev_root"] or b"")))
        for digest in kept:
            tree.add(digest)
        if tree.root() == bytes(seal["root"]):
            found = first_difference(_records(connection, seal), kept)
            if found is not None:
                what, record = found
                return Fault(n, what, record, f"batch {n}, whose root is anchored")
    return _suspect(connection, seal)


def first_difference(records: Iterable[Record], kept: list[bytes]) -> tuple[str, str] | None:
    """What happened to the first record that is not where it was."""
    position = 0
    stream = iter(records)
    remaining = None
    before = None
    for record in stream:
        if position >= len(kept):
            return "inserted", record.name
        if record.digest == kept[position]:
            position += 1
            before = record
            continue
        remaining = [record, *islice(stream, LOOKAHEAD)]
        break
    if remaining is None:
        return ("deleted", _after(before)) if position < len(kept) else None
    found = {each.digest for each in remaining}
    wanted = set(kept[position : position + LOOKAHEAD + 1])
    bad = remaining[0]
    if bad.digest in wanted and kept[position] in found:
        return "reordered", bad.name
    if bad.digest in wanted:
        return "deleted", _after(before)
    if kept[position] in found:
        return "inserted", bad.name
    return "edited", bad.name


def _after(before: Record | None) -> str:
    return f"the record after {before.name}" if before is not None else "the first record of the batch"


def _kept_leaves(connection: psycopg.Connection[Any], n: int) -> list[bytes] | None:
    """The leaves that the sealer noted; nobody has to trust them, since their root is anchored."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'vault.seal'::regclass AND attname = 'leaves'"
        " AND NOT attisdropped)"
    ).fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute("SELECT leaves FROM vault.seal WHERE n = %s", (n,)).fetchone()
    if found is None or found[0] is None:
        return None
    leaves = bytes(found[0])
    return [leaves[place : place + DIGEST] for place in range(0, len(leaves), DIGEST)]


_SUSPECTS = (
    (
        "deleted",
        # Within one transaction, one worker numbers the rows of a table without a hole of its own making.
        "SELECT 'history ' || min(g.id) || ' (tx ' || c.tx || ')', c.rows || ' rows were sealed, '"
        " || count(h.id) || ' are there'"
        " FROM vault.sealed_change c LEFT JOIN LATERAL (SELECT h.id FROM vault.history h WHERE h.tx"
        " = c.tx AND h.relation ="
        " c.relation AND h.op = c.op) h ON true LEFT JOIN LATERAL (SELECT g.id FROM"
        " generate_series(c.first_id, c.last_id) AS g (id)"
        " WHERE NOT EXISTS (SELECT FROM vault.history x WHERE x.tx = c.tx AND x.id = g.id) LIMIT 1) g ON true"
        " WHERE c.seal = %(n)s GROUP BY c.tx, c.relation, c.op, c.rows, c.first_id HAVING count(h.id) < c.rows"
        " ORDER BY c.first_id LIMIT 1",
    ),
    (
        "inserted",
        "SELECT 'history ' || h.id || ' (tx ' || h.tx || ')', 'no sealed transaction has it' FROM vault.history h"
        " LEFT JOIN vault.sealed_change c ON (c.tx, c.relation, c.op) = (h.tx, h.relation, h.op)"
        " WHERE h.tx >= %(first)s AND h.tx < %(end)s AND (c.tx IS NULL OR h.id NOT BETWEEN c.first_id AND c.last_id)"
        " ORDER BY h.id LIMIT 1",
    ),
    (
        "reordered",
        "SELECT 'history ' || id || ' (tx ' || tx || ')', 'recorded before its predecessor' FROM"
        " (SELECT h.id, h.tx, h.recorded_at,"
        " lag(h.recorded_at) OVER (ORDER BY h.id) AS before FROM vault.history h WHERE h.tx >="
        " %(first)s AND h.tx < %(end)s) o"
        " WHERE recorded_at < before ORDER BY id LIMIT 1",
    ),
    (
        "edited",
        # What a row was after one event is what it was before the next.
        "SELECT 'history ' || id || ' (tx ' || tx || ')', 'its image does not follow from history ' || before_id FROM ("
        " SELECT h.id, h.tx, h.old, lag(h.new) OVER w AS new_before, lag(h.id) OVER w AS before_id FROM vault.history h"
        " WHERE h.tx < %(end)s WINDOW w AS (PARTITION BY h.relation, h.key ORDER BY h.id)) o"
        " WHERE tx >= %(first)s AND old <> new_before ORDER BY id LIMIT 1",
    ),
)


def _suspect(connection: psycopg.Connection[Any], seal: Mapping[str, Any]) -> Fault:
    """Without noted leaves the batch is certain and the record is inferred from what the rows say of each other."""
    for what, query in _SUSPECTS:
        found = connection.execute(query.encode(), {name: seal[name] for name in ("n", "first", "end")}).fetchone()
        if found is not None:
            return Fault(int(seal["n"]), what, str(found[0]), f"batch {seal['n']}; {found[1]}")
    return Fault(
        int(seal["n"]),
        "batch",
        f"one of history {seal['first_id']} to {seal['last_id']} or of their context, ddl, finding or commit rows",
        "the batch's root is not what was sealed",
    )


def _retired(connection: psycopg.Connection[Any]) -> int | None:
    """Up to which transaction whole days were dropped when their time was over."""
    row = connection.execute(
        "SELECT max((detail ->> 'through_tx')::bigint) FROM vault.finding WHERE kind = 'retired' AND source = 'vault'"
    ).fetchone()
    return None if row is None else row[0]


def _epoch_begins(connection: psycopg.Connection[Any], n: int) -> bool:
    """A vault that was set back goes on from the number that was anchored last."""
    row = connection.execute("SELECT to_jsonb(e) FROM vault.epoch e ORDER BY e.n").fetchall()
    return any(each[0].get("after_seal") == n - 1 for each in row)
