"""Inputs of role audit_capture: what is filled in, and what is refused with which sentence."""

from __future__ import annotations

import pytest

from filter_plugins.audit_capture import audit_capture_digest, audit_capture_problems, audit_capture_wanted


def database(*tables, name="TovPlay", **more):
    return {"name": name, "tables": list(tables), **more}


def test_what_is_missing_is_filled_in():
    wanted = audit_capture_wanted(
        database({"name": "User", "columns": None}, {"name": "Game", "guard": "off", "max_delete": 0}), "warn", 9
    )
    assert wanted == {
        "new_tables": "report",
        "tables": [
            {"schema": "public", "name": "User", "guard": "warn", "max_delete": 9, "max_update": 9, "columns": {}},
            {"schema": "public", "name": "Game", "guard": "off", "max_delete": 0, "max_update": 9, "columns": {}},
        ],
    }


@pytest.mark.parametrize(
    ("databases", "sentence"),
    [
        ([database(), database()], "audit_capture_databases names TovPlay twice"),
        ([database(name="a b")], "letters, digits, dot, dash and underscore make the name"),
        ([database({"name": "User"}, {"name": "User", "schema": "public"})], "public.User stands twice"),
        ([database({"name": "pg_class", "schema": "pg_catalog"})], "belongs to PostgreSQL or to the audit itself"),
        ([database({"name": "context", "schema": "audit"})], "belongs to PostgreSQL or to the audit itself"),
        ([database({"name": ""})], "a name has 1 to 63 bytes"),
        ([database({"name": "é" * 32})], "a name has 1 to 63 bytes"),
        ([database({"name": "a\nb"})], "no control characters"),
        ([database({"name": "User", "max_delete": -1})], "max_delete is -1"),
        ([database({"name": "User", "max_update": 2**63})], f"max_update is {2**63}"),
        ([database({"name": "User", "columns": {"email": "rot13"}})], "policy 'rot13' of column email is unknown"),
        ([database({"name": "User", "columns": {"": "hash"}})], "column '' has no name that PostgreSQL can hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_with_a_sentence(databases, sentence):
    assert any(sentence in problem for problem in audit_capture_problems(databases, 1000))


def test_hostile_but_possible_names_are_accepted():
    tables = [
        {"name": name, "columns": {name: "exclude"}}
        for name in ('we"ird', "e", "日本", "x'; DROP TABLE y; --", "é" * 31)
    ]
    assert audit_capture_problems([database(*tables)], 0) == []
    assert audit_capture_problems([], -1) == ["audit_capture_max_rows is -1; a limit is 0 or more."]


def test_another_text_is_another_digest_and_so_is_another_division():
    assert len({audit_capture_digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "d"])}) == 4
