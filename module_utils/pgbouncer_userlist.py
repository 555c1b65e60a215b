# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""PgBouncer's auth_file as a value: parse, plan, render. Nothing here reads or writes anything.

PgBouncer's own loader stops at the first line it dislikes, logs three words and goes on without every later user; a
quote that is not doubled can even smuggle in a user. So this reader is stricter than the daemon (what it accepts, the
daemon reads the same way), and what `render` makes is read back before anybody else sees it.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from ansible.module_utils import pg_scram

# Sizes of PgBouncer's buffers (include/bouncer.h, 1.18 to 1.25). They hold the text as written, quotes doubled.
NAME_LIMIT = 128
SECRET_LIMIT = 2048
# pg_saslprep inside PgBouncer gives up on longer ones; it only ever prepares passwords that are stored plain.
PLAIN_LIMIT = 1024
# NAMEDATALEN - 1: PostgreSQL cuts longer names, so that two of them can become one role.
ROLE_NAME_LIMIT = 63

PLAIN, SCRAM, MD5, VERIFIER = "plain", "scram-sha-256", "md5", "verifier"
METHODS = (PLAIN, SCRAM, MD5, VERIFIER)

_BLANKS = " \t\r\v\f"
_QUOTED = r'"((?:[^"]|"")*)"'
# A third field is what mkauth.py of PgBouncer up to 1.18 writes; the daemon ignores it, and so do we.
_LINE = re.compile(rf"{_QUOTED}[{_BLANKS}]+{_QUOTED}(?:[{_BLANKS}]+{_QUOTED})?")


class UserlistError(Exception):
    """Something that cannot become a userlist; the message is one sentence and never holds a secret."""


class UserlistSyntaxError(UserlistError):
    def __init__(self, line_no: int, reason: str) -> None:
        super().__init__(f"line {line_no}: {reason}")
        self.line_no = line_no


class EntryError(UserlistError):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"user {name!r}: {reason}")
        self.name = name


@dataclasses.dataclass(frozen=True, repr=False)
class Entry:
    name: str
    secret: str


@dataclasses.dataclass(frozen=True, repr=False)
class Userlist:
    """The file's lines in order: entries, and comments as they stood."""

    lines: tuple[Entry | str, ...] = ()

    @property
    def secrets(self) -> dict[str, str]:
        return {line.name: line.secret for line in self.lines if isinstance(line, Entry)}


@dataclasses.dataclass(frozen=True, repr=False)
class Wanted:
    """One user as the caller wants it. `server_role` false: known to PgBouncer's console only, not to PostgreSQL."""

    name: str
    state: str = "present"
    method: str = SCRAM
    password: str | None = None
    verifier: str | None = None
    server_role: bool = True


@dataclasses.dataclass(frozen=True, repr=False)
class ServerRole:
    """One row of pg_authid."""

    secret: str | None
    can_login: bool = True
    superuser: bool = False
    expired: bool = False


@dataclasses.dataclass(frozen=True)
class Drift:
    name: str
    problem: str


@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    before: Userlist
    after: Userlist
    alter: Mapping[str, str]
    found_drift: tuple[Drift, ...] = ()
    left_drift: tuple[Drift, ...] = ()

    @property
    def added(self) -> list[str]:
        return [name for name in self.after.secrets if name not in self.before.secrets]

    @property
    def removed(self) -> list[str]:
        return [name for name in self.before.secrets if name not in self.after.secrets]

    @property
    def changed(self) -> list[str]:
        before = self.before.secrets
        return [name for name, secret in self.after.secrets.items() if name in before and before[name] != secret]

    def redacted_diff(self, path: str) -> dict[str, str]:
        """Names and kinds of secret, as --diff may show them."""
        return {
            "before_header": path,
            "after_header": path,
            "before": _names_only(self.before, ()),
            "after": _names_only(self.after, self.changed),
        }


def parse(text: str) -> Userlist:
    lines: list[Entry | str] = []
    seen: dict[str, int] = {}
    if "\0" in text:
        raise UserlistSyntaxError(text[: text.index("\0")].count("\n") + 1, "a NUL byte; PgBouncer stops reading there")
    for line_no, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(_BLANKS)
        if not line:
            continue
        if line.startswith(";"):
            lines.append(line)
            continue
        fields = _LINE.fullmatch(line)
        if not fields:
            raise UserlistSyntaxError(line_no, 'it is not "name" "secret" with every inner quote doubled')
        name, secret = (field.replace('""', '"') for field in fields.group(1, 2))
        if name in seen:
            raise UserlistSyntaxError(line_no, f"user {name!r} is already on line {seen[name]}; the last would win")
        seen[name] = line_no
        try:
            check_entry(name, secret)
        except EntryError as error:
            raise UserlistSyntaxError(line_no, str(error)) from error
        lines.append(Entry(name, secret))
    return Userlist(tuple(lines))


