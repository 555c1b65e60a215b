"""Escaping, grading, order of tables, net change, Merkle trees, redaction: functions of values."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whodunit.escape import clean
from whodunit.grade import answer, grade, same_statement, within
from whodunit.merkle import Tree, leaf
from whodunit.model import Grade, Line, Witness
from whodunit.redact import Redactor
from whodunit.undo.fold import REMOVE, RESTORE, REVERT, fold
from whodunit.undo.order import parents_first
from whodunit.verify import Record, first_difference


@given(st.text())
def test_nothing_hidden_survives_cleaning(text):
    shown = clean(text)
    assert shown.isprintable()
    assert not set(shown) & set("\x1b\x9b\x07\r\n\u202e\u2066\u200b\ufeff\x7f")


def witness(domain, value):
    return Witness(domain, domain, value)


@pytest.mark.parametrize(
    ("witnesses", "expected"),
    [
        ([], Grade.UNKNOWN),
        ([("vault", "")], Grade.UNKNOWN),
        ([("vault", "unknown")], Grade.UNKNOWN),
        ([("vault", "a")], Grade.SINGLE),
        ([("vault", "a"), ("vault", "a")], Grade.SINGLE),
        ([("vault", "a"), ("log", "a")], Grade.PROVEN),
        ([("vault", "a"), ("log", "")], Grade.SINGLE),
        ([("vault", "a"), ("log", "b")], Grade.CONTRADICTED),
        ([("vault", "a"), ("vault", "b")], Grade.CONTRADICTED),
        ([("vault", "a"), ("log", "a"), ("pooler", "b")], Grade.CONTRADICTED),
    ],
)
def test_grades(witnesses, expected):
    heard = [witness(*each) for each in witnesses]
    assert grade(heard) is expected
    assert answer("WHO", "person", heard).grade is expected


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("DELETE FROM t", "DELETE  FROM t", True),
        ("DELETE FROM t WHERE id = [literals left out]", "DELETE FROM t WHERE id = 'x'", True),
        ("DELETE FROM t", "DELETE FROM u", False),
        ("", "DELETE FROM t", False),
    ],
)
def test_statements_agree_as_far_as_both_go(a, b, same):
    assert same_statement(a, b) is same


def test_clocks_agree_within_bounds():
    assert within(5)("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:04+00:00")
    assert not within(5)("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:06+00:00")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_parents_come_first_and_circles_together(edges):
    parents = {child: [p for c, p in edges if c == child] for child in range(10)}
    groups = parents_first(range(10), parents)
    place = {table: index for index, group in enumerate(groups) for table in group}
    assert sorted(place) == list(range(10))
    reach = {table: _reachable(table, parents) for table in range(10)}
    for child, parent in edges:
        assert place[parent] <= place[child]
        assert (place[parent] == place[child]) == (parent == child or child in reach[parent])


def _reachable(table, parents):
    found, todo = set(), [table]
    while todo:
        for parent in parents[todo.pop()]:
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return found


def test_a_long_chain_of_foreign_keys_needs_no_deep_stack():
    assert len(parents_first(range(5000), {n: [n + 1] for n in range(4999)})) == 5000


@given(st.randoms(), st.integers(1, 60))
def test_undoing_the_net_change_gives_the_beginning_back(dice, steps):
    """Random inserts, updates (of keys, too) and deletes; the fold of their history takes the end to the beginning."""
    rows = {key: {"id": key, "v": dice.randint(0, 3)} for key in dice.sample(range(8), 4)}
    beginning = dict(rows)
    history = []
    for number in range(1, steps + 1):
        key = dice.randint(0, 7)
        if key not in rows:
            rows[key] = {"id": key, "v": dice.randint(0, 3)}
            history.append((number, None, rows[key]))
        elif dice.random() < 0.4:
            history.append((number, rows.pop(key), None))
        else:
            target = dice.choice([key, *(free for free in range(8) if free not in rows)])
            old = rows.pop(key)
            rows[target] = {"id": target, "v": dice.randint(0, 3)}
            history.append((number, old, rows[target]))
    for (key,), net in fold(history, ["id"]).items():
        if net.kind == RESTORE:
            assert key not in rows
            rows[key] = net.before
        elif net.kind == REVERT:
            assert rows[key] == net.after != net.before
            rows[key] = net.before
        else:
            assert net.kind == REMOVE and rows[key] == net.after
            del rows[key]
    assert rows == beginning


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_streamed_tree_is_rfc_6962s(data):
    def root(leaves):
        if len(leaves) < 2:
            return leaf(leaves[0]) if leaves else hashlib.sha256(b"").digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()

    tree = Tree()
    for each in data:
        tree.add(leaf(each))
    assert tree.root() == root(data)


def records(text):
    return [
        Record("history", letter, "1", leaf(letter.lower().encode() if letter.isupper() else letter.encode()))
        for letter in text
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("abcd", None),
        ("abXcd", ("inserted", "history X (tx 1)")),
        ("abcdx", ("inserted", "history x (tx 1)")),
        ("acd", ("deleted", "the record after history a (tx 1)")),
        ("bcd", ("deleted", "the first record of the batch")),
        ("abc", ("deleted", "the record after history c (tx 1)")),
        ("axcd", ("edited", "history x (tx 1)")),
        ("acbd", ("reordered", "history c (tx 1)")),
    ],
)
def test_the_first_record_that_differs(now, expected):
    assert (
        first_difference(
            records(now.replace("X", "x")) if "X" not in now else _x(now), [leaf(c.encode()) for c in "abcd"]
        )
        == expected
    )


def _x(text):
    return [Record("history", c, "1", leaf(c.encode())) for c in text]


def test_protected_literals_leave_every_form_of_a_line():
    raw = json.dumps(
        {
            "message": 'AUDIT: SESSION,1,1,WRITE,UPDATE,TABLE,public.t,"UPDATE t SET password_hash = $1",hunter2',
            "statement": "UPDATE \"User\" SET password_hash = 'hunter2'",
            "detail": "parameters: $1 = 'hunter2'",
        }
    )
    line = Line(
        datetime(2026, 3, 1, tzinfo=UTC),
        "postgres-audit",
        {"statement": "UPDATE t SET password_hash = 'hunter2'", "parameters": "hunter2"},
        raw,
    )
    hidden = Redactor(["User", "password_hash"]).line(line)
    assert "hunter2" not in str(hidden)
    assert hidden.digest == hashlib.sha256(raw.encode()).hexdigest()
    assert Redactor(["other"]).line(line) is line
