"""What belongs together, and what is told first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from whodunit.incident import Harm, merge, score
from whodunit.model import Context, Transaction, Trust

AT = datetime(2026, 3, 1, tzinfo=UTC)


def groups(*described):
    """(seconds, session, role, signed correlation id or None) -> numbers of each group."""
    transactions, contexts = [], {}
    for number, (seconds, session, role, correlation) in enumerate(described):
        transactions.append(
            Transaction(number, 1, 100 + number, AT + timedelta(seconds=seconds), pg_session_id=session, db_user=role)
        )
        trust = Trust.SIGNED if correlation else Trust.MISSING
        contexts[number] = Context(trust, {"cid": correlation} if correlation else {})
    return [[each.tx for each in group] for group in merge(transactions[::-1], contexts, ["app"])]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ([(0, "s1", "app", "c1"), (1, "s2", "app", "c1")], [[0, 1]]),
        ([(0, "s1", "app", "c1"), (1, "s1", "app", "c2")], [[0], [1]]),
        ([(0, "s1", "app", None), (1, "s1", "app", None)], [[0], [1]]),
        ([(0, "s1", "dana", None), (30, "s1", "dana", None)], [[0, 1]]),
        ([(0, "s1", "dana", None), (90, "s1", "dana", None)], [[0], [1]]),
        ([(0, "s1", "dana", None), (1, "s2", "dana", None)], [[0], [1]]),
        ([(0, "s1", "app", "c1"), (1000, "s1", "app", "c1")], [[0], [1]]),
        ([(0, "s1", "app", "c1"), (1, "s9", "app", None), (2, "s2", "app", "c1")], [[0, 2], [1]]),
        ([(0, None, None, None), (0, None, None, None)], [[0], [1]]),
    ],
    ids=[
        "one request on two connections",
        "two requests on one connection",
        "pooled without context",
        "one person's session",
        "the same session later",
        "two sessions",
        "a correlation id used again much later",
        "interleaved",
        "nothing known",
    ],
)
def test_merging(described, expected):
    assert groups(*described) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((Harm(lost=100_000), 10), (Harm(lost=1), 0)),
        ((Harm(lost=1000), 0), (Harm(lost=1000), 60)),
        ((Harm(lost=1000), 0), (Harm(lost=100_000), 60 * 24)),
        ((Harm(lost=1000), 0), (Harm(updated=1000), 0)),
        ((Harm(dropped=1), 0), (Harm(lost=10), 0)),
    ],
    ids=[
        "a wipe before a single row",
        "the later of two",
        "yesterday's is old",
        "loss before change",
        "a dropped table",
    ],
)
def test_which_is_told_first(first, second):
    (harm, age), (other, other_age) = first, second
    assert score(harm, AT - timedelta(minutes=age), AT) > score(other, AT - timedelta(minutes=other_age), AT)
