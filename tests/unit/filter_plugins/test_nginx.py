"""Sites of role nginx: what is refused, and with which sentence; password files; patterns."""

from __future__ import annotations

import re

import pytest
from passlib.hash import sha512_crypt

from filter_plugins.nginx import (
    nginx_any_of,
    nginx_ingest_names,
    nginx_problems,
    nginx_reader_files,
    nginx_sites,
    nginx_tls_files,
)

TYPES = {
    "app": ["upstream"],
    "host_gateway": ["places", "clients"],
    "ingest": ["upstream"],
    "loki_gateway": ["upstream"],
    "jaeger_gateway": ["upstream", "push_upstream"],
    "pages": ["pages"],
}
DEFAULTS = {
    "server_names": [],
    "address": "",
    "port": 443,
    "tls": True,
    "redirect_from_port": 80,
    "certificate": "/host.crt",
    "client_authority": "/ca.crt",
    "push_clients": [],
    "readers": [],
    "pages": [],
    "places": [],
    "clients": [],
    "browser": {"upstream": "", "sample": 1, "replay": 0},
}
APP = {"name": "tovplay", "type": "app", "upstream": "127.0.0.1:8000", "server_names": ["a.example"]}
GATE = {
    "name": "gate",
    "type": "loki_gateway",
    "upstream": "127.0.0.1:3100",
    "port": 3443,
    "push_clients": ["tovplay-prod"],
    "readers": ["reader"],
}
PAGE = {"path": "/logs/incident/", "upstream": "unix:/run/page/page.sock"}
PAGES = {"name": "logs", "type": "pages", "redirect_from_port": 0, "readers": ["reader"], "pages": [PAGE]}
OBSERVED = APP | {"browser": {"upstream": "watch:3444"}}
INGEST = GATE | {"name": "ingest", "type": "ingest", "port": 3444, "redirect_from_port": 0}
HOST = {
    "name": "host",
    "type": "host_gateway",
    "port": 3446,
    "redirect_from_port": 0,
    "clients": ["tovplay-watch"],
    "places": [{"path": "/metrics/node", "upstream": "127.0.0.1:9100/metrics"}],
}
PASSWORDS = {"reader": "a long enough one"}


def problems(*sites, passwords=PASSWORDS, status_port=8090):
    whole = nginx_sites(sites, DEFAULTS, {"loki_gateway": {"redirect_from_port": 0}})
    return nginx_problems(whole, TYPES, passwords, status_port)


@pytest.mark.parametrize(
    "sites",
    [
        [],
        [APP],
        [APP, GATE],
        [OBSERVED, INGEST],
        [APP, GATE, HOST],
        [APP, APP | {"name": "second", "server_names": ["b.example"]}],
        [APP | {"address": "127.0.0.1", "tls": False, "port": 8080, "redirect_from_port": 0}],
        [APP | {"address": "10.0.0.1"}, APP | {"name": "second", "address": "10.0.0.2"}],
        [APP | {"upstream": "[::1]:8000"}],
        [APP | {"server_names": ["*.example.org", "my_host"]}],
        [PAGES, GATE],
        [APP | {"pages": [PAGE | {"upstream": "127.0.0.1:9000"}], "readers": ["reader"]}],
    ],
    ids=[
        "none",
        "one",
        "both types",
        "with an agent",
        "with a host gateway",
        "by name",
        "plain on loopback",
        "by address",
        "IPv6 upstream",
        "wildcard",
        "pages",
        "app with pages",
    ],
)
def test_sites_that_work(sites):
    assert problems(*sites) == []


