"""PgBouncer's configuration as pure functions: text and its strict reader, arithmetic, what a running pooler lacks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Settings = Mapping[str, Any]
Parameters = Mapping[str, Mapping[str, Any]]

# What cfparser.c of libusual accepts as a key, in every version: quotes do not help, whatever the manual says.
KEY = re.compile(r"[A-Za-z0-9_.*-]+")
DATABASE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
DATABASE_NAME_LIMIT = 63
BARE_VALUE = re.compile(r"[A-Za-z0-9_./:@-]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^']|'')*)'(?!')|([^\s']\S*))(?=\s|\Z)")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Sockets, files, pipes and event loop beside one descriptor for each client and server.
OWN_DESCRIPTORS = 64
TLS_DEMANDED = ("require", "verify-ca", "verify-full")
TLS_VERIFIED = ("verify-ca", "verify-full")
VAULT = "into the inventory's Ansible Vault file (make secrets)"
PLACEHOLDER = re.compile(
    r"change[ _-]?(me|this)|^your[ _-]|^<.*>$|^(todo|tbd|placeholder|example|x{3,})", re.IGNORECASE
)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in str(version).split("."))


def _known_in(version: str, since: object) -> bool:
    return since is None or _release(version) >= _release(str(since))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def pgbouncer_known_settings(settings: Settings, version: str, parameters: Parameters) -> dict[str, object]:
    """Settings that this version has; a default of ours must not stop an older one from starting."""
    return {k: v for k, v in settings.items() if _known_in(version, parameters.get(k, {}).get("since"))}


def _connection(database: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in database.items() if key != "name" and value is not None]


def _connection_string(database: Mapping[str, Any]) -> str:
    def quoted(value: object) -> str:
        text = _text(value)
        return text if BARE_VALUE.fullmatch(text) else "'" + text.replace("'", "''") + "'"

    return " ".join(f"{key}={quoted(value)}" for key, value in _connection(database))


def pgbouncer_ini(settings: Settings, databases: Sequence[Mapping[str, Any]]) -> str:
    """The file, read back before anybody gets it. [pgbouncer] stays last: validate.ini goes on inside it."""
    lines = ["[databases]", *(f"{d['name']} = {_connection_string(d)}" for d in databases)]
    lines += ["", "[pgbouncer]", *(f"{key} = {_text(value)}".rstrip() for key, value in settings.items())]
    text = "\n".join(lines) + "\n"
    wanted = {
        "databases": {
            d["name"]: {k: _text(v) for k, v in d.items() if k != "name" and v is not None} for d in databases
        },
        "pgbouncer": {key: _text(value) for key, value in settings.items()},
    }
    if pgbouncer_parse(text) != wanted:
        raise AnsibleFilterError("The rendered pgbouncer.ini does not read back as the same settings; report this.")
    return text


def pgbouncer_parse(text: str) -> dict[str, dict]:
    """A stricter reader than the daemon's: nothing twice, nothing unknown in shape, no unquoted leftovers."""
    sections: dict[str, dict] = {}
    section = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line[0] in ";#":
            continue
        if CONTROL.search(line):
            raise AnsibleFilterError(f"pgbouncer.ini line {number}: a control character; write the value in one line.")
        if line.startswith("["):
            section = line[1:-1]
            if not line.endswith("]") or section in sections:
                raise AnsibleFilterError(f"pgbouncer.ini line {number}: {line} is no section header, or stands twice.")
            sections[section] = {}
            continue
        key, equals, value = (part.strip(" \t") for part in line.partition("="))
        if section is None or not equals or not KEY.fullmatch(key):
            raise AnsibleFilterError(f"pgbouncer.ini line {number}: {line!r} is not `key = value` inside a section.")
        if key in sections[section]:
            raise AnsibleFilterError(f"pgbouncer.ini line {number}: {key} stands twice; the last would win.")
        sections[section][key] = _pairs(value, number) if section == "databases" else value
    return sections


def _pairs(text: str, number: int) -> dict[str, str]:
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = PAIR.match(text, at)
        if not found or found[1] in pairs:
            raise AnsibleFilterError(f"pgbouncer.ini line {number}: {text[at:].strip()!r} is no new key=value pair.")
        pairs[found[1]] = found[3] if found[2] is None else found[2].replace("''", "'")
        at = found.end()
    return pairs


def pgbouncer_setting_problems(
    settings: Settings, computed: Iterable[str], version: str, parameters: Parameters
) -> list[str]:
    """Sentences about pgbouncer_settings: names that do not exist, are ours, or come with a later version."""
    problems = []
    text: str | None
    for name, value in settings.items():
        since = parameters.get(name, {}).get("since")
        if name not in parameters:
            text = "is no setting of PgBouncer 1.18 to 1.25; correct the name"
        elif name in computed:
            text = "is decided by an input of role pgbouncer; set that one (roles/pgbouncer/defaults/main.yml)"
        elif not _known_in(version, since):
            text = f"came with PgBouncer {since} and this host runs {version}; remove it or take a newer image"
        else:
            text = _value_problem(_text(value), str(parameters[name].get("type", "text")))
        if text:
            problems.append(f"pgbouncer_settings: {name} {text}.")
    return problems


