"""Which transactions belong together, and which of the incidents is the one to tell first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from whodunit.model import Context, Transaction

# One request, or one person's session, within such a time is one incident.
REACH = timedelta(minutes=15)
PAUSE = timedelta(seconds=60)
HOURS_PER_TENTH = 6.0  # a wipe counts a tenth for every so many hours of its age


@dataclass(frozen=True, slots=True)
class Harm:
    """What a transaction did to the rows that were there."""

    lost: int = 0
    updated: int = 0
    dropped: int = 0  # tables, schemas, columns
    unmade: int = 0  # objects without rows

    def __add__(self, other: Harm) -> Harm:
        return Harm(
            self.lost + other.lost,
            self.updated + other.updated,
            self.dropped + other.dropped,
            self.unmade + other.unmade,
        )

    @property
    def weight(self) -> float:
        return self.lost + self.updated / 10 + self.dropped * 1000 + self.unmade * 10


def score(harm: Harm, at: datetime, newest: datetime) -> float:
    """The most destructive of late: each tenfold counts as much as being six hours younger."""
    age = max((newest - at).total_seconds(), 0) / 3600
    return math.log10(1 + harm.weight) - age / HOURS_PER_TENTH


def merge(
    transactions: Iterable[Transaction], contexts: Mapping[int, Context], pooled_roles: Sequence[str]
) -> list[list[Transaction]]:
    """Groups in order of time: by signed correlation id, else by session where the session is one person's.

    A pooled connection serves one client after the other, so its transactions are never joined by the session, and an
    unsigned correlation id joins nothing.
    """
    groups: list[list[Transaction]] = []
    open_groups: dict[tuple[str, str], list[Transaction]] = {}
    for transaction in sorted(transactions, key=lambda each: each.order):
        key = key_of(transaction, contexts[transaction.tx], pooled_roles)
        group = open_groups.get(key) if key is not None else None
        if group is not None and key is not None and _continues(group, transaction, by_session=key[0] == "session"):
            group.append(transaction)
            continue
        group = [transaction]
        groups.append(group)
        if key is not None:
            open_groups[key] = group
    return groups


def key_of(transaction: Transaction, context: Context, pooled_roles: Sequence[str]) -> tuple[str, str] | None:
    """What joins the transaction with others, if anything does."""
    correlation = context.trusted("cid")
    if correlation:
        return ("correlation", f"{transaction.epoch}:{transaction.db_user}:{correlation}")
    if transaction.pg_session_id and transaction.db_user not in pooled_roles:
        return ("session", f"{transaction.epoch}:{transaction.pg_session_id}:{transaction.reason or ''}")
    return None


def _continues(group: Sequence[Transaction], transaction: Transaction, *, by_session: bool) -> bool:
    near = transaction.commit_at - group[-1].commit_at <= (PAUSE if by_session else REACH)
    return near and transaction.commit_at - group[0].commit_at <= REACH
