"""Inputs of role elk -> the files of Elasticsearch, and what of them cannot work."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]
HOURS = re.compile(r"[1-9][0-9]*h\Z")
MEMORY = re.compile(r"([1-9][0-9]*)([mg])\Z")
# Elasticsearch's own default for {PBKDF2}: SHA-512, 10,000 rounds, 256 bits.
ROUNDS, BYTES = 10_000, 32
LEAST_MEGABYTES = 768
MOST_HEAP = 31 * 1024  # above it Java's pointers double


def elk_config(settings: JSON) -> dict[str, Any]:
    """elasticsearch.yml as flat keys; `settings` are the inputs elk_*, without that prefix, and `host`."""
    tls = {
        "enabled": True,
        "key": "host.key",
        "certificate": "host.crt",
        "certificate_authorities": ["ca.crt"],
    }
    config: dict[str, Any] = {
        "cluster.name": settings["cluster_name"],
        "node.name": settings["host"],
        "network.host": settings["listen_address"],
        "http.port": settings["http_port"],
        "transport.port": settings["transport_port"],
        "path.data": "/usr/share/elasticsearch/data",
        "path.logs": "/tmp",  # noqa: S108  # nosec B108 (the container's own; nothing is written there)
        "path.repo": ["/snapshots"],
        "node.store.allow_mmap": settings["mmap"],
        "action.destructive_requires_name": True,
        "xpack.security.enabled": True,
        "xpack.security.autoconfiguration.enabled": False,
        # Users come from files: the built-in ones, whose passwords would lie in an index, are off.
        "xpack.security.authc.reserved_realm.enabled": False,
        "xpack.security.authc.realms.file.people.order": 0,
        "xpack.security.http.ssl": tls,
        "xpack.security.transport.ssl": {**tls, "verification_mode": "full"},
    }
    if not settings["members"]:
        return {**config, "discovery.type": "single-node"}
    config["discovery.seed_hosts"] = [f"{host}:{settings['transport_port']}" for host in settings["members"]]
    if settings["initial_masters"]:
        config["cluster.initial_master_nodes"] = settings["initial_masters"]
    return config


def elk_jvm_options(memory: str) -> str:
    """Half of the container's memory as heap, fixed, and at most 31 GB."""
    heap = min(_megabytes(memory) // 2, MOST_HEAP)
    return f"-Xms{heap}m\n-Xmx{heap}m\n-Djava.io.tmpdir=${{ES_TMPDIR}}\n-XX:+ExitOnOutOfMemoryError\n"


def elk_users(passwords: Mapping[str, str], host: str) -> str:
    """The file realm's `users`; the salt depends on host and user, so that the same password gives the same file."""
    return "".join(f"{user}:{_hash(str(password), host, user)}\n" for user, password in sorted(passwords.items()))


def elk_problems(settings: JSON, passwords: Mapping[str, str]) -> list[str]:
    """Sentences about what cannot work, each with the next step."""
    problems = [
        f"vault_elk_{user.removeprefix('tovplay_')}_password is missing, a placeholder or shorter than 12 characters; "
        "put a generated one into the Ansible Vault file."
        for user, password in passwords.items()
        if len(str(password)) < 12 or "CHANGE" in str(password).upper()
    ]
    if len(set(passwords.values())) < len(passwords):
        problems.append("Two users of Elasticsearch have the same password; give each its own.")
    for name, hours in {**settings["retention"], "the default": settings["retention_default"]}.items():
        if not HOURS.match(str(hours)):
            problems.append(f"The retention of {name} is {hours}; write whole hours, such as 720h.")
    if not MEMORY.match(str(settings["memory"])) or _megabytes(settings["memory"]) < LEAST_MEGABYTES:
        problems.append(f"elk_memory is {settings['memory']}; write at least {LEAST_MEGABYTES}m, such as 2g.")
    if settings["snapshot_keep"] < 1:
        problems.append("elk_snapshot_keep is below 1; keep at least one snapshot.")
    members = settings["members"]
    if members and settings["host"] not in members:
        problems.append(f"elk_members does not name {settings['host']}; add it, or empty the list for a node alone.")
    if set(settings["initial_masters"]) - set(members):
        problems.append("elk_initial_masters names hosts that are not in elk_members; name members only.")
    if members and str(settings["listen_address"]).startswith("127."):
        problems.append("A cluster's nodes cannot reach each other on loopback; set elk_listen_address.")
    if not members and settings["replicas"]:
        problems.append("A node alone cannot hold replicas; set elk_replicas to 0, or name elk_members.")
    return problems


def _megabytes(memory: str) -> int:
    found = MEMORY.match(str(memory))
    return int(found[1]) * (1024 if found[2] == "g" else 1) if found else 0


def _hash(password: str, *salted_by: str) -> str:
    salt = hashlib.sha256("\0".join(salted_by).encode()).digest()
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, BYTES)
    return f"{{PBKDF2}}{ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


class FilterModule:
    """Filters of role elk."""

    def filters(self) -> dict[str, Any]:
        return {
            "elk_config": elk_config,
            "elk_jvm_options": elk_jvm_options,
            "elk_problems": elk_problems,
            "elk_users": elk_users,
        }
