"""PgBouncer's configuration: what is written, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins import pgbouncer as pb

ROLE = Path(__file__).resolve().parents[3] / "roles" / "pgbouncer"
PARAMETERS = yaml.safe_load((ROLE / "vars/main/parameters.yml").read_text())["__pgbouncer_parameters"]
LOCAL = ["127.0.0.0/8", "::1/128", "172.17.0.0/16"]
TOVPLAY = {"name": "TovPlay", "host": "127.0.0.1", "port": 5432}


def test_the_file_as_it_is_written():
    settings = {"listen_addr": ["127.0.0.1", "172.17.0.1"], "log_connections": True, "admin_users": [], "pkt_buf": 4096}
    databases = [TOVPLAY, {"name": "reports", "dbname": "it's a name", "connect_query": None, "pool_size": 5}]
    assert pb.pgbouncer_ini(settings, databases) == (
        "[databases]\n"
        "TovPlay = host=127.0.0.1 port=5432\n"
        "reports = dbname='it''s a name' pool_size=5\n"
        "\n"
        "[pgbouncer]\n"
        "listen_addr = 127.0.0.1,172.17.0.1\n"
        "log_connections = 1\n"
        "admin_users =\n"
        "pkt_buf = 4096\n"
    )


VALUES = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zs", "Zl", "Zp")) | st.just(" "), min_size=1)


@given(dbname=VALUES, query=VALUES)
def test_connection_strings_round_trip(dbname, query):
    text = pb.pgbouncer_ini({}, [{"name": "d", "dbname": dbname, "connect_query": query}])
    assert pb.pgbouncer_parse(text)["databases"] == {"d": {"dbname": dbname, "connect_query": query}}


@pytest.mark.parametrize("value", ["a\nlisten_addr = *", "a\x00b", " outer", "outer ", "a\rb"])
def test_a_value_that_would_not_read_back_is_never_written(value):
    with pytest.raises(AnsibleFilterError):
        pb.pgbouncer_ini({"server_check_query": value}, [TOVPLAY])


UNREADABLE = [
    ("twice", "[pgbouncer]\na = 1\na = 2", "line 3: a stands twice"),
    ("section-twice", "[pgbouncer]\n[databases]\n[pgbouncer]", "stands twice"),  # resets every setting to its default
    ("no-section", "a = 1", "inside a section"),
    ("no-equals", "[pgbouncer]\nlisten_port 6432", "inside a section"),
    ("quoted-key", '[databases]\n"my db" = host=x', "inside a section"),  # the manual allows it, no version reads it
    ("include", "[pgbouncer]\n%include x", "inside a section"),
    ("open-section", "[pgbouncer\na = 1", "no section header"),
    ("open-quote", "[databases]\nd = host='x port=1", "no new key=value"),
    ("glued-pairs", "[databases]\nd = host='x'port=1", "no new key=value"),
    ("key-twice-in-database", "[databases]\nd = host=a host=b", "no new key=value"),
]


@pytest.mark.parametrize(("text", "why"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_the_strict_reader_refuses(text, why):
    with pytest.raises(AnsibleFilterError, match=why):
        pb.pgbouncer_parse(text)


def test_comments_and_blank_lines_are_no_settings():
    assert pb.pgbouncer_parse("; x\n\n[pgbouncer]\n# y\n a=1 \r\n") == {"pgbouncer": {"a": "1"}}


VERSIONS = [("1.18.0", "max_prepared_statements", False), ("1.21.0", "max_prepared_statements", True)]
VERSIONS += [
    ("1.24.1", "transaction_timeout", False),
    ("1.25.2", "transaction_timeout", True),
    ("1.9.0", "peer_id", False),
]


@pytest.mark.parametrize(("version", "setting", "known"), VERSIONS)
def test_settings_by_version(version, setting, known):
    assert (setting in pb.pgbouncer_known_settings({setting: 1, "pool_mode": "x"}, version, PARAMETERS)) is known
    problems = pb.pgbouncer_setting_problems({setting: 1}, [], version, PARAMETERS)
    assert bool(problems) is not known
    assert known or f"came with PgBouncer {PARAMETERS[setting]['since']} and this host runs {version}" in problems[0]


SETTINGS = [
    ("typo", {"max_client_con": 5}, "is no setting of PgBouncer 1.18 to 1.25"),
    ("ours", {"listen_port": 5}, "is decided by an input"),
    ("not-a-number", {"tcp_keepidle": "soon"}, "takes a number"),
    ("not-a-flag", {"log_stats": 2}, "takes true or false"),
    ("line-break", {"server_check_query": "a\nb"}, "write it in one line"),
]


@pytest.mark.parametrize(("settings", "why"), [row[1:] for row in SETTINGS], ids=[row[0] for row in SETTINGS])
def test_setting_problems(settings, why):
    (problem,) = pb.pgbouncer_setting_problems(settings, ["listen_port"], "1.18.0", PARAMETERS)
    assert problem.startswith(f"pgbouncer_settings: {next(iter(settings))} ")
    assert why in problem


def test_settings_that_work():
    settings = {"tcp_keepidle": 60, "server_check_delay": 0.5, "log_stats": False, "server_check_query": "select 1"}
    assert pb.pgbouncer_setting_problems(settings, [], "1.18.0", PARAMETERS) == []


def pools(*databases, cap=25, clients=1000, nofile=4096, most=100, reserved=3, kept=20):
    return pb.pgbouncer_pool_problems(list(databases), cap, clients, nofile, most, reserved, kept)


def test_pools_that_fit():
    assert pools(TOVPLAY) == []
    assert pools(TOVPLAY, {"name": "b", "max_db_connections": 52}) == []
    assert pools(TOVPLAY, {"name": "far", "host": "10.0.0.9", "max_db_connections": 77}) == []  # another server


def test_the_arithmetic_in_one_sentence():
    assert pools(TOVPLAY, {"name": "reports", "max_db_connections": 60}) == [
        "pgbouncer_databases: TovPlay 25 + reports 60 = 85 server connections, but PostgreSQL at 127.0.0.1:5432 "
        "leaves 77 (100 max_connections - 3 for superusers - 20 kept for direct clients); lower max_db_connections "
        "or raise postgresql_max_connections."
    ]
    assert pools(TOVPLAY, nofile=1024) == [
        "pgbouncer_limit_nofile: 1000 clients + 25 servers + 64 of its own = 1089 file descriptors, but the limit is "
        "1024; raise it."
    ]


def test_a_pool_without_a_cap_is_refused():
    assert "would be unlimited" in pools(TOVPLAY, cap=0)[0]
    assert "would be unlimited" in pools({**TOVPLAY, "max_db_connections": 0})[0]


NAMES = [
    ("console", "pgbouncer", "PgBouncer's console"),
    ("quote", 'a"b', "cannot hold"),
    ("blank", "a b", "cannot hold"),
    ("hebrew", "\u05d0", "cannot hold"),
    ("star", "*", "cannot hold"),
    ("empty", "", "cannot hold"),
    ("long", "n" * 64, "cannot hold"),
]


@pytest.mark.parametrize(("name", "why"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_database_names_that_the_file_cannot_hold(name, why):
    (problem,) = pb.pgbouncer_database_problems([{"name": name}])
    assert why in problem
    assert "give the real name as dbname" in problem


def test_database_problems():
    assert pb.pgbouncer_database_problems([TOVPLAY, {"name": "b", "dbname": "any \u05d0 name"}]) == []
    assert "list at least one" in pb.pgbouncer_database_problems([])[0]
    assert "listed twice" in pb.pgbouncer_database_problems([TOVPLAY, TOVPLAY])[0]
    assert "control character in dbname" in pb.pgbouncer_database_problems([{"name": "a", "dbname": "x\ny"}])[0]


NETWORKS = [
    # id, addresses, host of the database, TLS to clients, TLS to PostgreSQL, what is said
    ("this-host-only", ["127.0.0.1", "::1", "172.17.0.1"], "127.0.0.1", "disable", "disable", None),
    ("socket", ["127.0.0.1"], "/var/run/postgresql", "disable", "disable", None),
    ("other-hosts", ["192.0.2.1"], "localhost", "disable", "disable", "passwords need TLS"),
    ("star", ["*"], "localhost", "allow", "disable", "passwords need TLS"),
    ("other-hosts-with-tls", ["192.0.2.1"], "localhost", "require", "disable", None),
    ("far-database", ["127.0.0.1"], "db.example.org", "disable", "require", "checked certificate"),
    ("far-database-checked", ["127.0.0.1"], "10.0.0.5", "disable", "verify-full", None),
]


@pytest.mark.parametrize(
    ("addresses", "host", "client", "server", "why"), [row[1:] for row in NETWORKS], ids=[row[0] for row in NETWORKS]
)
def test_networks(addresses, host, client, server, why):
    problems = pb.pgbouncer_network_problems(addresses, [{"name": "d", "host": host}], client, server, LOCAL)
    assert len(problems) == bool(why)
    assert not why or why in problems[0]


USERS = [
    ("fine", [{"name": "a", "password": "long enough"}], {"stats": ["a"]}, "a", None),
    ("empty-password", [{"name": "a", "password": ""}], {}, "", "has an empty password"),
    ("placeholder", [{"name": "a", "password": "CHANGE_ME_NOW"}], {}, "", "still has a placeholder"),
    ("console-user-unknown", [], {"pgbouncer_stats_users": ["m"]}, "", "pgbouncer_stats_users: 'm' is not in"),
    ("console-user-leaves", [{"name": "m", "state": "absent"}], {"stats": ["m"]}, "", "is not in pgbouncer_users"),
    ("console-user-blank", [{"name": "a b", "password": "xxyyzz1"}], {"stats": ["a b"]}, "", "blank or comma"),
    ("probe-unknown", [], {}, "p", "pgbouncer_probe_user: 'p' is not in"),
]


@pytest.mark.parametrize(
    ("users", "console", "probe", "why"), [row[1:] for row in USERS], ids=[row[0] for row in USERS]
)
def test_users(users, console, probe, why):
    problems = pb.pgbouncer_user_problems(users, console, probe)
    assert len(problems) == bool(why)
    assert not why or why in problems[0]


def rows(**values):
    return [{"key": key, "value": value} for key, value in values.items()]


def test_unapplied_settings_compare_as_the_daemon_shows_them():
    shown = rows(unix_socket_mode="448", query_wait_timeout="120", admin_users=None, listen_addr="a,b", log_stats="1")
    ours = {"unix_socket_mode": "0700", "query_wait_timeout": 120, "admin_users": [], "listen_addr": ["a", "b"]}
    assert pb.pgbouncer_unapplied(shown, {**ours, "log_stats": True}) == []
    assert pb.pgbouncer_unapplied(shown, {**ours, "log_stats": False, "gone": 1}) == ["log_stats", "gone"]


def test_differences_of_a_running_pooler():
    served = {"name": "TovPlay", "host": "127.0.0.1", "port": 5432, "database": "TovPlay", "max_connections": 25}
    answers = [
        [{"version": "PgBouncer 1.18.0"}],
        rows(pkt_buf="4096"),
        [served],
        [{"name": "a"}, {"name": "pgbouncer"}],
    ]

    def told(version="1.18.0", settings=None, cap=25, users=("a",)):
        return pb.pgbouncer_differences(answers, version, settings or {"pkt_buf": 4096}, [TOVPLAY], cap, users)

    assert told() == []
    assert "PgBouncer 1.18.0 runs, pgbouncer_version is 1.24.1" in told(version="1.24.1")[0]
    assert "other values of pkt_buf" in told(settings={"pkt_buf": 8192})[0]
    assert "TovPlay is not served as written (max_connections)" in told(cap=26)[0]
    assert "does not know 'b'" in told(users=["a", "b"])[0]


def test_console_commands():
    shown = [{"name": "pgbouncer", "paused": 0}, {"name": "TovPlay", "paused": "1"}]
    assert pb.pgbouncer_served(shown) == pb.pgbouncer_paused(shown) == ["TovPlay"]
    assert pb.pgbouncer_console("PAUSE", ["TovPlay"]) == ['PAUSE "TovPlay"']


def test_what_the_role_decides_is_known_to_the_table():
    data = yaml.safe_load((ROLE / "vars/main/main.yml").read_text())
    ours = [*data["__pgbouncer_computed"], *data["__pgbouncer_auth_settings"], *data["__pgbouncer_client_tls_settings"]]
    assert set(ours) <= set(PARAMETERS)
