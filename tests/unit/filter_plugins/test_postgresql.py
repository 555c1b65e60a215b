"""The arithmetic, the text and the refusals of role postgresql."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from filter_plugins import postgresql as pg

LOCAL = ["127.0.0.0/8", "172.17.0.0/16"]


@pytest.mark.parametrize(
    ("memory_mb", "connections", "expected"),
    [
        pytest.param(512, 100, ("128MB", "384MB", "32MB", "1310kB"), id="demo"),
        pytest.param(4096, 100, ("1024MB", "3072MB", "256MB", "10485kB"), id="small"),
        pytest.param(65536, 100, ("16384MB", "49152MB", "2048MB", "65536kB"), id="ceilings"),
        pytest.param(128, 100, ("32MB", "96MB", "16MB", "1024kB"), id="floors"),
    ],
)
def test_memory(memory_mb, connections, expected):
    assert tuple(pg.postgresql_memory(memory_mb, connections).values()) == expected


SERVER = {
    "memory_mb": 512,
    "host_memory_mb": 2048,
    "shared_buffers_percent": 25,
    "max_connections": 128,
    "listen_addresses": ["127.0.0.1", "172.17.0.1"],
    "local_networks": LOCAL,
    "tls": False,
    "settings": ["random_page_cost"],
    "computed": ["wal_level"],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({}, None, id="fits"),
        pytest.param({"memory_mb": 4096}, "4096, and the host has 2048 MB", id="more than the host has"),
        pytest.param({"memory_mb": 64, "max_connections": 10}, "between 128 and that", id="too little"),
        pytest.param({"shared_buffers_percent": 60, "max_connections": 50}, "between 5 and 40", id="percent"),
        # (512 - 128) MB / 3 sorts of 1 MB = 128 connections
        pytest.param({"max_connections": 129}, "512 MB bear 128 connections of 3 x 1 MB", id="connections"),
        pytest.param({"listen_addresses": ["*"]}, "has '*'; write an address", id="wildcard"),
        pytest.param({"listen_addresses": ["localhost"]}, "write an address", id="name"),
        pytest.param({"listen_addresses": ["10.0.0.1"]}, "10.0.0.1, which other hosts reach", id="no TLS"),
        pytest.param({"listen_addresses": ["10.0.0.1"], "tls": True}, None, id="TLS"),
        pytest.param({"settings": ["wal_level"]}, "may not set wal_level", id="decided twice"),
    ],
)
def test_server_problems(change, words):
    problems = pg.postgresql_server_problems({**SERVER, **change})
    assert (words in " ".join(problems)) if words else (problems == [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, "on", id="bool"),
        pytest.param(5, "5", id="int"),
        pytest.param(1.1, "1.1", id="float"),
        pytest.param(["a", "b"], "'a,b'", id="list"),
        pytest.param("it's", "'it''s'", id="quote"),
        pytest.param(r"a\nb", r"'a\\nb'", id="backslash is no escape"),
    ],
)
def test_conf_value(value, text):
    assert pg.postgresql_conf({"x": value}) == f"x = {text}\n"


@pytest.mark.parametrize(("name", "value"), [("x", "a\nfsync = off"), ("x = 1\ny", "1"), ("", "1")])
def test_a_setting_cannot_smuggle_another_line(name, value):
    with pytest.raises(AnsibleFilterError):
        pg.postgresql_conf({name: value})


RULE = {"type": "host", "databases": ["all"], "users": ["dana"], "address": "127.0.0.1/32", "method": "scram-sha-256"}


def test_hba_puts_ours_first_and_keeps_foreign_lines_in_order():
    foreign = "# theirs\nhost all bob 0.0.0.0/0 reject\n\nhost all all 10.0.0.0/8 scram-sha-256"
    once = pg.postgresql_hba(foreign, [RULE])
    assert once.splitlines()[1] == "host\tall\tdana\t127.0.0.1/32\tscram-sha-256"
    assert once.endswith(foreign)
    assert pg.postgresql_hba(once, [RULE]) == once
    assert pg.postgresql_hba(once, []).endswith(foreign)


@pytest.mark.parametrize(
    ("name", "written"),
    [("all", "all"), ("+people", "+people"), ("raz@tovtech.org", '"raz@tovtech.org"'), ("TovPlay", '"TovPlay"')],
)
def test_hba_quotes_what_is_not_plain(name, written):
    assert f"\t{written}\t" in pg.postgresql_hba("", [{**RULE, "users": [name]}])


def test_certificates_are_mapped_on_top_of_foreign_lines():
    foreign = "# MAPNAME SYSTEM-USERNAME PG-USERNAME\nother root postgres\n"
    maps = [{"map": "vault", "certificates": ["a.example", "b c"], "role": "r"}]
    once = pg.postgresql_ident(foreign, maps)
    assert once.splitlines()[1:3] == ['"vault"\t"a.example"\t"r"', '"vault"\t"b c"\t"r"']
    assert once.endswith(foreign)
    assert pg.postgresql_ident(once, maps) == once


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({}, None, id="loopback"),
        pytest.param({"address": "172.17.0.0/24"}, None, id="bridge"),
        pytest.param({"address": "10.0.0.0/8"}, "without TLS", id="other hosts"),
        pytest.param({"address": "10.0.0.0/8", "type": "hostssl"}, None, id="other hosts with TLS"),
        pytest.param({"address": "10.0.0.0/8", "method": "reject"}, None, id="reject"),
        pytest.param({"address": "all"}, "every address", id="all"),
        pytest.param({"address": "all", "method": "reject"}, None, id="reject all"),
        pytest.param({"address": "10.0.0.300/24"}, "no network", id="PostgreSQL would take it for a host name"),
        pytest.param({"address": "10.0.0.1/8", "type": "hostssl"}, "no network", id="host bits"),
        pytest.param({"address": ""}, "no address", id="address missing"),
        pytest.param({"type": "local"}, "a local rule has none", id="local with address"),
        pytest.param({"method": "peer"}, "peer over the network", id="peer"),
        pytest.param({"method": "cert"}, "certificate without TLS", id="cert"),
        pytest.param({"users": ['a"b']}, "cannot hold", id="quote"),
        pytest.param({"users": ["a\nb"]}, "cannot hold", id="newline"),
    ],
)
def test_hba_problems(change, words):
    problems = pg.postgresql_hba_problems([{**RULE, **change}], LOCAL)
    assert (words in problems[0]) if words else (problems == [])


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ({"name": "dana", "password": "correct horse"}, None),
        ({"name": "raz@tovtech.org", "password": "correct horse"}, None),
        ({"name": "owner", "login": False}, None),
        ({"name": "peer_only"}, None),
        ({"name": "dana", "password": ""}, "an empty password"),
        ({"name": "dana", "password": None}, "an empty password"),
        ({"name": "dana", "password": "CHANGEME"}, "a placeholder"),
        ({"name": "dana", "password": "please-change-me-now"}, "a placeholder"),
        ({"name": "dana", "password": "YOUR_PASSWORD"}, "a placeholder"),
        ({"name": "dana", "password": "<secret>"}, "a placeholder"),
        ({"name": "dana", "password": "pwd"}, "fewer than 8"),
        ({"name": "dana", "password": "correct horse", "login": False}, "may not log in"),
        ({"name": "d" * 64}, "longer than the 63 bytes"),
        ({"name": "pg_dana"}, "keeps for itself"),
        ({"name": 'da"na'}, "a quote"),
        ({"name": ""}, "is empty"),
    ],
)
def test_role_problems(role, words):
    problems = pg.postgresql_role_problems([role], 100, 3)
    assert (words in problems[0]) if words else (problems == [])
    assert not any(str(role.get("password") or "-no-") in problem for problem in problems)


def test_role_limits_must_fit():
    roles = [{"name": "app", "connection_limit": 60}, {"name": "job", "connection_limit": 30}, {"name": "free"}]
    assert pg.postgresql_role_problems(roles, 93, 3) == []
    (problem,) = pg.postgresql_role_problems(roles, 92, 3)
    assert "app 60 + job 30 + 3 reserved = 93 connections, postgresql_max_connections is 92" in problem


def test_role_listed_twice():
    assert "listed twice" in pg.postgresql_role_problems([{"name": "a"}, {"name": "a"}], 100, 3)[0]


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ({"name": "shop", "owner": "owner", "writers": ["app"]}, None),
        ({"name": "shop", "owner": "owner", "readers": ["nobody"]}, "names nobody, unknown"),
        ({"name": "shop", "owner": "app"}, "may log in"),
        ({"name": "s" * 64, "owner": "owner"}, "longer than"),
    ],
)
def test_database_problems(database, words):
    problems = pg.postgresql_database_problems([database], [{"name": "owner", "login": False}, {"name": "app"}])
    assert (words in problems[0]) if words else (problems == [])


# Lines of /proc/net/tcp and tcp6 on a Debian 12 host (x86-64).
PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 41253 1
   1: 010011AC:1538 020011AC:8FE2 01 00000000:00000000 00:00000000 00000000   104        0 51253 1
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000
"""


def test_deaf():
    addresses = ["127.0.0.1", "172.17.0.1", "::1", "10.0.0.1"]
    assert pg.postgresql_deaf(addresses, 5432, PROC_NET_TCP) == [
        "172.17.0.1",
        "10.0.0.1",
    ]  # 172.17.0.1 only has a client
    assert pg.postgresql_deaf(["127.0.0.1"], 5433, PROC_NET_TCP) == ["127.0.0.1"]


def test_memberships():
    roles = [{"name": "a", "member_of": ["x", "y"]}, {"name": "b"}]
    assert pg.postgresql_memberships(roles) == [{"name": "a", "group": "x"}, {"name": "a", "group": "y"}]