def render(userlist: Userlist) -> str:
    def text(line: Entry | str) -> str:
        return line if isinstance(line, str) else f"{quoted(line.name)} {quoted(line.secret)}"

    rendered = "".join(f"{text(line)}\n" for line in userlist.lines)
    if parse(rendered) != userlist:
        raise UserlistError("the rendered file does not read back as the same users, so it is not written")
    return rendered


def quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def check_entry(name: str, secret: str) -> None:
    """Refuse what PgBouncer would cut, misread or stumble over. An empty secret is legal: nobody can log in with it."""
    check_name(name)
    _refuse_unwritable(name, "the secret", secret)
    if (size := _written_size(secret)) >= SECRET_LIMIT:
        raise EntryError(name, f"the secret takes {size} bytes as written, PgBouncer ends at {SECRET_LIMIT - 1}")


def check_name(name: str) -> None:
    if not name:
        raise EntryError(name, "the name is empty")
    _refuse_unwritable(name, "the name", name)
    if (size := _written_size(name)) >= NAME_LIMIT:
        raise EntryError(name, f"the name takes {size} bytes as written, PgBouncer ends at {NAME_LIMIT - 1}")


def check_wanted(users: Iterable[Wanted], auth_user: str | None = None, *, exclusive: bool = False) -> None:
    """Everything that can be refused without looking at the file or at the server."""
    users = list(users)
    if exclusive and not any(user.state == "present" for user in users):
        raise UserlistError("an exclusive list without a user would lock everybody out; list at least one")
    seen: set[str] = set()
    for user in users:
        check_name(user.name)
        if user.name in seen:
            raise EntryError(user.name, "it is listed twice; keep one entry")
        seen.add(user.name)
        if user.server_role and (size := len(user.name.encode())) > ROLE_NAME_LIMIT:
            raise EntryError(
                user.name,
                f"the name has {size} bytes and PostgreSQL cuts names at {ROLE_NAME_LIMIT}; "
                "shorten it, or set server_role to false for a user of PgBouncer's console only",
            )
        if user.state == "present":
            _check_secret(user, auth_user)


def _check_secret(user: Wanted, auth_user: str | None) -> None:
    if user.method == VERIFIER:
        if user.password is not None:
            raise EntryError(user.name, "method verifier takes no password; give the stored secret as verifier")
        if user.verifier is None and not user.server_role:
            raise EntryError(user.name, "there is no PostgreSQL role to copy from; give the verifier")
        if user.verifier is not None and pg_scram.kind(user.verifier) == pg_scram.PLAIN:
            raise EntryError(user.name, "the given verifier is neither SCRAM-SHA-256 nor md5; copy rolpassword whole")
        return
    if user.verifier is not None:
        raise EntryError(user.name, f"a verifier is given but the method is {user.method}; set method to verifier")
    if not user.password:
        raise EntryError(user.name, f"method {user.method} needs a password that is not empty")
    _refuse_unwritable(user.name, "the password", user.password)
    if (size := _written_size(user.password)) >= SECRET_LIMIT:
        raise EntryError(user.name, f"the password takes {size} bytes as written, PgBouncer ends at {SECRET_LIMIT - 1}")
    if pg_scram.looks_stored(user.password):
        raise EntryError(
            user.name,
            f"the password looks like a stored secret but the method is {user.method}; set method to verifier",
        )
    if user.method == PLAIN:
        if user.name != auth_user:
            raise EntryError(
                user.name,
                "method plain is for auth_user only, which PgBouncer itself must log in with; use scram-sha-256",
            )
        if len(user.password.encode()) > PLAIN_LIMIT:
            raise EntryError(user.name, f"PgBouncer cannot log in with a password over {PLAIN_LIMIT} bytes")