def _value_problem(value: str, kind: str) -> str | None:
    if CONTROL.search(value) or value != value.strip():
        return f"has the value {value!r} with a control character or outer blanks; write it in one line"
    if kind == "number" and not NUMBER.fullmatch(value):
        return f"has the value {value!r}; it takes a number"
    if kind == "flag" and value not in ("0", "1"):
        return f"has the value {value!r}; it takes true or false"
    return None


def _cap(database: Mapping[str, Any], default: int) -> int:
    return int(str(database["max_db_connections"])) if database.get("max_db_connections") is not None else default


def _server(database: Mapping[str, Any]) -> str:
    return f"{database.get('host', '127.0.0.1')}:{database.get('port', 5432)}"


def pgbouncer_pool_problems(
    databases: Sequence[Mapping[str, Any]],
    cap: int,
    max_client_conn: int,
    limit_nofile: int,
    max_connections: int,
    reserved: int,
    kept: int,
) -> list[str]:
    """The arithmetic: no pool may ask PostgreSQL for a connection that it cannot give."""
    problems = []
    unlimited = [d["name"] for d in databases if _cap(d, cap) < 1]
    if unlimited:
        problems.append(
            f"pgbouncer_databases: {', '.join(map(str, unlimited))} would be unlimited, since max_db_connections "
            "is below 1; set how many connections PostgreSQL may give away."
        )
    for server in dict.fromkeys(map(_server, databases)):
        shares = [(d["name"], _cap(d, cap)) for d in databases if _server(d) == server]
        total, left = sum(share for _, share in shares), max_connections - reserved - kept
        if total > left:
            problems.append(
                f"pgbouncer_databases: {' + '.join(f'{name} {share}' for name, share in shares)} = {total} server "
                f"connections, but PostgreSQL at {server} leaves {left} ({max_connections} max_connections - "
                f"{reserved} for superusers - {kept} kept for direct clients); lower max_db_connections or raise "
                "postgresql_max_connections."
            )
    servers = sum(_cap(d, cap) for d in databases)
    if limit_nofile < (need := max_client_conn + servers + OWN_DESCRIPTORS):
        problems.append(
            f"pgbouncer_limit_nofile: {max_client_conn} clients + {servers} servers + {OWN_DESCRIPTORS} of its own = "
            f"{need} file descriptors, but the limit is {limit_nofile}; raise it."
        )
    return problems


