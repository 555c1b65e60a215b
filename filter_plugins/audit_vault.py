"""The audit vault's inputs as pure functions: column policies, and refusals that a type cannot express."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

POLICIES = ("plain", "hash", "encrypt", "exclude")
ROLES = {"read": "vault_reader", "investigate": "vault_investigator", "restore": "vault_restorer"}


def audit_vault_policies(tables: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One entry per column whose policy is not plain."""
    return [
        {
            "schema_name": str(table.get("schema", "public")),
            "table_name": str(table["name"]),
            "column_name": str(column),
            "policy": str(policy),
        }
        for table in tables
        for column, policy in (table.get("columns") or {}).items()
        if policy != "plain"
    ]


def audit_vault_problems(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"audit_vault_tables: column {column} of {table['name']} has the policy {policy!r}; "
        f"choose {', '.join(POLICIES)}."
        for table in tables
        for column, policy in (table.get("columns") or {}).items()
        if policy not in POLICIES
    ]


def audit_vault_people_problems(people: Iterable[Mapping[str, Any]]) -> list[str]:
    problems = []
    for person in people:
        name, may = str(person["name"]), person["may"]
        if may not in ROLES:
            problems.append(f"audit_vault_people: {name} may {may!r}; choose {', '.join(ROLES)}.")
        if name.startswith("vault_") or name.startswith("pg_") or name in ("postgres", "public"):
            problems.append(f"audit_vault_people: {name!r} is a name that the vault needs itself; name an account.")
    return problems


def audit_vault_roles(people: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each person with the role of the vault that lets them do what they may."""
    return [{"name": str(person["name"]), "role": ROLES[person["may"]]} for person in people]


def audit_vault_read(path: str) -> str:
    """A file of the role as it is."""
    return Path(path).read_text(encoding="utf-8")


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "audit_vault_people_problems": audit_vault_people_problems,
            "audit_vault_policies": audit_vault_policies,
            "audit_vault_problems": audit_vault_problems,
            "audit_vault_read": audit_vault_read,
            "audit_vault_roles": audit_vault_roles,
        }