def plan(
    current: Userlist,
    users: Iterable[Wanted],
    *,
    exclusive: bool = False,
    server: Mapping[str, ServerRole] | None = None,
    tolerate_unknown: bool = False,
    allow_superusers: bool = False,
    mint: Callable[[str], pg_scram.Verifier] = pg_scram.new,
) -> Plan:
    """What the file and pg_authid have to become.

    `server` None: PostgreSQL was not asked. `tolerate_unknown`: in a dry run, the role may come later.
    """
    users = list(users)
    present: dict[str, str] = {}
    alter: dict[str, str] = {}
    for user in users:
        role = server.get(user.name) if server is not None and user.server_role else None
        asked = server is not None and user.server_role
        if user.state == "absent" or (role and (not role.can_login or role.expired)):
            continue
        if asked and role is None and not tolerate_unknown:
            raise EntryError(
                user.name,
                "PostgreSQL has no such role; create it first, "
                "or set server_role to false for a user of PgBouncer's console only",
            )
        if role and role.superuser and not allow_superusers:
            raise EntryError(
                user.name, "it is a superuser, and the pooler would hide who uses that power; connect directly"
            )
        secret = _secret(user, current.secrets.get(user.name), role, tolerate_unknown, mint)
        check_entry(user.name, secret)
        present[user.name] = secret
        if asked and user.method == SCRAM and (role is None or role.secret != secret):
            alter[user.name] = secret

    mentioned = {user.name for user in users}
    after = _merged(current, present, mentioned, exclusive)
    console_only = {user.name for user in users if not user.server_role}
    found = drift(current.secrets, server, console_only)
    healed = None if server is None else {**server, **{name: ServerRole(secret) for name, secret in alter.items()}}
    return Plan(current, after, alter, found, drift(after.secrets, healed, console_only))


def _secret(
    user: Wanted,
    stored: str | None,
    role: ServerRole | None,
    tolerate_unknown: bool,
    mint: Callable[[str], pg_scram.Verifier],
) -> str:
    if user.method == VERIFIER:
        copied = user.verifier or (role.secret if role else None)
        if copied:
            return copied
        if tolerate_unknown:
            return stored or str(mint(""))
        why = "its role has no password" if role else "PostgreSQL was not asked; give `postgresql` or the verifier"
        raise EntryError(user.name, f"there is no verifier to copy: {why}")
    password = user.password or ""
    if user.method == PLAIN:
        return password
    if user.method == MD5:
        return pg_scram.md5_secret(password, user.name)
    # The same verifier on both sides is the condition for SCRAM through the pooler. The server's wins: other poolers
    # may hold a copy of it.
    for known in dict.fromkeys([role.secret if role else None, stored]):
        if known and pg_scram.kind(known) == pg_scram.SCRAM and pg_scram.accepts(known, password, user.name):
            return known
    return str(mint(password))


def _merged(current: Userlist, present: Mapping[str, str], mentioned: set[str], exclusive: bool) -> Userlist:
    if exclusive:
        return Userlist(tuple(Entry(name, secret) for name, secret in present.items()))
    kept: list[Entry | str] = []
    for line in current.lines:
        if isinstance(line, str) or line.name not in mentioned:
            kept.append(line)
        elif line.name in present:
            kept.append(Entry(line.name, present[line.name]))
    known = current.secrets
    kept += [Entry(name, secret) for name, secret in present.items() if name not in known]
    return Userlist(tuple(kept))


def drift(
    secrets: Mapping[str, str], server: Mapping[str, ServerRole] | None, console_only: Iterable[str] = ()
) -> tuple[Drift, ...]:
    """Users of the file whom PostgreSQL would not let in with what the file says."""
    if server is None:
        return ()
    problems = ((name, _problem(name, secret, server.get(name))) for name, secret in secrets.items())
    return tuple(Drift(name, problem) for name, problem in problems if problem and name not in console_only)


def _problem(name: str, secret: str, role: ServerRole | None) -> str | None:
    if role is None:
        return "PostgreSQL has no such role"
    if not role.can_login:
        return "the role may not log in"
    if role.expired:
        return "the role's VALID UNTIL has passed"
    if role.secret is None:
        return "the role has no password"
    if pg_scram.kind(secret) == pg_scram.PLAIN:
        agrees = pg_scram.accepts(role.secret, secret, name)
    else:
        agrees = role.secret == secret
    return None if agrees else "the role's stored secret is another one"


def _written_size(field: str) -> int:
    return len(field.replace('"', '""').encode())


def _refuse_unwritable(name: str, what: str, text: str) -> None:
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise EntryError(
                name, f"{what} has a control character or line break (U+{ord(character):04X}) at position {position}"
            )


def _names_only(userlist: Userlist, changed: Iterable[str]) -> str:
    def text(line: Entry | str) -> str:
        if isinstance(line, str):
            return line
        kind = pg_scram.kind(line.secret) if line.secret else "no secret"
        return f"{quoted(line.name)} {kind}{' (new secret)' if line.name in changed else ''}"

    return "".join(f"{text(line)}\n" for line in userlist.lines)
