"""The vault: what was changed, by which transaction, under which context."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row, tuple_row

from whodunit import WhodunitError
from whodunit.incident import REACH, Harm
from whodunit.model import Change, Definition, Finding, Gap, Net, Sample, Transaction, utc

_TEXT = {"lsn": sql.SQL("lsn::text"), "client_addr": sql.SQL("host(client_addr) AS client_addr")}
_COLUMNS = sql.SQL(", ").join(_TEXT.get(field.name, sql.Identifier(field.name)) for field in fields(Transaction))
# The most harmful transactions and the latest ones. Ten million sealed changes are read once and never sorted whole;
# what is not sealed yet is little.
_HARMED = """
(SELECT c.tx, CASE WHEN c.op <> 'U' THEN c.rows ELSE 0 END AS lost,
        CASE WHEN c.op = 'U' THEN c.rows ELSE 0 END AS updated, 0::bigint AS dropped, 0::bigint AS unmade,
        c.relation, c.op
 FROM vault.sealed_change c WHERE c.op <> 'I' AND c.tx >= %(first)s {sealed}
 ORDER BY CASE WHEN c.op = 'U' THEN c.rows / 10 ELSE c.rows END DESC, c.tx DESC LIMIT 2000)
UNION
(SELECT c.tx, c.rows, 0, 0, 0, c.relation, c.op FROM vault.sealed_change c
 WHERE c.op IN ('D', 'T', 'X') AND c.tx >= %(first)s {sealed} ORDER BY c.tx DESC LIMIT 2000)
UNION ALL
SELECT tx, CASE WHEN op <> 'U' THEN rows ELSE 0 END, CASE WHEN op = 'U' THEN rows ELSE 0 END, 0, 0, relation, op
FROM vault.changes WHERE op <> 'I' AND tx >= %(horizon)s {live}
UNION ALL
SELECT tx, 0, 0, count(*) FILTER (WHERE {holds_rows}), count(*) FILTER (WHERE NOT {holds_rows}), 0, 'X' FROM audit.ddl
WHERE tx >= %(first)s AND event = 'sql_drop' {dropped} GROUP BY tx
{named}
"""
# Other objects (an index, a view) cost nobody a row.
_HOLDS_ROWS = "object_type IN ('table', 'schema', 'table column')"
# Of one person or one trace everything counts, however small.
_NAMED = """
UNION ALL
SELECT * FROM (SELECT t.tx, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0, 'I'::"char" FROM audit.context t
               WHERE t.tx >= %(first)s {person} ORDER BY t.tx DESC LIMIT 2000) AS named
"""
# What joins them cheaply; the exact joining is done on the few that are read in full.
_JOINED = """
SELECT t.tx, t.commit_at, t.epoch, coalesce(substring(t.ctx FROM '"cid": ?"([0-9a-f]+)"'), t.pg_session_id, t.tx::text)
FROM vault.transactions t
WHERE t.tx = ANY(%(txs)s) AND t.commit_at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND t.commit_at <= coalesce(%(until)s::timestamptz, 'infinity') {person}
"""
NET_ROWS = 50_000
_NET = """
WITH images AS (
  SELECT r.schema_name || '.' || r.table_name AS name, i.n,
         (SELECT jsonb_agg(i.image ->> k ORDER BY o) FROM unnest(r.key_columns) WITH ORDINALITY AS u (k, o)) AS key
  FROM vault.history h JOIN vault.relation r ON r.id = h.relation
  CROSS JOIN LATERAL (VALUES (h.id * 2, h.old), (h.id * 2 + 1, h.new)) AS i (n, image)
  WHERE h.tx = ANY(%(txs)s) AND h.id BETWEEN %(first)s AND %(last)s AND i.image IS NOT NULL),
