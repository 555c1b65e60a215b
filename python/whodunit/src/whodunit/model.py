"""The vocabulary: what the vault and the logs say, and what a report is made of. Values only, no input or output."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How sure an answer is."""

    PROVEN = "proven"  # two independent witnesses agree
    SINGLE = "single source"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


class Trust(StrEnum):
    """What the context of a transaction is worth."""

    SIGNED = "signed"
    FORGED = "forged"
    MISSING = "missing"
    UNCHECKED = "unchecked"  # no key here to check it with


@dataclass(frozen=True, slots=True)
class Transaction:
    """One committed production transaction, as the vault has it; None where it does not know."""

    tx: int
    epoch: int
    xid: int | None
    commit_at: datetime
    lsn: str | None = None
    at: datetime | None = None
    pg_session_id: str | None = None
    pid: int | None = None
    db_user: str | None = None
    db_role: str | None = None
    client_addr: str | None = None
    client_port: int | None = None
    application_name: str | None = None
    command: str | None = None
    table_name: str | None = None
    statement: str | None = None
    ctx: str | None = None
    reason: str | None = None
    replication_role: str | None = None
    context_rows: int = 0

    @property
    def id(self) -> str:
        """Stable name: of production's transaction, or of the vault's where the context is missing."""
        return f"e{self.epoch}-x{self.xid}" if self.xid is not None else f"e{self.epoch}-v{self.tx}"

    @property
    def order(self) -> tuple[datetime, int]:
        return (self.commit_at, self.tx)


@dataclass(frozen=True, slots=True)
class Context:
    """The claims that came with a transaction, and what they are worth."""

    trust: Trust
    claims: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    def trusted(self, name: str) -> str | None:
        """A claim nobody but the application can have made."""
        value = self.claims.get(name) if self.trust is Trust.SIGNED else None
        return None if value is None else str(value)

    def claimed(self, name: str) -> str | None:
        value = self.claims.get(name)
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table that one transaction changed in one way."""

    tx: int
    relation: int
    schema_name: str
    table_name: str
    op: str
    rows: int
    first_id: int
    last_id: int

    @property
    def table(self) -> str:
        return f"{self.schema_name}.{self.table_name}"


@dataclass(frozen=True, slots=True)
class Net:
    """What an undo of one table would have to do, before it looks at what production has now; numbers of rows."""

    table: str
    lost: int
    changed: int
    born: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One row's images, values as PostgreSQL writes them."""

    table: str
    op: str
    id: int
    key: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Definition:
    """One object that DDL made, changed or dropped."""

    tx: int
    at: datetime
    tag: str
    event: str
    object_type: str
    object_name: str
    statement: str


@dataclass(frozen=True, slots=True)
class Finding:
    at: datetime
    kind: str
    severity: str
    text: str
    tx: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which a source says nothing."""

    source: str
    since: datetime
    until: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One log line with the fields that the shipper lifted out of it."""

    at: datetime
    job: str
    fields: dict[str, str]
    text: str
    original: str | None = None  # digest of the text before something was cut out of it

    def get(self, name: str) -> str:
        return self.fields.get(name, "")

    @property
    def message(self) -> str:
        """PostgreSQL's own message inside its JSON line."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return self.text
        return str(found.get("message", self.text)) if isinstance(found, dict) else self.text

    @property
    def digest(self) -> str:
        return self.original or hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Witness:
    """What one source says; `domain` names who wrote it, so two witnesses of one domain are one."""

    domain: str
    source: str
    value: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    question: str
    name: str
    value: str
    grade: Grade
    witnesses: tuple[Witness, ...] = ()
    note: str = ""
    link: str = ""  # where a browser shows what the value names


@dataclass(frozen=True, slots=True)
class Event:
    """One step of the timeline."""

    at: datetime
    source: str
    text: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried and left no committed change."""

    at: datetime
    verdict: str
    db_user: str
    client: str
    text: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    id: str
    source: str
    at: datetime
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Span:
    """One operation of a trace, as Jaeger has it; times in milliseconds from the trace's first span."""

    trace: str
    id: str
    parent: str
    service: str
    operation: str
    start_ms: float
    duration_ms: float
    statement: str = ""


@dataclass(frozen=True, slots=True)
class SourceState:
    name: str
    state: str  # answered | missing | off
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One incident; everything in it is decided by the incident, nothing by the time of asking."""

    incident: str
    title: str
    answers: tuple[Answer, ...]
    changes: tuple[dict[str, Any], ...]
    samples: tuple[Sample, ...]
    transactions: tuple[dict[str, Any], ...]
    definitions: tuple[Definition, ...]
    timeline: tuple[Event, ...]
    attempts: tuple[Attempt, ...]
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]
    sources: tuple[SourceState, ...]
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    spans: tuple[Span, ...]
    plan: tuple[Net, ...]
    undo: str


def utc(at: datetime | None) -> str:
    """One spelling of a time."""
    if at is None:
        return "unknown"
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
