"""Sites of role nginx as pure functions: defaults, refusals that a type cannot express, password files, patterns."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from passlib.hash import sha512_crypt

Site = Mapping[str, Any]

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}\Z")
HOST_PORT = re.compile(r"^(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})\Z")
# What may stand in a configuration file unquoted, be it a host name with or without a wildcard.
SERVER_NAME = re.compile(r"^(?:\*\.)?[A-Za-z0-9_.-]+\Z")
SOCKET = re.compile(r"^unix:/run/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+\Z")
ORIGIN = re.compile(r"^https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?\Z")
PAGE_PATH = re.compile(r"^(?:/[a-z0-9_-]+)+/\Z")
PLACE = re.compile(r"^(?:/[A-Za-z0-9._-]+)+\Z")
READER = re.compile(r"^[A-Za-z0-9_.@-]{1,64}\Z")
PLACEHOLDER = re.compile(r"change|your_|placeholder|example_|todo|xxx", re.IGNORECASE)
PASSWORD_LENGTH = 12
# Types that hosts push to with a certificate.
GATEWAYS = {"loki_gateway", "jaeger_gateway", "ingest"}
# Types that ask for a certificate.
ASKING = GATEWAYS | {"host_gateway"}
LACKS = {
    "pages": "list the pages that it shows",
    "places": "list what may be asked of the host",
    "clients": "name the certificates that may ask",
}
EVERYWHERE = str(ipaddress.IPv4Address(0))


def nginx_sites(sites: Sequence[Site], defaults: Site, type_defaults: Mapping[str, Site]) -> list[dict]:
    """Every site with all of its keys."""
    return [
        {
            **defaults,
            **type_defaults.get(str(site.get("type")), {}),
            **site,
            "browser": {**defaults["browser"], **site.get("browser", {})},
        }
        for site in sites
    ]


def nginx_tls_files(sites: Sequence[Site]) -> list[str]:
    """Certificates that the workers load at start."""
    files = {str(site["certificate"]) for site in sites if site["tls"]}
    asks = [site for site in sites if site["type"] in ASKING or site["browser"]["upstream"]]
    return sorted(files | {str(site["client_authority"]) for site in asks})


def nginx_ingest_names(sites: Sequence[Site]) -> list[str]:
    """Hosts that take what browsers report; their addresses are looked up before the configuration is written."""
    upstreams = {str(site["browser"]["upstream"]) for site in sites}
    return sorted({upstream.rpartition(":")[0] for upstream in upstreams if upstream})


def _sockets(site: Site) -> list[tuple[str, int]]:
    ports = [site["port"], *([site["redirect_from_port"]] if site["redirect_from_port"] else [])]
    return [(str(site["address"]) or EVERYWHERE, int(str(port))) for port in ports]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_host_port(text: str) -> bool:
    found = HOST_PORT.match(text)
    return found is not None and 1 <= int(found[1]) <= 65535


def _page_problem(site: Site) -> str | None:
    name = site["name"]
    for page in site["pages"]:
        if not PAGE_PATH.match(str(page["path"])):
            return (
                f"Site {name} has a page at {page['path']!r}; write a path like /logs/incident/, with its last slash."
            )
        if not SOCKET.match(str(page["upstream"])) and not _is_host_port(str(page["upstream"])):
            return (
                f"Site {name} has the page {page['path']} at {page['upstream']!r}; write unix:/run/…/page.sock, "
                "or host:port on this host."
            )
        for origin in page.get("embed") or []:
            if not ORIGIN.match(str(origin)):
                return (
                    f"Site {name} lets {origin!r} show {page['path']} in a frame; write https://host, without a path."
                )
    if site["pages"] and not site["readers"]:
        return f"Site {name} has pages that nobody may read; list readers, since evidence is shown to nobody unknown."
    return None


def _place_problem(site: Site) -> str | None:
    name = site["name"]
    for place in site["places"]:
        if not PLACE.match(str(place["path"])):
            return (
                f"Site {name} has the place {place['path']!r}; write a path of letters, digits and ._- "
                "like /metrics/node."
            )
        if not _is_host_port(str(place["upstream"]).partition("/")[0]):
            return (
                f"Site {name} has the place {place['path']} at {place['upstream']!r}; write host:port and a path, "
                "like 127.0.0.1:9100/metrics."
            )
    return None


def _shape_problem(site: Site, types: Mapping[str, Sequence[str]]) -> str | None:
    name = site["name"]
    if not NAME.match(str(name)):
        return f"The name {name!r} is not made of lower-case letters, digits and hyphens; choose another."
    if site["type"] not in types:
        return f"Site {name} has the unknown type {site['type']}; use one of {', '.join(sorted(types))}."
    for key in types[str(site["type"])]:
        if not site.get(key):
            return f"Site {name} lacks {key}; {LACKS.get(key, 'name what stands behind it, like 127.0.0.1:8000')}."
    for key in ("upstream", "push_upstream"):
        if key in types[str(site["type"])] and not _is_host_port(str(site[key])):
            return f"Site {name} has the {key} {site[key]!r}; write host:port, like 127.0.0.1:8000."
    odd = [n for n in site["server_names"] if not SERVER_NAME.match(n)]
    if odd:
        return f"Site {name} has the server name {odd[0]!r}, which is no host name; correct it."
    if any(not 1 <= port <= 65535 for _, port in _sockets(site)):
        return f"Site {name} has a port outside 1-65535; correct it."
    if not site["tls"] and not _is_loopback(str(site["address"])):
        return f"Site {name} would speak plain HTTP to other hosts; set tls: true, or address: 127.0.0.1."
    return None


def _gateway_problem(site: Site) -> str | None:
    if site["type"] not in ASKING:
        return None
    name = site["name"]
    if not site["tls"]:
        return f"Site {name} of type {site['type']} has no TLS, so no certificate could be asked for; set tls: true."
    if site["type"] in GATEWAYS and not site["push_clients"] and not site["readers"]:
        return f"Site {name} lets nobody in; list push_clients or readers."
    return None


def _reader_problem(site: Site, passwords: Mapping[str, Any]) -> str | None:
    name = site["name"]
    for reader in site["readers"]:
        if not READER.match(reader):
            return f"Site {name} has the reader {reader!r}; a reader's name has letters, digits and _.@- only."
        if not passwords.get(reader):
            return f"Reader {reader} of site {name} has no password; give it one in nginx_reader_passwords."
        if PLACEHOLDER.match(str(passwords[reader])) or len(str(passwords[reader])) < PASSWORD_LENGTH:
            return (
                f"The password of reader {reader} of site {name} is a placeholder or shorter than {PASSWORD_LENGTH} "
                "characters; put a generated one into the inventory's Ansible Vault file."
            )
    return None


def _browser_problem(site: Site) -> str | None:
    browser, name = site["browser"], site["name"]
    if not browser["upstream"]:
        return None
    if site["type"] != "app":
        return f"Site {name} is of type {site['type']} and has no pages; give `browser` to a site of type app."
    if not HOST_PORT.match(str(browser["upstream"])):
        return f"Site {name} reports to {browser['upstream']!r}; write host:port of the ingest site, like watch:3444."
    if not site["tls"]:
        return f"Site {name} has a browser agent without TLS; browsers give its pages no ids then: set tls: true."
    if not all(0 <= float(str(browser[share])) <= 1 for share in ("sample", "replay")):
        return f"Site {name} has a `sample` or `replay` outside 0 to 1; both are shares, like 0.1 for one in ten."
    return None


def _clash(one: Site, other: Site) -> str | None:
    if one["name"] == other["name"]:
        return f"Two sites are named {one['name']}; rename one."
    for address, port in _sockets(one):
        for other_address, other_port in _sockets(other):
            if port != other_port or (address != other_address and EVERYWHERE not in (address, other_address)):
                continue
            # Applications may share a port under different names, if they agree on what the port speaks.
            alike = one["type"] == other["type"] == "app" and (port == one["port"]) == (port == other["port"])
            names, other_names = set(one["server_names"]), set(other["server_names"])
            if not (alike and one["tls"] == other["tls"] and names and other_names and not names & other_names):
                return (
                    f"Sites {one['name']} and {other['name']} clash on port {port}; "
                    "give one of them another port, or other server names if both are of type app."
                )
    return None


def nginx_problems(
    sites: Sequence[Site], types: Mapping[str, Sequence[str]], passwords: Mapping[str, Any], status_port: int
) -> list[str]:
    """One sentence about each thing that cannot work; passwords are never repeated."""
    shapes = [text for site in sites if (text := _shape_problem(site, types))]
    if shapes:
        return shapes
    checks = (
        _gateway_problem,
        _browser_problem,
        _page_problem,
        _place_problem,
        partial(_reader_problem, passwords=passwords),
    )
    problems = [text for site in sites for check in checks if (text := check(site))]
    for index, site in enumerate(sites):
        if status_port in [port for _, port in _sockets(site)]:
            problems.append(f"Site {site['name']} clashes with nginx_status_port {status_port}; change one of them.")
        problems += [text for other in sites[index + 1 :] if (text := _clash(site, other))]
    return problems


def _hash(password: str, *salted_by: str) -> str:
    """crypt(3) SHA-512. The salt depends on where the hash is used, so that the same password gives the same file."""
    salt = base64.b64encode(hashlib.sha256("\0".join(salted_by).encode()).digest(), altchars=b"./").decode()[:16]
    return sha512_crypt.using(rounds=5000, salt=salt).hash(password)


def nginx_reader_files(sites: Sequence[Site], passwords: Mapping[str, Any], host: str) -> list[dict]:
    """The password file of every site that has readers, as config_files takes it."""
    return [
        {
            "path": f"/etc/tovplay/nginx/{site['name']}.htpasswd",
            "content": "".join(
                f"{reader}:{_hash(str(passwords[reader]), host, str(site['name']), reader)}\n"
                for reader in sorted(set(site["readers"]))
            ),
            "group": "www-data",
            "mode": "0640",
            "secret": True,
        }
        for site in sites
        if site["readers"]
    ]


def nginx_placed(files: Mapping[str, str]) -> list[dict]:
    """Texts by file name as config_files takes them."""
    return [{"path": f"conf.d/{name}", "content": text} for name, text in files.items()]


def nginx_any_of(texts: Iterable[str]) -> str:
    """A regular expression for exactly these texts; for none of them one that never matches."""
    return "|".join(re.escape(text) for text in texts) or r"(?!)"


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "nginx_sites": nginx_sites,
            "nginx_tls_files": nginx_tls_files,
            "nginx_ingest_names": nginx_ingest_names,
            "nginx_problems": nginx_problems,
            "nginx_reader_files": nginx_reader_files,
            "nginx_placed": nginx_placed,
            "nginx_any_of": nginx_any_of,
        }