@pytest.mark.parametrize(
    ("sites", "sentence"),
    [
        ([APP | {"name": "a b"}], "The name 'a b' is not made of"),
        ([APP | {"name": "x;}"}], "The name 'x;}' is not made of"),
        (
            [APP | {"type": "ftp"}],
            "unknown type ftp; use one of app, host_gateway, ingest, jaeger_gateway, loki_gateway, pages.",
        ),
        ([{"name": "tovplay", "type": "app"}], "lacks upstream; name what stands behind it"),
        ([APP | {"upstream": "127.0.0.1"}], "write host:port"),
        ([APP | {"upstream": "127.0.0.1:70000"}], "write host:port"),
        ([APP | {"upstream": "a:1; return 200"}], "write host:port"),
        ([APP | {"upstream": "a:1\n"}], "write host:port"),
        ([APP | {"server_names": ["a; include /etc/shadow"]}], "is no host name; correct it."),
        ([APP | {"port": 0}], "has a port outside 1-65535"),
        ([APP | {"tls": False}], "would speak plain HTTP to other hosts"),
        ([APP | {"tls": False, "address": "10.0.0.1"}], "would speak plain HTTP to other hosts"),
        ([APP, APP | {"port": 444}], "Two sites are named tovplay; rename one."),
        ([APP, APP | {"name": "b"}], "Sites tovplay and b clash on port 443;"),
        ([APP, APP | {"name": "b", "server_names": []}], "Sites tovplay and b clash on port 443;"),
        ([APP, GATE | {"port": 443}], "Sites tovplay and gate clash on port 443;"),
        ([APP, GATE | {"port": 80}], "Sites tovplay and gate clash on port 80;"),
        ([APP, APP | {"name": "b", "server_names": ["b.example"], "port": 80}], "clash on port 80;"),
        ([APP, GATE | {"port": 443, "address": "10.0.0.1"}], "clash on port 443;"),
        ([APP | {"port": 8090}], "clashes with nginx_status_port 8090"),
        ([GATE | {"tls": False, "address": "127.0.0.1"}], "Site gate of type loki_gateway has no TLS"),
        ([INGEST | {"tls": False, "address": "127.0.0.1"}], "Site ingest of type ingest has no TLS"),
        ([INGEST | {"push_clients": [], "readers": []}], "lets nobody in"),
        ([GATE | {"browser": {"upstream": "watch:3444"}}], "has no pages; give `browser` to a site of type app"),
        ([APP | {"browser": {"upstream": "watch"}}], "reports to 'watch'; write host:port of the ingest site"),
        ([OBSERVED | {"tls": False, "address": "127.0.0.1"}], "has a browser agent without TLS"),
        ([APP | {"browser": {"upstream": "watch:3444", "replay": 1.5}}], "has a `sample` or `replay` outside 0 to 1"),
        ([GATE | {"push_clients": [], "readers": []}], "lets nobody in"),
        ([PAGES | {"pages": []}], "lacks pages"),
        (
            [PAGES | {"pages": [PAGE | {"embed": ["http://x"]}]}],
            "lets 'http://x' show /logs/incident/ in a frame",
        ),
        ([PAGES | {"readers": []}], "has pages that nobody may read; list readers"),
        ([PAGES | {"readers": ["other"]}], "Reader other of site logs has no password"),
        ([PAGES | {"tls": False}], "would speak plain HTTP to other hosts"),
        ([PAGES | {"pages": [PAGE | {"path": "/"}]}], "write a path like /logs/incident/"),
        ([PAGES | {"pages": [PAGE | {"path": "/a/;}/"}]}], "write a path like /logs/incident/"),
        ([PAGES | {"pages": [PAGE | {"upstream": "unix:/etc/shadow"}]}], "write unix:/run/"),
        ([PAGES | {"pages": [PAGE | {"upstream": "elsewhere"}]}], "write unix:/run/"),
        ([APP | {"pages": [PAGE]}], "has pages that nobody may read; list readers"),
        ([HOST | {"clients": []}], "Site host lacks clients; name the certificates"),
        ([HOST | {"places": []}], "Site host lacks places; list what may be asked"),
        ([HOST | {"tls": False, "address": "127.0.0.1"}], "Site host of type host_gateway has no TLS"),
        ([HOST | {"places": [{"path": "/a b", "upstream": "127.0.0.1:1/"}]}], "like /metrics/node."),
        ([HOST | {"places": [{"path": "/a", "upstream": "127.0.0.1"}]}], "write host:port and a path"),
        ([GATE | {"readers": ["a:b"]}], "a reader's name has letters"),
        ([GATE | {"readers": ["other"]}], "Reader other of site gate has no password"),
    ],
)
def test_sites_that_are_refused(sites, sentence):
    said = problems(*sites)
    assert sentence in " ".join(said)
    assert all(text.endswith(".") for text in said)


@pytest.mark.parametrize("secret", ["CHANGE_ME_PLEASE", "YOUR_PASSWORD_HERE", "tiny-pw", "TODO: choose a password"])
def test_useless_passwords_are_refused_without_repeating_them(secret):
    (said,) = problems(GATE, passwords={"reader": secret})
    assert "is a placeholder or shorter than 12 characters" in said
    assert secret not in said


def test_a_password_file_verifies_and_is_the_same_every_time():
    sites = nginx_sites([GATE | {"readers": ["reader", "reader"]}], DEFAULTS, {})
    (first,) = nginx_reader_files(sites, PASSWORDS, "host-a")
    assert nginx_reader_files(sites, PASSWORDS, "host-a") == [first]
    assert nginx_reader_files(sites, PASSWORDS, "host-b") != [first]
    (line,) = first["content"].splitlines()
    name, _, hashed = line.partition(":")
    assert name == "reader" and sha512_crypt.verify(PASSWORDS["reader"], hashed)
    assert not sha512_crypt.verify("another", hashed)
    assert (first["mode"], first["group"], first["secret"]) == ("0640", "www-data", True)


def test_files_that_are_loaded_at_start():
    assert nginx_tls_files(nginx_sites([APP, GATE], DEFAULTS, {})) == ["/ca.crt", "/host.crt"]
    assert nginx_tls_files(nginx_sites([APP], DEFAULTS, {})) == ["/host.crt"]
    assert nginx_tls_files(nginx_sites([OBSERVED], DEFAULTS, {})) == ["/ca.crt", "/host.crt"]


def test_names_that_are_looked_up():
    assert nginx_ingest_names(nginx_sites([APP, GATE], DEFAULTS, {})) == []
    assert nginx_ingest_names(nginx_sites([OBSERVED, OBSERVED], DEFAULTS, {})) == ["watch"]
    assert nginx_tls_files([]) == []


@pytest.mark.parametrize("texts", [[], ["a.b"], ["a", "b|c", "(d"]], ids=["none", "dot", "metacharacters"])
def test_a_pattern_matches_exactly_its_texts(texts):
    pattern = re.compile(f"^(?:{nginx_any_of(texts)})\\Z")
    assert all(pattern.match(text) for text in texts)
    assert not any(pattern.match(text) for text in ["", "axb", "b", "d", "a|b|c"] if text not in texts)
