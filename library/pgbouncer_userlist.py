#!/usr/bin/python
# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep PgBouncer's auth_file and PostgreSQL's roles on the same secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_userlist
short_description: Users of PgBouncer's auth_file, with the same SCRAM secret in PostgreSQL
description:
  - Edits single users of C(userlist.txt), or with O(exclusive) makes the file hold exactly O(users).
  - For method V(scram-sha-256) it computes the verifier and gives PostgreSQL the very same one, since SCRAM through a
    pooler works only then. A stored verifier that still fits the password is kept, so a second run changes nothing.
  - The new file is read back before it lands, in one move. PgBouncer skips every user after a bad line, silently.
  - A role that may not log in, or whose VALID UNTIL has passed, is left out of the file, also when listed as present.
attributes:
  check_mode: {support: full, description: The same path without the write.}
  diff_mode: {support: full, description: Names and kinds of secret; never a secret.}
author: ["TovPlay platform (@tovplay)"]
options:
  path: {description: The auth_file., type: path, required: true}
  users:
    description: The users.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name as the client sends it., type: str, required: true}
      state:
        description: Whether the user has to be in the file.
        type: str
        choices: [present, absent]
        default: present
      method:
        description:
          - V(scram-sha-256) stores a verifier and sets it in PostgreSQL too; V(md5) stores the legacy hash.
          - V(plain) is for O(auth_user) only, the one that PgBouncer itself logs in with.
          - V(verifier) stores O(users[].verifier), or a copy of what pg_authid has.
        type: str
        choices: [plain, scram-sha-256, md5, verifier]
        default: scram-sha-256
      password: {description: For all methods but V(verifier)., type: str}
      verifier: {description: A stored secret of PostgreSQL., type: str}
      server_role: {description: Set to false for a user of PgBouncer's console only., type: bool, default: true}
  exclusive: {description: Whether users that are not listed are removed., type: bool, default: false}
  auth_user: {description: The user that PgBouncer logs in with for auth_query., type: str}
  iterations: {description: Iteration count of new SCRAM verifiers., type: int, default: 4096}
  allow_superusers: {description: Whether superusers may be listed., type: bool, default: false}
  postgresql:
    description: Where to read and set the roles' secrets. Without it PostgreSQL is not asked.
    type: dict
    suboptions:
      login_host: {description: Address; empty means the socket., type: str, default: ""}
      login_unix_socket: {description: Directory of the socket., type: str, default: /var/run/postgresql}
      login_port: {description: Port., type: int, default: 5432}
      login_user: {description: A superuser; others cannot read pg_authid., type: str, default: postgres}
      login_password: {description: Its password., type: str, default: ""}
      login_db: {description: Any database., type: str, default: postgres}
      login_os_user:
        description: Open the connection as this account of the host, for peer authentication.
        type: str
      ssl_mode: {description: As libpq's sslmode., type: str, default: prefer}
      ca_cert: {description: As libpq's sslrootcert., type: path}
  owner: {description: Owner, a name or a number., type: str, default: root}
  group: {description: Group, a name or a number., type: str, default: root}
  mode: {description: Octal mode; nothing for others., type: str, default: "0640"}
  applied_marker:
    description: File that the handler writes once the daemon has reloaded; while it is missing, the task is changed.
    type: path
"""

EXAMPLES = r"""
- name: userlist | Let the application log in through the pooler
  pgbouncer_userlist:
    path: /etc/tovplay/pgbouncer/userlist.txt
    users:
      - name: raz@tovtech.org
        password: "{{ vault_postgresql_app_password }}"
    postgresql: {login_os_user: postgres}
  notify: Reload PgBouncer
"""

RETURN = r"""
users: {description: Names in the file., returned: always, type: list, elements: str, sample: [raz@tovtech.org]}
added: {description: Names that were not there., returned: always, type: list, elements: str}
changed_users: {description: Names whose secret changed., returned: always, type: list, elements: str}
removed: {description: Names that are gone., returned: always, type: list, elements: str}
altered_roles: {description: Roles whose secret was set in PostgreSQL., returned: always, type: list, elements: str}
server_asked: {description: Whether PostgreSQL was asked., returned: always, type: bool}
drift:
  description: Users whom PostgreSQL would not have let in with the file as found, and whether this run repaired it.
  returned: always
  type: list
  elements: dict
  sample: [{name: raz@tovtech.org, problem: "the role's stored secret is another one", repaired: true}]
"""

import contextlib
import functools
import grp
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils import pg_roles, pg_scram
from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.pgbouncer_userlist import (
    METHODS,
    Userlist,
    UserlistError,
    UserlistSyntaxError,
    Wanted,
    check_wanted,
    parse,
    plan,
    render,
)

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "method": {"type": "str", "choices": list(METHODS), "default": "scram-sha-256"},
            "password": {"type": "str", "no_log": True},
            "verifier": {"type": "str", "no_log": True},
            "server_role": {"type": "bool", "default": True},
        },
    },
    "exclusive": {"type": "bool", "default": False},
    "auth_user": {"type": "str"},
    "iterations": {"type": "int", "default": pg_scram.DEFAULT_ITERATIONS},
    "allow_superusers": {"type": "bool", "default": False},
    "postgresql": {
        "type": "dict",
        "options": {
            "login_host": {"type": "str", "default": ""},
            "login_unix_socket": {"type": "str", "default": "/var/run/postgresql"},
            "login_port": {"type": "int", "default": 5432},
            "login_user": {"type": "str", "default": "postgres"},
            "login_password": {"type": "str", "default": "", "no_log": True},
            "login_db": {"type": "str", "default": "postgres"},
            "login_os_user": {"type": "str"},
            "ssl_mode": {"type": "str", "default": "prefer"},
            "ca_cert": {"type": "path"},
        },
    },
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0640"},
    "applied_marker": {"type": "path"},
}


def read_file(path: Path, exclusive: bool) -> Userlist:
    """The file as a value. One that cannot be read is an error, unless the whole file is ours to replace."""
    try:
        return parse(path.read_bytes().decode())
    except FileNotFoundError:
        return Userlist()
    except (UserlistSyntaxError, UnicodeDecodeError) as error:
        if exclusive:
            return Userlist((f"; unreadable: {error}" if isinstance(error, UserlistSyntaxError) else "; not UTF-8",))
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise UserlistError(
            f"{path}: {reason}. Correct that line, or set exclusive to replace the whole file"
        ) from error


@contextlib.contextmanager
def staged(path: Path, content: str, uid: int, gid: int, mode: int) -> Iterator[Path]:
    """The new file beside the old one, complete and on disk; moving it into place is then one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(content)
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
            stream.flush()
            os.fsync(handle)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def account_ids(module: AnsibleModule) -> tuple[int, int] | None:
    """Numbers of owner and group; None in check mode when a task before us would have made the account."""
    owner, group = module.params["owner"], module.params["group"]
    try:
        uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
        return uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        if module.check_mode:
            return None
        raise UserlistError(f"there is no owner {owner!r} or group {group!r} on this host") from None


def file_mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        raise UserlistError(f'mode {text!r} is not octal; write it as "0640"') from None
    if mode & 0o007 or mode > 0o777:
        raise UserlistError(f'mode {text} would show the secrets to everybody; end it with 0, as in "0640"')
    return mode


def attributes_differ(path: Path, ids: tuple[int, int] | None, mode: int) -> bool:
    if not path.exists():
        return True
    now = path.stat()
    return now.st_mode & 0o7777 != mode or (ids is not None and (now.st_uid, now.st_gid) != ids)


def open_server(module: AnsibleModule) -> pg_roles.Server | None:
    """The connection; None in check mode on a host whose PostgreSQL is still to be installed."""
    if not pg_roles.AVAILABLE and not module.check_mode:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    try:
        return pg_roles.Server(module.params["postgresql"])
    except UserlistError as error:
        if not module.check_mode:
            raise
        module.warn(f"The users were not compared with PostgreSQL: {error}.")
        return None


def run(module: AnsibleModule, users: list[Wanted], server: pg_roles.Server | None) -> dict:
    params = module.params
    path, mode, ids = Path(params["path"]), file_mode(params["mode"]), account_ids(module)
    current = read_file(path, params["exclusive"])
    change = plan(
        current,
        users,
        exclusive=params["exclusive"],
        server=server.roles({user.name for user in users} | set(current.secrets)) if server else None,
        tolerate_unknown=module.check_mode,
        allow_superusers=params["allow_superusers"],
        mint=functools.partial(pg_scram.new, iterations=params["iterations"]),
    )
    file_differs = change.before != change.after or attributes_differ(path, ids, mode)
    marker = Path(params["applied_marker"]) if params["applied_marker"] else None
    pending = bool(marker) and not marker.exists()

    # Server first, file second: a run that dies in between leaves verifiers that the next run finds and keeps.
    if not module.check_mode:
        if marker and file_differs:
            marker.unlink(missing_ok=True)
        with staged(path, render(change.after), *ids, mode) if file_differs else contextlib.nullcontext() as new_file:
            if change.alter:
                server.alter(change.alter)
            if new_file:
                new_file.replace(path)

    left = set(change.left_drift)
    return {
        "changed": file_differs or bool(change.alter) or pending,
        "users": list(change.after.secrets),
        "added": change.added,
        "changed_users": change.changed,
        "removed": change.removed,
        "altered_roles": list(change.alter),
        "server_asked": server is not None,
        "drift": [{"name": d.name, "problem": d.problem, "repaired": d not in left} for d in change.found_drift],
        "diff": change.redacted_diff(str(path)),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        users = [Wanted(**user) for user in module.params["users"]]
        check_wanted(users, module.params["auth_user"], exclusive=module.params["exclusive"])
        server = open_server(module) if module.params["postgresql"] else None
        with server or contextlib.nullcontext():
            result = run(module, users, server)
    except UserlistError as error:
        module.fail_json(msg=f"{error}; {module.params['path']} is as it was.")
    except OSError as error:
        module.fail_json(msg=f"Cannot write {module.params['path']}: {error.strerror}; it is as it was.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
