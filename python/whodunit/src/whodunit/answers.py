"""The five questions: each answer with the witnesses that were heard. Pure, like the report that they make up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import quote

from tovplay_telemetry.audit_context import trace_id

from whodunit.grade import answer, same_statement, within
from whodunit.material import Material
from whodunit.model import Answer, Line, Transaction, Trust, Witness, utc

OPERATIONS = {"I": "inserted", "U": "updated", "D": "deleted", "T": "truncated", "X": "dropped"}
LOST = ("D", "T", "X")
_CLOCKS = 5.0  # seconds by which two programs' clocks may differ on one host
_METHOD = re.compile(r"method=([\w-]+)")
_IDENTITY = re.compile(r'identity="([^"]*)"')


class Records(Protocol):
    """Where a line becomes evidence and gets its number."""

    def add(self, line: Line) -> str: ...


def who(material: Material, first: Transaction, lines: Sequence[Line], records: Records) -> Iterable[Answer]:
    context = material.contexts[first.tx]
    person: list[Witness | None] = []
    note = ""
    if context.trust is Trust.SIGNED and context.trusted("uid") is not None:
        person.append(Witness("application", "signed context", f"user {context.trusted('uid')}"))
        person += [
            Witness(f"{line.job} log", line.job, f"user {line.get('user_id')}", records.add(line))
            for line in _vouching(material, context.trusted("cid"))
        ]
    elif first.db_user and first.db_user not in material.pooled_roles:
        person.append(Witness("vault", "session_user", first.db_user))
        person += _logins(material, first, records, lambda line: line.get("db_user"))
    if not any(person):
        note = f"{context.why or 'nobody vouches for a person'}; role {first.db_user or 'unknown'}, peer {peer(first)}"
    mixed = {material.contexts[each.tx].trusted("uid") for each in material.transactions}
    if len(mixed) > 1 and context.trust is Trust.SIGNED:
        note = "several application users in one incident: see the transactions"
    yield answer("WHO", "person", _distinct(person), note=note)
    if context.claims:
        said = ", ".join(
            f"{name} {context.claims[name]}"
            for name in ("uid", "email_hash", "sid_hash", "bsid", "ip", "pod")
            if context.claims.get(name)
        )
        trusted = context.trust is Trust.SIGNED
        yield answer(
            "WHO",
            "application user",
            [Witness("application", "signed context", said)] if trusted else [],
            note="" if trusted else f"{context.trust}: {context.why}; it claims: {said or 'nothing'}",
        )
    yield answer(
        "WHO",
        "database role",
        _distinct(
            [
                Witness("vault", "context row", first.db_user or ""),
                *(Witness("postgres log", line.job, line.get("db_user"), records.add(line)) for line in lines),
            ]
        ),
        note=f"acting as {first.db_role}" if first.db_role and first.db_role != first.db_user else "",
    )
    yield answer(
        "WHO",
        "address",
        _distinct(
            [
                Witness("vault", "context row", peer(first) if first.client_addr or first.pg_session_id else ""),
                *(
                    Witness("postgres log", line.job, _line_peer(line), records.add(line))
                    for line in lines
                    if line.get("client_addr")
                ),
            ]
        ),
        note=_peers(material, first),
    )


def when(material: Material, lines: Sequence[Line], records: Records) -> Iterable[Answer]:
    first, last = material.transactions[0], material.transactions[-1]
    at_commit = [line for line in lines if abs(line.at - last.commit_at) < timedelta(minutes=5)]
    yield answer(
        "WHEN",
        "committed",
        [
            Witness("vault", "commit record", utc(last.commit_at)),
            *(Witness("postgres log", line.job, utc(line.at), records.add(line)) for line in at_commit[-1:]),
        ],
        same=within(max(_CLOCKS, (last.commit_at - (last.at or last.commit_at)).total_seconds() + _CLOCKS)),
        note=f"first of {len(material.transactions)} transactions: {utc(first.commit_at)}" if first is not last else "",
    )
    yield answer("WHEN", "LSN", [Witness("vault", "replication origin", first.lsn or "")], note="lower bound")
    xids = [str(line.get("xid")) for line in lines if line.get("xid") and line.get("xid") == str(first.xid)]
    yield answer(
        "WHEN",
        "xid",
        [
            Witness("vault", "context row", str(first.xid or "")),
            *(Witness("postgres log", "postgres", xid) for xid in xids[:1]),
        ],
    )


def what(material: Material, lines: Sequence[Line], records: Records) -> Iterable[Answer]:
    rows = ", ".join(f"{each['rows']} {each['operation']} in {each['table']}" for each in rows_changed(material))
    dropped = ", ".join(f"{each.tag} {each.object_name}" for each in material.definitions)[:500]
    value = "; ".join(text for text in (rows, dropped) if text)
    seen = _seen(material, lines)
    yield answer(
        "WHAT",
        "changed",
        [
            Witness("vault", "history", value),
            *(Witness("postgres log", line.job, value, records.add(line)) for line in seen[:5]),
        ],
        note="" if seen else "rows from the WAL; no audit line names the table",
    )


def why(material: Material, first: Transaction, lines: Sequence[Line], records: Records) -> Iterable[Answer]:
    context = material.contexts[first.tx]
    requests = _vouching(material, context.trusted("cid"), anybody=True)
    reasons: list[Witness | None] = [
        Witness("vault", "audit.reason", first.reason or ""),
        Witness("application", "signed context", context.trusted("reason") or "") if not first.reason else None,
        *(Witness(f"{line.job} log", line.job, line.get("action_reason"), records.add(line)) for line in requests),
    ]
    yield answer("WHY", "reason", _distinct(reasons))
    route = " ".join(text for text in (context.trusted("method"), context.trusted("route")) if text)
    yield answer(
        "WHY",
        "request",
        _distinct(
            [
                Witness("application", "signed context", route),
                *(
                    Witness(
                        f"{line.job} log",
                        line.job,
                        f"{line.get('method')} {line.get('route') or line.get('path')}".strip(),
                        records.add(line),
                    )
                    for line in requests
                    if line.get("method")
                ),
            ]
        ),
        same=_same_route,
    )
    cid, trace = context.trusted("cid"), trace_id(context.claims) if context.trust is Trust.SIGNED else None
    yield answer(
        "WHY",
        "correlation id",
        _distinct(
            [
                Witness("application", "signed context", cid or ""),
                *(
                    Witness(f"{each.job} log", each.job, each.get("correlation_id"), records.add(each))
                    for each in requests
                ),
            ]
        ),
    )
    spans = material.spans.get(trace or "", [])
    heard = [line for line in requests if line.get("trace_id")]
    yield answer(
        "WHY",
        "trace",
        _distinct(
            [
                Witness("application", "signed context", trace or ""),
                Witness("jaeger", "jaeger", trace or "") if spans else None,
                *(Witness(f"{line.job} log", line.job, line.get("trace_id"), records.add(line)) for line in heard),
            ]
        ),
        note=" > ".join(f"{span.service}: {span.operation}" for span in spans[:10]),
        link=_link(material.trace_url, trace),
    )
    session = context.trusted("bsid")
    if session:
        yield answer(
            "WHY",
            "browser session",
            _distinct(
                [
                    Witness("application", "signed context", session),
                    *(
                        Witness(f"{line.job} log", line.job, line.get("browser_session_id"), records.add(line))
                        for line in requests
                    ),
                ]
            ),
            link=_link(material.replay_url, session, "/"),
        )
    statements = [
        line for line in lines if line.get("statement") and line.get("audit_class") in ("WRITE", "DDL", "FUNCTION")
    ]
    matching = [line for line in statements if same_statement(first.statement or "", line.get("statement"))]
    yield answer(
        "WHY",
        "statement",
        [
            Witness("vault", "context row", first.statement or ""),
            *(
                Witness("postgres log", line.job, line.get("statement"), records.add(line))
                for line in (matching or ([] if first.statement else statements))[:1]
            ),
        ],
        same=same_statement,
    )


def how(material: Material, first: Transaction, records: Records) -> Iterable[Answer]:
    pooled = [line for line in material.pooler_lines if _is_server_side(line, first)]
    path = ""
    if first.pg_session_id:
        path = f"PostgreSQL session {first.pg_session_id}, application_name {first.application_name or '(none)'}"
    yield answer(
        "HOW",
        "session",
        [
            Witness("vault", "context row", path),
            *(Witness("pooler log", "pgbouncer", path, records.add(line)) for line in pooled[:1]),
            *(Witness("postgres log", line.job, path, records.add(line)) for line in material.session_lines[:1]),
        ],
        note="through the pooler" if pooled or first.db_user in material.pooled_roles else "",
    )
    yield answer("HOW", "login", _logins(material, first, records, _login_text))
    if first.replication_role and first.replication_role != "origin":
        yield answer(
            "HOW",
            "bypass",
            [Witness("vault", "context row", f"session_replication_role = {first.replication_role}")],
            note="triggers and foreign keys were switched off",
        )


def _logins(material: Material, first: Transaction, records: Records, value: Any) -> list[Witness | None]:
    return [
        Witness("postgres log", "postgres", value(line), records.add(line))
        for line in material.login_lines
        if line.get("pg_session_id") == first.pg_session_id and value(line)
    ]


def _login_text(line: Line) -> str:
    method, identity = _METHOD.search(line.message), _IDENTITY.search(line.message)
    if "authenticated" not in line.message:
        return ""
    return (
        f"{identity.group(1) if identity else line.get('db_user')} by {method.group(1) if method else 'unknown method'}"
    )


def _vouching(material: Material, correlation: str | None, *, anybody: bool = False) -> list[Line]:
    """Lines of the application and the web server about exactly that correlation id."""
    if not correlation:
        return []
    return [
        line
        for line in material.request_lines
        if line.get("correlation_id") == correlation and (anybody or line.get("user_id"))
    ]


def _seen(material: Material, lines: Sequence[Line]) -> list[Line]:
    """Audit lines that name a changed table, or the command that takes tables without naming them."""
    names = {change.table_name for change in material.changes} | {
        each.object_name.rpartition(".")[2].strip('"') for each in material.definitions
    }
    return [
        line
        for line in lines
        if line.get("audit_class") in ("WRITE", "DDL")
        and (
            line.get("table_name") in names
            or line.get("object_name").rpartition(".")[2].strip('"') in names
            or (line.get("action") == "TRUNCATE TABLE" and any(name in line.get("statement") for name in names))
        )
    ]


def rows_changed(material: Material) -> list[dict[str, Any]]:
    total: Counter[tuple[str, str]] = Counter()
    for change in material.changes:
        total[change.table, change.op] += change.rows
    return [
        {"table": table, "op": op, "operation": OPERATIONS.get(op, op), "rows": rows}
        for (table, op), rows in sorted(total.items(), key=lambda each: (each[0][1] not in LOST, -each[1], each[0]))
    ]


def _link(place: str, name: str | None, end: str = "") -> str:
    """The address of a signed id; none where no such place is named."""
    return f"{place}{quote(name, safe='')}{end}" if place and name else ""


def _distinct(witnesses: Iterable[Witness | None]) -> list[Witness]:
    """Each source's word once."""
    return list({(w.domain, w.value): w for w in reversed([w for w in witnesses if w])}.values())[::-1]


