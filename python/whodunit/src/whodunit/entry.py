"""How they got in: with which program, from an address never seen before, after how many refused logins. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from whodunit.answers import Records
from whodunit.attempts import is_refused_login
from whodunit.grade import answer
from whodunit.material import SEEN_DAYS, Material
from whodunit.model import Answer, Line, Transaction, Witness, utc

# What programs call themselves unless somebody forbids them to; the name is a claim of the client, like the statement.
_TOOLS = tuple(
    (re.compile(pattern, re.IGNORECASE), told)
    for pattern, told in (
        (r"^pg_restore", "pg_restore: a dump was played over the database"),
        (r"^pg_dump", "pg_dump"),
        (r"^alembic", "Alembic: a migration"),
        (r"^(cron|pg_cron|systemd|celery|job)\b", "a job"),
        (r"^psql", "psql: typed, or a script"),
        (r"^(pgadmin|dbeaver|datagrip|adminer|tableplus)", "a person's database client"),
        (r"^whodunit undo", "whodunit: an undo"),
    )
)


def entry(material: Material, first: Transaction, records: Records) -> Iterable[Answer]:
    if first.application_name and first.db_user not in material.pooled_roles:
        yield _tool(material, first, records)
    if first.client_addr and first.db_user not in material.pooled_roles:
        yield _address(material, first, records)
    refused = _refused(material)
    if refused:
        counted = Counter((line.get("db_user") or "unknown", line.get("client_addr") or "unknown") for line in refused)
        told = ", ".join(f"{n} as {role} from {address}" for (role, address), n in sorted(counted.items()))
        yield answer(
            "HOW",
            "failed logins",
            [Witness(f"{line.job} log", line.job, told, records.add(line)) for line in _last_of_each(refused)],
            note=f"between {utc(refused[0].at)} and {utc(refused[-1].at)}, before it was done",
        )


def _tool(material: Material, first: Transaction, records: Records) -> Answer:
    name = first.application_name or ""
    known = next((told for pattern, told in _TOOLS if pattern.search(name)), "")
    said = [
        line
        for line in material.session_lines
        if line.get("pg_session_id") == first.pg_session_id and line.get("application_name")
    ]
    return answer(
        "HOW",
        "tool",
        [
            Witness("vault", "context row", name),
            *(Witness("postgres log", line.job, line.get("application_name"), records.add(line)) for line in said[:1]),
        ],
        note=known,
    )


def _address(material: Material, first: Transaction, records: Records) -> Answer:
    """Whether that role ever came from there; a log that was asked and has nothing says no."""
    who = f"{first.db_user} from {(first.client_addr or '').partition('/')[0]}"
    new, known = f"first seen with this: {who}", f"seen before: {who}"
    wrote, came = material.wrote_before, material.came_before
    if wrote is None and came is None:
        witnesses = [
            Witness("vault", "earlier context rows", new),
            Witness("postgres log", "earlier logins", new) if material.asked_logins else None,
        ]
        note = f"no login in the {SEEN_DAYS} days before" if material.asked_logins else "the log of logins is missing"
        return answer("HOW", "address before", witnesses, note=note)
    times = [at for at in (wrote, came.at if came else None) if at is not None]
    return answer(
        "HOW",
        "address before",
        [
            Witness("vault", "earlier context rows", known) if wrote else None,
            Witness("postgres log", "earlier logins", known, records.add(came)) if came else None,
        ],
        note=f"first {utc(min(times))}",
    )


def _refused(material: Material) -> list[Line]:
    """Refused logins before the end, of the same role or from the same address."""
    roles = {each.db_user for each in material.transactions if each.db_user}
    addresses = {each.client_addr.partition("/")[0] for each in material.transactions if each.client_addr}
    end = max(each.commit_at for each in material.transactions)
    lines = {(line.at, line.text): line for line in [*material.alarm_lines, *material.pooler_lines]}
    return sorted(
        (
            line
            for line in lines.values()
            if line.at <= end
            and is_refused_login(line)
            and (line.get("db_user") in roles or line.get("client_addr") in addresses)
        ),
        key=lambda line: (line.at, line.text),
    )


def _last_of_each(lines: Sequence[Line]) -> list[Line]:
    return [line for _, line in sorted({line.job: line for line in lines}.items())]
