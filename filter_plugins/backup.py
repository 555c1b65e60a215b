"""The backups' inputs as pure functions: refusals that a type cannot express."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

PASSPHRASE_LENGTH = 20
S3 = ("bucket", "endpoint", "region", "key", "secret")


def backup_problems(
    stanzas: Iterable[Mapping[str, Any]],
    repository_host: str,
    passphrase: str,
    s3: Mapping[str, str],
    numbers: Mapping[str, int],
) -> list[str]:
    """What is wrong, one readable sentence each with the next step."""
    stanzas = list(stanzas)
    names = [str(stanza["name"]) for stanza in stanzas]
    problems = [] if names else ["backup_stanzas is empty: name a cluster, or set backup_enabled to false."]
    problems += [
        f"backup_stanzas: {name!r} is no name of a directory; use letters, digits, - and _."
        for name in names
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name)
    ]
    problems += [f"backup_stanzas: {name} is there twice." for name in sorted({n for n in names if names.count(n) > 1})]
    if repository_host:
        problems += [
            f"backup_stanzas: {stanza['name']} runs on {stanza['host']}, and the repository is on {repository_host}; "
            "name only this host's own clusters here, and the others on the repository's host."
            for stanza in stanzas
            if stanza.get("host")
        ]
    elif len(passphrase) < PASSPHRASE_LENGTH or re.search(r"\s", passphrase):
        problems.append(
            f"backup_passphrase needs {PASSPHRASE_LENGTH} characters or more and no spaces: put the output of "
            "openssl rand -hex 32 into vault_backup_passphrase."
        )
    missing = [name for name in S3 if s3 and not s3.get(name)]
    if missing:
        problems.append(f"backup_s3 lacks {', '.join(missing)}: name all five, or leave it empty for a directory.")
    return problems + [f"{name} is {value}: it must be 1 or more." for name, value in numbers.items() if int(value) < 1]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"backup_problems": backup_problems}
