"""Who is asking, and as which role of the vault that person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What a person may do here, and the role of the vault that is asked for it: the vault decides what it shows.
ROLES = {"read": "vault_reader", "investigate": "vault_investigator"}


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody whom the web server has logged in."""

    name: str
    may: str

    @property
    def vault_role(self) -> str:
        return ROLES[self.may]


class Refused(Exception):
    """Nobody, or somebody who is not on the list."""


def reader(environ: Mapping[str, str], people: Mapping[str, str]) -> Reader:
    """From the header that the web server sets after its login; only it can reach the socket."""
    name = environ.get("HTTP_X_REMOTE_USER", "")
    if not name:
        raise Refused("The web server in front has logged nobody in: this page is reached through it only.")
    may = people.get(name)
    if may not in ROLES:
        raise Refused(
            "You are logged in, but not on the list of this page: whodunit_page_people names who may read incidents."
        )
    return Reader(name, may)
