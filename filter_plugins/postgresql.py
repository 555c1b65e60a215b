"""PostgreSQL's configuration as pure functions: memory arithmetic, file text, refusals that a type cannot express."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

HBA_BEGIN = "# BEGIN tovplay: rules of role postgresql, first match wins; lines below the block are yours"
HBA_END = "# END tovplay"
ACCESS = ("creators", "writers", "readers", "connectors")
NAME_BYTES = 63  # PostgreSQL cuts longer names silently, so two of them could become one
PASSWORD_LENGTH = 8
PLACEHOLDER = re.compile(
    r"change[ _-]?(me|this)|^your[ _-]|^<.*>$|^(todo|tbd|placeholder|example|x{3,})", re.IGNORECASE
)
PLAIN_NAME = re.compile(r"^\+?[a-z_][a-z0-9_]*$")
SETTING_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$")
SORTS_PER_STATEMENT = 3  # one statement may use work_mem more than once


def postgresql_memory(memory_mb: int, max_connections: int, shared_buffers_percent: int = 25) -> dict[str, str]:
    """Memory settings of a server that may plan with `memory_mb`.

    work_mem is what remains after shared_buffers when every connection sorts at once, between 1 and 64 MB.
    """
    shared_mb = memory_mb * shared_buffers_percent // 100
    work_kb = (memory_mb - shared_mb) * 1024 // (max_connections * SORTS_PER_STATEMENT)
    return {
        "shared_buffers": f"{shared_mb}MB",
        "effective_cache_size": f"{memory_mb * 3 // 4}MB",
        "maintenance_work_mem": f"{min(max(memory_mb // 16, 16), 2048)}MB",
        "work_mem": f"{min(max(work_kb, 1024), 65536)}kB",
    }


def _connections_fitting(memory_mb: int, shared_buffers_percent: int) -> int:
    """Largest max_connections that leaves each connection its 1 MB of work_mem."""
    return (memory_mb - memory_mb * shared_buffers_percent // 100) // SORTS_PER_STATEMENT


def _memory_problems(inputs: Mapping[str, int]) -> Iterable[str]:
    memory_mb, host_mb, percent = inputs["memory_mb"], inputs["host_memory_mb"], inputs["shared_buffers_percent"]
    if not 128 <= memory_mb <= host_mb:
        yield f"postgresql_memory_mb is {memory_mb}, and the host has {host_mb} MB; set it between 128 and that."
    if not 5 <= percent <= 40:
        yield f"postgresql_shared_buffers_percent is {percent}; set it between 5 and 40: the kernel caches too."
    fitting = _connections_fitting(memory_mb, percent)
    if inputs["max_connections"] > fitting:
        yield (
            f"postgresql_max_connections is {inputs['max_connections']}, but {memory_mb} MB bear {fitting} connections "
            f"of {SORTS_PER_STATEMENT} x 1 MB work_mem beside shared_buffers; let PgBouncer share fewer, or raise "
            "postgresql_memory_mb."
        )


def _is_near(address: str, local_networks: Sequence[str]) -> bool:
    """Whether only this host and its containers reach the address."""
    network = ipaddress.ip_network(address)
    near = map(ipaddress.ip_network, local_networks)
    # The versions are equal there, which the type checker cannot see.
    return any(n.version == network.version and network.subnet_of(n) for n in near)  # type: ignore[arg-type]


def _listen_problem(address: str, local_networks: Sequence[str], tls: bool) -> str | None:
    try:
        near = _is_near(address, local_networks)
    except ValueError:
        return f"postgresql_listen_addresses has {address!r}; write an address, such as 127.0.0.1."
    if near or tls:
        return None
    return (
        f"postgresql_listen_addresses has {address}, which other hosts reach, while postgresql_tls is false; "
        "run role pki and set it, or listen on 127.0.0.1 only."
    )


def postgresql_server_problems(inputs: Mapping[str, Any]) -> list[str]:
    """`inputs`: memory_mb, host_memory_mb, shared_buffers_percent, max_connections, listen_addresses,
    local_networks, tls, settings (what the user adds) and computed (names that the role decides)."""
    problems: list[str | None] = [*_memory_problems(inputs)]
    for address in inputs["listen_addresses"]:
        problems.append(_listen_problem(address, inputs["local_networks"], inputs["tls"]))
    twice = [name for name in inputs["settings"] if name in inputs["computed"]]
    if twice:
        problems.append(
            f"postgresql_settings may not set {', '.join(twice)}: the role's own inputs decide that; "
            "see roles/postgresql/defaults/main.yml."
        )
    return [problem for problem in problems if problem]


def _setting(name: str, value: object) -> str:
    if not SETTING_NAME.match(name):
        raise AnsibleFilterError(f"{name!r} is not the name of a PostgreSQL setting; correct it.")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if re.search(r"[\x00-\x1f]", text):
        raise AnsibleFilterError(f"The value of {name} has a control character; write it in one line.")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def postgresql_conf(settings: Mapping[str, Any]) -> str:
    """`name = value` lines; a list becomes a comma-separated string."""
    return "".join(f"{name} = {_setting(name, value)}\n" for name, value in settings.items())


def _hba_name(name: str) -> str:
    """Plain names as they are, since quotes would make `all` or `+group` an ordinary name; others quoted."""
    return name if PLAIN_NAME.match(name) else f'"{name}"'


def _hba_line(rule: Mapping[str, Any]) -> str:
    fields = [
        str(rule["type"]),
        ",".join(map(_hba_name, rule["databases"])),
        ",".join(map(_hba_name, rule["users"])),
        str(rule.get("address") or ""),
        str(rule["method"]),
        " ".join(f'{key}="{value}"' for key, value in (rule.get("options") or {}).items()),
    ]
    return "\t".join(field for field in fields if field)


def _with_block(current: str, lines: Iterable[str]) -> str:
    """The file with our block on top, where it decides, and every foreign line below in its own order."""
    foreign, inside = [], False
    for line in current.splitlines(keepends=True):
        if line.startswith("# BEGIN tovplay"):
            inside = True
        if not inside:
            foreign.append(line)
        if line.startswith("# END tovplay"):
            inside = False
    block = "".join(f"{line}\n" for line in [HBA_BEGIN, *lines, HBA_END])
    return block + "".join(foreign)


def postgresql_hba(current: str, rules: Iterable[Mapping[str, Any]]) -> str:
    """pg_hba.conf with our rules and what was there."""
    return _with_block(current, map(_hba_line, rules))


def postgresql_ident(current: str, maps: Iterable[Mapping[str, Any]]) -> str:
    """pg_ident.conf with our maps and what was there; names are quoted, for they may have spaces."""
    names = ((one["map"], name, one["role"]) for one in maps for name in one["certificates"])
    return _with_block(current, ("\t".join(f'"{part}"' for part in line) for line in names))


def _address_problem(rule: Mapping[str, Any], local_networks: Sequence[str]) -> str | None:
    address = str(rule.get("address") or "")
    if rule["type"] == "local":
        return f"has the address {address}, but a local rule has none; remove it" if address else None
    if not address:
        return "has no address; name a network such as 10.0.0.5/32"
    if address == "all":
        if rule["method"] == "reject" or rule["type"] == "hostssl":
            return None
        return "lets every address in without TLS; use type hostssl"
    try:
        near = _is_near(address, local_networks)
    except ValueError:
        return f"has the address {address}, which is no network; write it like 10.0.0.5/32"
    if near or rule["type"] == "hostssl" or rule["method"] == "reject":
        return None
    return f"lets {address} in without TLS; use type hostssl, or reject it"


def _hba_problem(rule: Mapping[str, Any], local_networks: Sequence[str]) -> str | None:
    odd = [x for x in [*rule["databases"], *rule["users"]] if re.search(r'["\x00-\x1f]', x)]
    if odd:
        return f"names {odd[0]!r}, which pg_hba.conf cannot hold; choose a name without quotes and control characters"
    if rule["method"] == "peer" and rule["type"] != "local":
        return "uses peer over the network; use scram-sha-256"
    if rule["method"] == "cert" and rule["type"] != "hostssl":
        return "asks for a certificate without TLS; use type hostssl"
    return _address_problem(rule, local_networks)


def postgresql_hba_problems(rules: Sequence[Mapping[str, Any]], local_networks: Sequence[str]) -> list[str]:
    found = ((rule, _hba_problem(rule, local_networks)) for rule in rules)
    return [f"postgresql_hba_rules: {_hba_line(rule).replace(chr(9), ' ')!r} {text}." for rule, text in found if text]


def _name_problem(name: str) -> str | None:
    if not name or re.search(r'["\x00-\x1f]', name):
        return "is empty or has a quote or a control character; choose another name"
    if len(name.encode()) > NAME_BYTES:
        return f"is longer than the {NAME_BYTES} bytes that PostgreSQL keeps; shorten it"
    if name.startswith("pg_") or name.lower() in ("public", "none"):
        return "is a name that PostgreSQL keeps for itself; choose another one"
    return None


def _password_problem(role: Mapping[str, Any]) -> str | None:
    if "password" not in role:
        return None  # logs in by peer or certificate, or not at all
    if not role.get("login", True):
        return "has a password but may not log in; remove one of the two"
    password = str(role["password"] or "")
    if not password:
        return "has an empty password; put its vault_* value into the inventory's Ansible Vault file (make secrets)"
    if PLACEHOLDER.search(password):
        return "still has a placeholder as its password; put a generated one into the Ansible Vault file (make secrets)"
    if len(password) < PASSWORD_LENGTH:
        return f"has a password of fewer than {PASSWORD_LENGTH} characters; generate a longer one (make secrets)"
    return None


def postgresql_role_problems(
    roles: Sequence[Mapping[str, Any]], max_connections: int, reserved_connections: int
) -> list[str]:
    problems, seen = [], set()
    for role in roles:
        name = str(role["name"])
        text = _name_problem(name) or _password_problem(role) or ("is listed twice; keep one" if name in seen else None)
        seen.add(name)
        if text:
            problems.append(f"postgresql_roles: {name!r} {text}.")
    limits = {str(r["name"]): int(r.get("connection_limit", -1)) for r in roles}
    limits = {name: limit for name, limit in limits.items() if limit > 0}
    wanted = sum(limits.values()) + reserved_connections
    if wanted > max_connections:
        shares = " + ".join(f"{name} {limit}" for name, limit in limits.items())
        problems.append(
            f"postgresql_roles: {shares} + {reserved_connections} reserved = {wanted} connections, "
            f"postgresql_max_connections is {max_connections}; lower a connection_limit or raise it."
        )
    return problems


def postgresql_database_problems(
    databases: Sequence[Mapping[str, Any]], roles: Sequence[Mapping[str, Any]]
) -> list[str]:
    by_name = {str(role["name"]): role for role in roles}
    problems = []
    for database in databases:
        name, owner = str(database["name"]), str(database["owner"])
        people = [owner, *(person for key in ACCESS for person in database.get(key, []))]
        unknown = [p for p in people if p not in by_name]
        if _name_problem(name):
            problems.append(f"postgresql_databases: {name!r} {_name_problem(name)}.")
        elif unknown:
            problems.append(
                f"postgresql_databases: {name} names {unknown[0]}, unknown to postgresql_roles; add it there."
            )
        elif by_name[owner].get("login", True):
            problems.append(
                f"postgresql_databases: the owner of {name}, {owner}, may log in, and an owner can drop everything; "
                "set login: false on it and let people be its members."
            )
    return problems


def _proc_address(address: str) -> str:
    """An address as /proc/net/tcp writes it: words of 32 bits in the host's byte order."""
    packed = ipaddress.ip_address(address).packed
    words = (packed[i : i + 4] for i in range(0, len(packed), 4))
    return "".join(word[::-1].hex() if sys.byteorder == "little" else word.hex() for word in words).upper()


def postgresql_deaf(addresses: Iterable[str], port: int, proc_net_tcp: str) -> list[str]:
    """Addresses on which nothing listens, by the lines of /proc/net/tcp and tcp6 (state 0A is LISTEN)."""
    rows = (line.split() for line in proc_net_tcp.splitlines())
    listening = {row[1] for row in rows if len(row) > 3 and row[3] == "0A"}
    return [address for address in addresses if f"{_proc_address(address)}:{port:04X}" not in listening]


def postgresql_memberships(roles: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"name": str(role["name"]), "group": str(group)} for role in roles for group in role.get("member_of") or []]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "postgresql_conf": postgresql_conf,
            "postgresql_database_problems": postgresql_database_problems,
            "postgresql_deaf": postgresql_deaf,
            "postgresql_hba": postgresql_hba,
            "postgresql_hba_problems": postgresql_hba_problems,
            "postgresql_ident": postgresql_ident,
            "postgresql_memberships": postgresql_memberships,
            "postgresql_memory": postgresql_memory,
            "postgresql_role_problems": postgresql_role_problems,
            "postgresql_server_problems": postgresql_server_problems,
        }
