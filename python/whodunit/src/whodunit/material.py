"""All that the witnesses say about one incident, gathered before anything is decided."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from tovplay_telemetry.audit_context import trace_id

from whodunit import WhodunitError
from whodunit.attempts import among
from whodunit.config import Config
from whodunit.context import judge
from whodunit.incident import Harm, merge, score
from whodunit.model import (
    Attempt,
    Change,
    Context,
    Definition,
    Finding,
    Gap,
    Line,
    Net,
    Sample,
    SourceState,
    Span,
    Transaction,
    Trust,
)
from whodunit.redact import Redactor
from whodunit.sources import SourceError
from whodunit.sources.jaeger import Jaeger
from whodunit.sources.loki import LIMIT, Loki
from whodunit.sources.vault import Vault

AROUND = timedelta(minutes=15)  # attempts and findings that long before the incident are told with it
AFTER = timedelta(minutes=1)  # and that long after: a report is final then, and every finding has been raised
SEEN_DAYS = 7  # in which a role's earlier logins from an address are looked for
# A source that says nothing for so long was silent: the heartbeat's session every ten seconds, the pooler's statistics
# every minute.
QUIET = {"postgres": timedelta(seconds=45), "pgbouncer": timedelta(seconds=150)}
WINDOW = timedelta(days=7)
NAME = re.compile(r"e(\d{1,9})-([xv])(\d{1,18})")
INGEST = timedelta(seconds=5)  # a line's time and its commit differ by that much at most


@dataclass(slots=True)
class Material:
    """Input of the report; without Loki the lines are empty and the state says so."""

    transactions: list[Transaction]
    contexts: dict[int, Context]
    pooled_roles: Sequence[str]
    trace_url: str = ""
    replay_url: str = ""
    changes: list[Change] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    plan: list[Net] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    neighbours: list[Transaction] = field(default_factory=list)  # whatever else was committed about that time
    session_lines: list[Line] = field(default_factory=list)
    login_lines: list[Line] = field(default_factory=list)
    pooler_lines: list[Line] = field(default_factory=list)
    request_lines: list[Line] = field(default_factory=list)
    alarm_lines: list[Line] = field(default_factory=list)
    wrote_before: datetime | None = None  # when that role first wrote from that address
    came_before: Line | None = None  # and first logged in
    asked_logins: bool = False
    spans: dict[str, list[Span]] = field(default_factory=dict)  # by trace
    sources: list[SourceState] = field(default_factory=list)


def find(
    vault: Vault,
    keys: Sequence[bytes],
    config: Config,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    table: str | None = None,
    user: str | None = None,
    trace: str | None = None,
) -> list[list[Transaction]]:
    """Incidents, the one to tell first in front."""
    candidates = vault.candidates(since=since, until=until, table=table, user=user, trace=trace)
    if not candidates:
        return []
    newest = max(at for _, _, at in candidates)
    ranked = sorted(candidates, key=lambda each: (-score(each[1], each[2], newest), -each[0][0]))[:20]
    harmed = {tx for txs, _, _ in ranked for tx in txs}
    groups = _grouped(vault, vault.by_tx(sorted(harmed)), keys, config)
    harms = vault.harm([each.tx for group in groups for each in group])

    def rank(group: list[Transaction]) -> tuple[float, int]:
        harm = sum((harms[each.tx] for each in group if each.tx in harms), Harm())
        return (-score(harm, group[-1].commit_at, newest), -group[0].tx)

    return sorted((group for group in groups if any(each.tx in harmed for each in group)), key=rank)


def incident_of(vault: Vault, found: Sequence[Transaction], keys: Sequence[bytes], config: Config) -> list[Transaction]:
    """The whole incident that some transactions belong to."""
    wanted = {each.tx for each in found}
    for group in _grouped(vault, found, keys, config):
        if any(each.tx in wanted for each in group):
            return group
    raise WhodunitError("the vault has no such transaction")


def named(vault: Vault, identifier: str, keys: Sequence[bytes], config: Config) -> list[Transaction]:
    """The incident of that name, like e1-x700 or e1-v31."""
    found = NAME.fullmatch(identifier)
    if found is None:
        raise WhodunitError(f"{identifier!r} is no incident; `whodunit list` names them")
    epoch, kind, number = int(found.group(1)), found.group(2), int(found.group(3))
    transactions = vault.by_xid(epoch, number) if kind == "x" else vault.by_tx([number])
    if not transactions:
        raise WhodunitError(f"the vault has no transaction {identifier}")
    return incident_of(vault, transactions, keys, config)


def of_late(vault: Vault) -> datetime | None:
    """Since when an incident is of late: counted from production's newest commit, not from now."""
    newest = vault.newest()
    return newest - WINDOW if newest else None


