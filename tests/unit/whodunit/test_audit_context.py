"""The signed context: what is signed is read back, and nothing else is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tovplay_telemetry import audit_context as context

KEY = b"correct horse battery staple"
NAMES = sorted(context.CLAIMS - {"v", "iat", "sig", "tp"})


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30) | st.integers(), max_size=8))
def test_what_is_signed_is_read_back(claims):
    text = context.sign(claims, KEY)
    assert len(text.encode()) <= context.MAX_BYTES and text.isascii()
    found = context.verify(text, [b"newer", KEY])
    assert found is not None and {name: found[name] for name in claims} == claims
    assert context.verify(text, [b"another"]) is None
    assert context.verify(text, []) is None


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda e: st.lists(e) | st.dictionaries(st.text(), e)).map(
        json.dumps
    )
)
def test_no_text_is_believed_or_breaks_it(text):
    assert context.verify(text, [KEY]) is None


@pytest.mark.parametrize(
    "forge",
    [
        lambda text: text.replace('"uid":42', '"uid":43'),
        lambda text: text.replace("{", '{"uid":43,', 1),
        lambda text: text.replace('"sig":"', '"sig":"0'),
        lambda text: text[:-1] + ',"reason":"x"}',
        lambda text: text[: len(text) // 2],
        lambda text: text + " x",
    ],
    ids=["altered", "a name twice", "another signature", "added", "cut", "followed"],
)
def test_forgeries(forge):
    text = context.sign({"uid": 42, "cid": "c" * 32}, KEY)
    assert forge(text) != text
    assert context.verify(forge(text), [KEY]) is None


def test_a_long_reason_is_cut_and_the_rest_is_kept():
    claims = {"uid": 42, "cid": "c" * 32, "reason": "ü" * 5000, "route": "/r"}
    found = context.verify(context.sign(claims, KEY), [KEY])
    assert found["uid"] == 42 and found["route"] == "/r" and 50 < len(found["reason"]) < 1000


def test_claims_that_cannot_be_signed_are_refused():
    for claims in ({"user": 1}, {"uid": object()}, {"uid": "x" * 2000}, {"uid": float("nan")}):
        with pytest.raises(context.ContextError):
            context.sign(claims, KEY)
    with pytest.raises(context.ContextError):
        context.sign({}, b"")


def test_the_statement_sets_both_for_this_transaction_only():
    sql, (ctx, tag) = context.statement({"uid": 42, "cid": "c" * 32, "tp": f"00-{'7' * 32}-{'1' * 16}-01"}, KEY)
    assert sql.count("true") == 2 and "%s" in sql
    assert context.verify(ctx, [KEY])["uid"] == 42
    assert tag == f"t={'7' * 32};u=42;c=cccccccc"


@given(st.text(max_size=300))
def test_a_tag_fits_and_forges_no_field(uid):
    tag = context.tag({"uid": uid, "cid": "c" * 32, "tp": f"00-{'7' * 32}-{'1' * 16}-01"})
    assert len(tag.encode()) <= 63
    assert [part.partition("=")[0] for part in tag.split(";")] == ["t", "u", "c"]