def peer(each: Transaction) -> str:
    if each.client_addr is None:
        return "local socket" if each.pg_session_id else "unknown"
    address = each.client_addr.partition("/")[0]
    return f"{address}:{each.client_port}" if each.client_port is not None else address


def _line_peer(line: Line) -> str:
    if line.get("client_addr") == "[local]":
        return "local socket"
    port = line.get("client_port")
    return f"{line.get('client_addr')}:{port}" if port else line.get("client_addr")


def _peers(material: Material, first: Transaction) -> str:
    """Who was connected to the pooler under that role: candidates, not an answer."""
    if first.db_user not in material.pooled_roles:
        return ""
    found = Counter(
        line.get("client_addr")
        for line in material.pooler_lines
        if line.get("db_user") == first.db_user and line.get("client_addr")
    )
    return f"clients of the pooler as {first.db_user} at that time: {', '.join(sorted(found))}" if found else ""


def _is_server_side(line: Line, first: Transaction) -> bool:
    return (
        first.client_port is not None
        and f"(from {(first.client_addr or '').partition('/')[0]}:{first.client_port})" in line.text
    )


def _same_route(a: str, b: str) -> bool:
    """A route's template agrees with the path that it stands for."""
    template, path = (a, b) if "<" in a else (b, a)
    pattern = "".join(
        "[^/ ]+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[^<>]*>)", template)
    )
    return (
        a == b or re.fullmatch(pattern, path) is not None or re.fullmatch(pattern, path.partition("?")[0]) is not None
    )