def gather(
    vault: Vault, loki: Callable[[], Loki], group: list[Transaction], keys: Sequence[bytes], config: Config
) -> Material:
    """Ask every source about that span of time; whoever does not answer is named."""
    contexts = {each.tx: judge(each, keys) for each in group}
    material = Material(group, contexts, config.pooled_roles, config.trace_url, config.replay_url)
    txs = [each.tx for each in group]
    begin = min(each.at or each.commit_at for each in group)
    end = max(each.commit_at for each in group)
    material.changes = vault.changes(txs)
    material.definitions = vault.definitions(txs)
    material.findings = vault.findings(txs, begin - AROUND, end + AFTER)
    material.gaps = vault.gaps(begin - AROUND, end)
    if group[0].client_addr and group[0].db_user not in config.pooled_roles:
        material.wrote_before = vault.wrote_from(group[0], begin)
    try:
        material.samples = vault.samples(material.changes)
        material.plan = vault.net(material.changes)
        material.sources.append(SourceState("vault", "answered"))
    except psycopg.errors.InsufficientPrivilege:
        vault.connection.rollback()
        material.sources.append(SourceState("vault", "answered", "before-images are not for this role"))
    try:
        witness = loki()
        _ask_loki(material, witness, begin, end)
        _hide(material, Redactor(vault.secrets()))
        material.neighbours = vault.near(suspects([*material.session_lines, *material.alarm_lines]))
        cut = f"only the first {LIMIT} lines were read of: {', '.join(sorted(witness.cut))}" if witness.cut else ""
        material.sources.append(SourceState("loki", "answered", cut))
    except SourceError as error:
        material.sources.append(SourceState("loki", "missing", str(error)))
    if config.jaeger_url:
        try:
            _ask_jaeger(material, Jaeger(config))
            material.sources.append(SourceState("jaeger", "answered"))
        except SourceError as error:
            material.sources.append(SourceState("jaeger", "missing", str(error)))
    return material


def tried(vault: Vault, loki: Loki, since: datetime, until: datetime) -> list[Attempt]:
    """Attempts on any audited table, each with the login of its session."""
    tables = vault.tables()
    redactor = Redactor(vault.secrets())
    lines = [redactor.line(line) for line in loki.alarms(tables, since, until)]
    logins: dict[str, str] = {}
    for session in sorted({line.get("pg_session_id") for line in lines if line.get("pg_session_id")})[:50]:
        said = [line.message for line in loki.login(session) if "authenticated" in line.message]
        logins[session] = f" [{said[0]}]" if said else ""
    named = {line.digest: logins.get(line.get("pg_session_id"), "") for line in lines}
    found = among(lines, vault.near(suspects(lines)), tables, lambda line: line.digest)
    return [dataclasses.replace(each, text=each.text + named.get(each.evidence or "", "")) for each in found]


def _ask_jaeger(material: Material, jaeger: Jaeger) -> None:
    traces = {trace_id(context.claims) for context in material.contexts.values() if context.trust is Trust.SIGNED}
    for trace in sorted(trace for trace in traces if trace)[:20]:
        material.spans[trace] = jaeger.spans(trace)


def _ask_loki(material: Material, loki: Loki, begin: datetime, end: datetime) -> None:
    sessions = {each.pg_session_id: each.db_user for each in material.transactions if each.pg_session_id}
    for session, role in sorted(sessions.items())[:20]:
        # What a person did before belongs to the story; on a pooled connection it was somebody else.
        before = INGEST if role in material.pooled_roles else AROUND
        material.session_lines += loki.session(session, begin - before, end + INGEST)
        material.login_lines += loki.login(session)
    material.pooler_lines = loki.pooler(begin - AROUND, end + INGEST)
    asked: set[tuple[str | None, str | None]] = set()
    for transaction in material.transactions:
        context = material.contexts[transaction.tx]
        asked.add((context.claimed("cid"), trace_id(context.claims)))
    for correlation, trace in sorted(asked, key=str)[:20]:
        material.request_lines += loki.request(correlation, trace, begin - timedelta(minutes=2), end + AFTER)
    first = material.transactions[0]
    if first.client_addr and first.db_user and first.db_user not in material.pooled_roles:
        own = {each.get("pg_session_id") for each in material.login_lines}
        earlier = loki.logins_from(first.db_user, first.client_addr, begin - timedelta(days=SEEN_DAYS), begin)
        material.came_before = next((each for each in earlier if each.get("pg_session_id") not in own), None)
        material.asked_logins = True
    for job, quiet in QUIET.items():
        material.gaps += loki.silences(job, begin - AROUND, end, quiet)
    material.alarm_lines = loki.alarms({each.table_name for each in material.changes}, begin - AROUND, end + AFTER)


def _grouped(
    vault: Vault, found: Iterable[Transaction], keys: Sequence[bytes], config: Config
) -> list[list[Transaction]]:
    listed = list(found)
    if not listed:
        return []
    everything = {each.tx: each for each in [*listed, *vault.related(listed, config.pooled_roles)]}
    contexts = {tx: judge(each, keys) for tx, each in everything.items()}
    return merge(everything.values(), contexts, config.pooled_roles)


def suspects(lines: Iterable[Line]) -> list[tuple[str, datetime]]:
    """Audit lines of which must be known whether anything was committed."""
    return sorted({(line.get("pg_session_id"), line.at) for line in lines if line.get("audit_class") == "WRITE"})


def _hide(material: Material, redactor: Redactor) -> None:
    for name in ("session_lines", "login_lines", "alarm_lines"):
        setattr(material, name, [redactor.line(line) for line in getattr(material, name)])
