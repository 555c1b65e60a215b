"""The audit vault's inputs, one row each."""

from __future__ import annotations

import pytest

from filter_plugins import audit_vault


def test_a_policy_is_a_row_and_plain_is_none():
    tables = [
        {"name": "User", "columns": {"a": "plain", "b": "hash"}},
        {"name": "T", "schema": "s", "columns": {"c": "exclude"}},
    ]
    assert audit_vault.audit_vault_policies([*tables, {"name": "Game"}]) == [
        {"schema_name": "public", "table_name": "User", "column_name": "b", "policy": "hash"},
        {"schema_name": "s", "table_name": "T", "column_name": "c", "policy": "exclude"},
    ]


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ([{"name": "User", "columns": {"a": "hash"}}, {"name": "Game"}], None),
        (
            [{"name": "User", "columns": {"a": "md5"}}],
            "column a of User has the policy 'md5'; choose plain, hash, encrypt",
        ),
    ],
)
def test_a_policy_is_one_of_four(tables, sentence):
    said = audit_vault.audit_vault_problems(tables)
    assert (sentence is None and said == []) or sentence in said[0]


@pytest.mark.parametrize(
    ("person", "sentence"),
    [
        ({"name": "dana", "may": "investigate"}, None),
        ({"name": "dana", "may": "rule"}, "dana may 'rule'; choose read, investigate, restore"),
        ({"name": "vault_reader", "may": "read"}, "is a name that the vault needs itself"),
        ({"name": "postgres", "may": "read"}, "is a name that the vault needs itself"),
    ],
)
def test_a_person_is_an_account_that_may_something(person, sentence):
    said = audit_vault.audit_vault_people_problems([person])
    assert (sentence is None and said == []) or sentence in said[0]


def test_a_person_gets_a_role():
    assert audit_vault.audit_vault_roles([{"name": "dana", "may": "restore"}]) == [
        {"name": "dana", "role": "vault_restorer"}
    ]