net AS (SELECT name, min(n) %% 2 = 0 AS existed, max(n) %% 2 = 1 AS exists FROM images GROUP BY name, key)
SELECT name AS table, count(*) FILTER (WHERE existed AND NOT exists) AS lost,
       count(*) FILTER (WHERE existed AND exists) AS changed, count(*) FILTER (WHERE NOT existed AND exists) AS born
FROM net GROUP BY name ORDER BY name
"""


class Vault:
    """One read-only snapshot of the vault."""

    def __init__(self, dsn: str, *, role: str = "") -> None:
        """`role` is a role of the vault to act as, where the account has more rights than the asking person."""
        options = "-c timezone=UTC -c datestyle=ISO" + (f" -c role={role}" if role else "")
        try:
            self.connection = psycopg.connect(dsn, options=options, connect_timeout=5)
            self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self.connection.read_only = True
        except psycopg.Error as error:
            raise WhodunitError(f"the vault does not answer: {str(error).strip()}") from error

    def close(self) -> None:
        self.connection.close()

    def newest(self) -> datetime | None:
        """When production last committed something that is sealed: what ages are counted from."""
        row = self._one("SELECT max(commit_at) FROM vault.sealed_transaction")
        return row[0] if row else None

    def candidates(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        table: str | None = None,
        user: str | None = None,
        trace: str | None = None,
    ) -> list[tuple[list[int], Harm, datetime]]:
        """Likely incidents: their transactions, the harm, and when."""
        parameters: dict[str, Any] = {
            "since": since,
            "until": until,
            "first": self._first_tx(since),
            "horizon": self._horizon(),
        }
        sealed = live = dropped = person = named = ""
        if table is not None:
            schema, _, name = table.rpartition(".")
            parameters |= {"schema": schema or None, "table": name, "identity": f"%{_like(name)}%"}
            live = "AND table_name = %(table)s AND schema_name = coalesce(%(schema)s, schema_name)"
            sealed = "AND c.relation IN (SELECT id FROM vault.relation WHERE table_name = %(table)s"
            sealed += " AND schema_name = coalesce(%(schema)s, schema_name))"
            dropped = "AND object_name LIKE %(identity)s"
        if user is not None:
            quoted = json.dumps(user)
            parameters |= {"user": user, "claim": f'%"uid":{_like(quoted)}%', "number": f'%"uid":{_like(user)},%'}
            person = "AND (t.db_user = %(user)s OR t.ctx LIKE %(claim)s OR t.ctx LIKE %(number)s)"
        if trace is not None:
            parameters |= {"trace": f"%{_like(trace)}%"}
            person = "AND (t.ctx LIKE %(trace)s OR t.application_name LIKE %(trace)s)"
        if person:
            named = _NAMED.format(person=person)
        harmed: dict[int, Harm] = {}
        groups: dict[tuple[int, str], tuple[list[int], Harm, datetime]] = {}
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            query = _HARMED.format(sealed=sealed, live=live, dropped=dropped, named=named, holds_rows=_HOLDS_ROWS)
            cursor.execute(query.encode(), parameters)
            for tx, lost, updated, gone, unmade, _, _ in cursor:
                harmed[tx] = harmed.get(tx, Harm()) + Harm(lost, updated, gone, unmade)
            cursor.execute(_JOINED.format(person=person).encode(), {**parameters, "txs": sorted(harmed)})
            for tx, at, epoch, key in cursor:
                txs, harm, newest = groups.get((epoch, key), ([], Harm(), at))
                groups[epoch, key] = ([*txs, tx], harm + harmed[tx], max(newest, at))
        return [(sorted(txs), harm, at) for txs, harm, at in groups.values()]

    def harm(self, txs: Sequence[int]) -> dict[int, Harm]:
        """What each of these transactions did."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                sql.SQL(
                    "SELECT tx, sum(lost)::bigint, sum(updated)::bigint, sum(dropped)::bigint, sum(unmade)::bigint FROM"
                    " (SELECT tx, CASE WHEN op IN ('D', 'T', 'X') THEN rows ELSE 0 END AS lost,"
                    " CASE WHEN op = 'U' THEN rows ELSE 0 END AS updated, 0 AS dropped, 0 AS unmade FROM"
                    " vault.changes WHERE tx = ANY(%(txs)s)"
                    " UNION ALL SELECT tx, 0, 0, ({holds_rows})::int, (NOT {holds_rows})::int FROM audit.ddl"
                    " WHERE tx = ANY(%(txs)s) AND event = 'sql_drop') AS each GROUP BY tx"
                ).format(holds_rows=sql.SQL(_HOLDS_ROWS)),
                {"txs": list(txs)},
            )
            return {tx: Harm(*counts) for tx, *counts in cursor}

    def by_xid(self, epoch: int, xid: int) -> list[Transaction]:
        return self._transactions("epoch = %s AND xid = %s", (epoch, xid))

    def by_tx(self, txs: Sequence[int]) -> list[Transaction]:
        return self._transactions("tx = ANY(%s)", (list(txs),))

    def epoch(self) -> int:
        row = self._one("SELECT coalesce(max(n), 0) FROM vault.epoch")
        return int(row[0]) if row else 0

    def of(
        self,
        *,
        trace: str | None = None,
        user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Transaction]:
        """Everything of a trace, a correlation id, a user or a time, however small."""
        quoted = json.dumps(user)
        return self._transactions(
            "tx >= %(first)s AND (%(since)s::timestamptz IS NULL OR commit_at >= %(since)s)"
            " AND (%(until)s::timestamptz IS NULL OR commit_at <= %(until)s)"
            " AND (%(trace)s::text IS NULL OR ctx LIKE %(trace)s OR application_name LIKE %(trace)s)"
            " AND (%(user)s::text IS NULL OR db_user = %(user)s OR ctx LIKE %(claim)s OR ctx LIKE %(number)s)",
            {
                "first": self._first_tx(since),
                "since": since,
                "until": until,
                "trace": None if trace is None else f"%{_like(trace)}%",
                "user": user,
                "claim": f'%"uid":{_like(quoted)}%',
                "number": f'%"uid":{_like(user or "")},%',
            },
        )

    def related(self, transactions: Sequence[Transaction], pooled_roles: Sequence[str]) -> list[Transaction]:
        """What might belong to the same incident: a person's session or a correlation id, not long before or after."""
        begin, end = (
            min(each.commit_at for each in transactions) - REACH,
            max(each.commit_at for each in transactions) + REACH,
        )
        found: set[int] = set()
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            sessions = sorted(
                {each.pg_session_id for each in transactions if each.pg_session_id and each.db_user not in pooled_roles}
            )
            if sessions:
                cursor.execute(
                    "SELECT tx FROM (SELECT tx, at, pg_session_id FROM audit.context"
                    " UNION ALL SELECT tx, at, pg_session_id FROM audit.ddl) AS each"  # DDL alone has no context row
                    " WHERE pg_session_id = ANY(%s) AND at BETWEEN %s AND %s AND tx IS NOT NULL"
                    " ORDER BY at LIMIT 50000",
                    (sessions, begin, end),
                )
                found.update(row[0] for row in cursor)
            correlations = sorted({text for each in transactions if (text := _correlation(each.ctx))})
            if correlations:
                cursor.execute(
                    "SELECT tx FROM audit.context WHERE tx >= %s AND at BETWEEN %s AND %s AND"
                    ' substring(ctx FROM \'"cid": ?"([0-9a-f]+)"\') = ANY(%s) ORDER BY at LIMIT 50000',
                    (self._first_tx(begin), begin, end, correlations),
                )
                found.update(row[0] for row in cursor)
        return self.by_tx(sorted(found))

    def near(self, lines: Sequence[tuple[str, datetime]]) -> list[Transaction]:
        """What these sessions committed at or soon after those times."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                "SELECT DISTINCT c.tx FROM unnest(%s::text[], %s::timestamptz[]) AS l (session, at)"
                " CROSS JOIN LATERAL ("
                " SELECT c.tx FROM audit.context c WHERE c.pg_session_id = l.session"
                " AND c.at BETWEEN l.at - interval '1 s' AND l.at + interval '1 min' ORDER BY c.at LIMIT 3) c",
                ([session for session, _ in lines], [at for _, at in lines]),
            )
            return self.by_tx(sorted(row[0] for row in cursor))

    def point_before(self, transactions: Sequence[Transaction]) -> str:
        """Where recovery has to stop so that none of these has happened, in the words of PostgreSQL's settings."""
        begin = min(each.at or each.commit_at for each in transactions)
        row = self._one("SELECT lsn::text, at FROM audit.heartbeat WHERE at < %s ORDER BY at DESC LIMIT 1", (begin,))
        lsn = f", or recovery_target_lsn = '{row[0]}', where it stood at {utc(row[1])}" if row else ""
        command = f"sudo -u postgres tovplay-backup side production --time '{utc(begin)}'"
        return (
            f"to recovery_target_time = '{utc(begin)}' with recovery_target_inclusive = off{lsn};"
            f" where the repository is: {command}"
        )

    def wrote_from(self, one: Transaction, before: datetime) -> datetime | None:
        """When that role first wrote from that address, if it did so before."""
        row = self._one(
            "SELECT min(at) FROM audit.context WHERE db_user = %s AND client_addr = %s::inet AND at < %s"
            " AND pg_session_id <> %s",
            (one.db_user, one.client_addr, before, one.pg_session_id),
        )
        return row[0] if row else None

    def tables(self) -> set[str]:
        """Names of all audited tables, also of those that are gone."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute("SELECT DISTINCT table_name FROM vault.relation")
            return {row[0] for row in cursor}

    def secrets(self) -> set[str]:
        """Names of tables and columns whose values are nobody's business."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                "SELECT DISTINCT unnest(ARRAY[r.table_name, c ->> 'name']) FROM vault.relation r,"
                " jsonb_array_elements(r.columns) c"
                " WHERE c ->> 'policy' <> 'plain'"
            )
            return {row[0] for row in cursor}

    def changes(self, txs: Sequence[int]) -> list[Change]:
        with self.connection.cursor(row_factory=class_row(Change)) as cursor:
            cursor.execute(
                "SELECT tx, relation, schema_name, table_name, op::text, rows::bigint, first_id,"
                " last_id FROM vault.changes"
                " WHERE tx = ANY(%s) ORDER BY first_id, relation, op",
                (list(txs),),
            )
            return cursor.fetchall()

    def samples(self, changes: Iterable[Change], each: int = 3) -> list[Sample]:
        """The first rows of every table and kind of change; what the columns' policy hides stays hidden."""
        found: list[Sample] = []
        wanted: dict[tuple[str, str], Change] = {}
        for change in changes:
            wanted.setdefault((change.table, change.op), change)
        with self.connection.cursor(row_factory=dict_row) as cursor:
            for (table, op), change in sorted(wanted.items()):
                cursor.execute(
                    "SELECT id, key, old, new FROM vault.history WHERE id BETWEEN %s AND %s AND tx ="
                    " %s AND relation = %s"
                    " AND op = %s ORDER BY id LIMIT %s",
                    (change.first_id, change.last_id, change.tx, change.relation, op, each),
                )
                found += [Sample(table=table, op=op, **row) for row in cursor]
        return found

    def net(self, changes: Sequence[Change]) -> list[Net]:
        """Rows that were there before and are gone, differ, or are new, by table: a row that came and went is none.

        Of one key the first image tells whether the row was there before, the last whether it is there now (undo.fold
        says the same); beyond NET_ROWS nobody waits for the count.
        """
        if not changes or sum(each.rows for each in changes) > NET_ROWS:
            return []
        with self.connection.cursor(row_factory=class_row(Net)) as cursor:
            cursor.execute(
                _NET,
                {
                    "txs": sorted({each.tx for each in changes}),
                    "first": min(each.first_id for each in changes),
                    "last": max(each.last_id for each in changes),
                },
            )
            return cursor.fetchall()

    def definitions(self, txs: Sequence[int]) -> list[Definition]:
        with self.connection.cursor(row_factory=class_row(Definition)) as cursor:
            cursor.execute(
                "SELECT tx, at, tag, event, coalesce(object_type, '') AS object_type,"
                " coalesce(object_name, '') AS object_name,"
                " coalesce(statement, '') AS statement FROM audit.ddl WHERE tx = ANY(%s)"
                " ORDER BY at, event, object_type, object_name",
                (list(txs),),
            )
            return cursor.fetchall()

    def findings(self, txs: Sequence[int], since: datetime, until: datetime) -> list[Finding]:
        """Those of the transactions, and about that time the vault's own and what the heartbeat found changed."""
        with self.connection.cursor(row_factory=class_row(Finding)) as cursor:
            cursor.execute(
                "SELECT at, kind, severity, coalesce(detail::text, '') AS text, tx FROM vault.finding"
                " WHERE tx = ANY(%s) OR ((tx IS NULL OR kind = 'fingerprint_changed') AND at BETWEEN %s AND %s)"
                " ORDER BY at, kind, text",
                (list(txs), since, until),
            )
            return cursor.fetchall()

    def gaps(self, since: datetime, until: datetime) -> list[Gap]:
        """Gaps that the vault declared: heartbeats that did not come, epochs, tables that had to be copied again."""
        with self.connection.cursor(row_factory=class_row(Gap)) as cursor:
            cursor.execute(
                "SELECT 'vault' AS source, coalesce(from_at, noted_at) AS since, coalesce(to_at, noted_at) AS until,"
                " kind || ': ' || detail::text || coalesce(', ' || from_lsn, '') || coalesce(' to '"
                " || to_lsn, '') AS text"
                " FROM vault.gap WHERE coalesce(from_at, noted_at) <= %(until)s AND coalesce(to_at,"
                " noted_at) >= %(since)s"
                " ORDER BY 2, 1, 4",
                {"since": since, "until": until},
            )
            return cursor.fetchall()

    def hold(self, since: datetime, until: datetime, reason: str) -> int:
        """A legal hold on those days; the only thing that is ever written to the vault from here."""
        self.connection.rollback()
        self.connection.read_only = False
        row = self._one(
            "INSERT INTO vault.legal_hold (from_at, to_at, reason) VALUES (%s, %s, %s) RETURNING id",
            (since, until, reason),
        )
        self.connection.commit()
        return int(row[0]) if row else 0

    def _transactions(self, where: LiteralString, parameters: Sequence[Any] | dict[str, Any]) -> list[Transaction]:
        with self.connection.cursor(row_factory=class_row(Transaction)) as cursor:
            cursor.execute(
                sql.SQL("SELECT {} FROM vault.transactions WHERE {} ORDER BY commit_at, tx").format(
                    _COLUMNS, sql.SQL(where)
                ),
                parameters,
            )
            return cursor.fetchall()

    def _first_tx(self, since: datetime | None) -> int:
        """No transaction of that time has a smaller number: what keeps the search off older history."""
        if since is None:
            return 0
        row = self._one(
            "SELECT coalesce((SELECT tx FROM vault.sealed_transaction WHERE commit_at >= %s ORDER BY"
            " commit_at LIMIT 1),"
            " vault.horizon())",
            (since,),
        )
        return int(row[0]) if row and row[0] is not None else 0

    def _horizon(self) -> int:
        row = self._one("SELECT vault.horizon()")
        return int(row[0]) if row else 0

    def _one(self, query: LiteralString, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchone()


def _correlation(ctx: str | None) -> str | None:
    found = re.search(r'"cid": ?"([0-9a-f]+)"', ctx or "")
    return found.group(1) if found else None


def _like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)