def _is_local(host: str, networks: Sequence[str]) -> bool:
    if host.startswith("/"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    local = [ipaddress.ip_network(network) for network in networks]
    return any(network.version == address.version and address in network for network in local)


def pgbouncer_database_problems(databases: Sequence[Mapping[str, Any]]) -> list[str]:
    if not databases:
        return [
            "pgbouncer_databases: is empty; list at least one, such as {name: TovPlay, host: 127.0.0.1, port: 5432}."
        ]
    problems, seen = [], set()
    text: str | None
    for database in databases:
        name = str(database["name"])
        if name == "pgbouncer":
            text = "is the name of PgBouncer's console; choose another one and give the real name as dbname"
        elif not DATABASE_NAME.fullmatch(name) or len(name) > DATABASE_NAME_LIMIT:
            text = (
                f"is a name that pgbouncer.ini cannot hold (letters, digits, _ . -, at most {DATABASE_NAME_LIMIT}); "
                "choose an alias and give the real name as dbname"
            )
        elif name in seen:
            text = "is listed twice; keep one"
        else:
            text = next(
                (f"has a control character in {k}; remove it" for k, v in database.items() if CONTROL.search(_text(v))),
                None,
            )
        seen.add(name)
        if text:
            problems.append(f"pgbouncer_databases: {name!r} {text}.")
    return problems


def pgbouncer_network_problems(
    addresses: Sequence[str],
    databases: Sequence[Mapping[str, Any]],
    client_tls: str,
    server_tls: str,
    local_networks: Sequence[str],
) -> list[str]:
    """On a host loopback and bridge; between hosts TLS."""
    problems = []
    beyond = [a for a in addresses if not _is_local(a, local_networks)]
    if beyond and client_tls not in TLS_DEMANDED:
        problems.append(
            f"pgbouncer_listen_addresses: other hosts reach {', '.join(beyond)}, so passwords need TLS; "
            "set pgbouncer_client_tls_sslmode to require, or listen on this host only."
        )
    far = [_server(d) for d in databases if not _is_local(str(d.get("host", "127.0.0.1")), local_networks)]
    if far and server_tls not in TLS_VERIFIED:
        problems.append(
            f"pgbouncer_databases: {', '.join(far)} is another host, so the connection needs TLS and a checked "
            "certificate; set pgbouncer_server_tls_sslmode to verify-full."
        )
    return problems


def pgbouncer_user_problems(
    users: Sequence[Mapping[str, Any]], console_users: Mapping[str, Sequence[str]], probe_user: str
) -> list[str]:
    problems = []
    names = {str(u["name"]) for u in users if u.get("state", "present") == "present"}
    for user in users:
        password = user.get("password")
        if password is not None and not str(password):
            text = f"has an empty password; put its vault_* value {VAULT}"
        elif password is not None and PLACEHOLDER.search(str(password)):
            text = f"still has a placeholder as its password; put a generated one {VAULT}"
        else:
            continue
        problems.append(f"pgbouncer_users: {user['name']!r} {text}.")
    for setting, listed in console_users.items():
        for name in listed:
            if re.search(r"[\s,]", name):
                text = "has a blank or comma, which PgBouncer takes as the end of a name; choose another user"
            elif name not in names:
                text = "is not in pgbouncer_users, so it could not log in; add it there"
            else:
                continue
            problems.append(f"{setting}: {name!r} {text}.")
    if probe_user and probe_user not in names:
        problems.append(f"pgbouncer_probe_user: {probe_user!r} is not in pgbouncer_users; add it or choose another.")
    return problems


def _number(text: str) -> float:
    """As strtol() with base 0 reads it: a mode such as 0700 is shown as 448."""
    return float(int(text, 8)) if re.fullmatch(r"0[0-7]+", text) else float(text)


def _same(wanted: str, shown: object) -> bool:
    have = "" if shown is None else str(shown)
    if NUMBER.fullmatch(wanted) and NUMBER.fullmatch(have):
        return _number(wanted) == _number(have)
    return wanted == have


def pgbouncer_unapplied(rows: Iterable[Mapping[str, Any]], settings: Settings) -> list[str]:
    """Settings whose value in SHOW CONFIG is not ours; after a RELOAD, the ones that need a restart."""
    shown = {str(row["key"]): row["value"] for row in rows}
    return [name for name, value in settings.items() if name not in shown or not _same(_text(value), shown[name])]


def pgbouncer_differences(
    answers: Sequence[Sequence[Mapping[str, Any]]],
    version: str,
    settings: Settings,
    databases: Sequence[Mapping[str, Any]],
    cap: int,
    users: Sequence[str],
) -> list[str]:
    """Sentences about what the running pooler has otherwise: SHOW VERSION, CONFIG, DATABASES, USERS."""
    running, config, shown_databases, shown_users = answers
    problems = []
    if running[0]["version"] != f"PgBouncer {version}":
        problems.append(f"{running[0]['version']} runs, pgbouncer_version is {version}; set it to what the image has.")
    if unapplied := pgbouncer_unapplied(config, settings):
        problems.append(f"The pooler runs with other values of {', '.join(unapplied)}; docker logs pgbouncer says why.")
    have = {str(row["name"]): row for row in shown_databases}
    for database in databases:
        row, name = have.get(str(database["name"])), database["name"]
        wanted = {
            "host": database.get("host", "127.0.0.1"),
            "port": database.get("port", 5432),
            "database": database.get("dbname", name),
            "max_connections": _cap(database, cap),
        }
        odd = [key for key, value in wanted.items() if row is None or not _same(_text(value), row[key])]
        if odd:
            problems.append(f"Database {name} is not served as written ({', '.join(odd)}).")
    if missing := set(users) - {str(row["name"]) for row in shown_users}:
        problems.append(
            f"The pooler does not know {', '.join(map(repr, sorted(missing)))}; it stopped reading userlist.txt."
        )
    return problems


def pgbouncer_paused(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(row["name"]) for row in rows if int(str(row["paused"]))]


def pgbouncer_served(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names in SHOW DATABASES without the console itself, which cannot be paused."""
    return [str(row["name"]) for row in rows if row["name"] != "pgbouncer"]


def pgbouncer_console(command: str, names: Iterable[str]) -> list[str]:
    """Console commands such as PAUSE "TovPlay"."""
    return [f'{command} "{name}"' for name in names]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "pgbouncer_console": pgbouncer_console,
            "pgbouncer_database_problems": pgbouncer_database_problems,
            "pgbouncer_differences": pgbouncer_differences,
            "pgbouncer_ini": pgbouncer_ini,
            "pgbouncer_known_settings": pgbouncer_known_settings,
            "pgbouncer_network_problems": pgbouncer_network_problems,
            "pgbouncer_parse": pgbouncer_parse,
            "pgbouncer_paused": pgbouncer_paused,
            "pgbouncer_pool_problems": pgbouncer_pool_problems,
            "pgbouncer_served": pgbouncer_served,
            "pgbouncer_setting_problems": pgbouncer_setting_problems,
            "pgbouncer_unapplied": pgbouncer_unapplied,
            "pgbouncer_user_problems": pgbouncer_user_problems,
        }
