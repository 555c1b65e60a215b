"""The role: what it refuses, what a change costs the clients, and what a converge that died leaves to the next."""

from __future__ import annotations

import pytest
from conftest import APP, HOST, MONITOR, console, meanwhile, on_host, succeed

testinfra_hosts = [f"docker://{HOST}"]
INI = "/etc/tovplay/pgbouncer/pgbouncer.ini"
LIVE = "/etc/tovplay/pgbouncer/userlist.txt"
MARKER = "/var/lib/tovplay/applied/pgbouncer"


@pytest.fixture(scope="module", autouse=True)
def as_the_scenario_has_it(converge):
    """Both versions have been here before."""
    succeed(converge())


def started(host) -> str:
    return host.check_output("docker inspect -f '{{.State.StartedAt}}' pgbouncer")


def setting(name: str) -> str:
    return next(row["value"] for row in console("SHOW CONFIG")[0] if row["key"] == name)


def test_everything_that_a_type_cannot_say_in_one_refusal(refusal):
    said = refusal(
        "pgbouncer_databases: TovPlay 25 + reports 60 = 85 server connections, but PostgreSQL at 127.0.0.1:5432 "
        "leaves 77 (100 max_connections - 3 for superusers - 20 kept for direct clients)",
        pgbouncer_databases=[
            {"name": "TovPlay"},
            {"name": "reports", "max_db_connections": 60},
            {"name": 'a"b', "host": "db2"},
        ],
        pgbouncer_listen_addresses=["127.0.0.1", "192.0.2.7"],
        pgbouncer_limit_nofile=512,
        pgbouncer_settings={"max_client_con": 5, "listen_port": 1, "transaction_timeout": 5},
        pgbouncer_users=[{"name": "tovplay_monitor", "password": "changeme"}],
        pgbouncer_admin_users=["ghost"],
    )
    for sentence in (
        """'a"b' is a name that pgbouncer.ini cannot hold""",
        "db2:5432 is another host, so the connection needs TLS and a checked certificate",
        "other hosts reach 192.0.2.7, so passwords need TLS",
        "file descriptors, but the limit is 512",
        "max_client_con is no setting of PgBouncer",
        "listen_port is decided by an input",
        "transaction_timeout came with PgBouncer 1.25 and this host runs 1.18.0",
        "'tovplay_monitor' still has a placeholder as its password",
        "pgbouncer_admin_users: 'ghost' is not in pgbouncer_users",
    ):
        assert sentence in said
    assert "changeme" not in said


def test_wrong_types_are_refused_together(refusal):
    """A forced user= would erase who did what, so it is no option at all."""
    said = refusal(
        "value of pgbouncer_pool_mode must be one of",
        pgbouncer_pool_mode="sessions",
        pgbouncer_port="six",
        pgbouncer_databases=[{"name": "TovPlay", "user": "everybody"}],
    )
    assert "pgbouncer_port" in said
    assert "pgbouncer_databases.user" in said


def test_what_the_daemon_refuses_never_lands(host, converge):
    before = host.file(INI).content, started(host)
    done = converge(pgbouncer_client_tls_sslmode="require", pgbouncer_settings={"client_tls_protocols": "nonsense"})
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "the old files are untouched" in said
    assert "nonsense" in said
    assert (host.file(INI).content, started(host)) == before
    assert "rows" in on_host("query", statement="SELECT 1", **APP)


def test_a_setting_that_can_be_reloaded_keeps_every_client(host, converge):
    before = started(host)
    answer = meanwhile("held", lambda: succeed(converge(pgbouncer_settings={"query_timeout": 600})), **APP)
    assert answer["rows"] == [{"session_user": APP["user"]}]
    assert float(setting("query_timeout")) == 600
    assert started(host) == before


def test_a_setting_that_needs_a_restart_gets_one(host, converge):
    before = started(host)
    succeed(converge(pgbouncer_settings={"pkt_buf": 8192}))
    assert setting("pkt_buf") == "8192"
    assert started(host) != before


def test_tls_on_both_sides(host, converge):
    tls = {"pgbouncer_client_tls_sslmode": "require", "pgbouncer_server_tls_sslmode": "verify-full"}
    succeed(converge(**tls, pgbouncer_admin_users=["tovplay_monitor"]))
    assert "SSL required" in on_host("query", statement="SELECT 1", sslmode="disable", **APP)["error"]
    checked = {"sslmode": "verify-full", "sslrootcert": "/etc/tovplay/pki/ca.crt"}
    assert "rows" in on_host("query", statement="SELECT 1", **checked, **APP)
    servers = on_host("query", statement="SHOW SERVERS", dbname="pgbouncer", **checked, **MONITOR)["rows"]
    assert [row["tls"].split("/")[0] for row in servers] == ["TLSv1.3"] * len(servers) != []
    # While it lasts: who is named an admin is one over TCP too.
    assert on_host("query", statement="RELOAD", dbname="pgbouncer", **checked, **MONITOR)["rows"] == []


def test_a_transaction_that_does_not_end_is_not_waited_for(converge):
    def pause():
        done = converge(playbook="restart.yml", pgbouncer_pause_timeout=2)
        assert done.returncode != 0
        assert "PgBouncer could not be paused within 2 s" in " ".join(done.stdout.split()), done.stdout[-2000:]

    answer = meanwhile("held", pause, begin=True, **APP)
    assert answer["rows"] == [{"session_user": APP["user"]}], answer
    assert "rows" in on_host("query", statement="SELECT 1", **APP)


def test_nothing_to_pause_is_refused_or_fine_as_asked(host, converge):
    host.check_output("docker stop pgbouncer")
    try:
        done = converge(playbook="restart.yml", pgbouncer_pause_requires_pooler=True)
        assert done.returncode != 0
        assert f"No PgBouncer answers on {HOST}" in " ".join(done.stdout.split()), done.stdout[-2000:]
        succeed(converge(playbook="restart.yml", pgbouncer_pause_requires_pooler=False))
    finally:
        host.check_output("docker start pgbouncer")


def test_check_mode_shows_names_and_no_secret(host, converge):
    before = host.file(LIVE).content
    rotated = [{"name": APP["user"], "password": "rotated secret 1"}]
    rotated += [{"name": MONITOR["user"], "password": MONITOR["password"]}]
    out = succeed(converge(check=True, pgbouncer_users=rotated))
    assert f'+"{APP["user"]}" scram-sha-256 (new secret)' in out
    assert "rotated secret" not in out
    assert "SCRAM-SHA-256$" not in out
    assert host.file(LIVE).content == before


@pytest.mark.long
def test_what_a_dead_converge_left_the_next_one_finishes(host, converge):
    """Killed between file and reload, while the pooler was paused; and somebody has edited the userlist by hand."""
    succeed(converge())
    console('PAUSE "TovPlay"')
    host.check_output(f"rm {MARKER} && printf '\"half a line' >> {LIVE}")
    since = host.check_output("date +%s")
    succeed(converge())
    assert "RELOAD command issued" in host.check_output(f"docker logs --since {since} pgbouncer 2>&1")
    assert host.file(MARKER).exists
    assert host.file(LIVE).content.count(b"\n") == 2
    assert [row["paused"] for row in console("SHOW DATABASES")[0] if row["name"] == "TovPlay"] == ["0"]
    assert "rows" in on_host("query", statement="SELECT 1", **APP)
    assert "changed=0" in succeed(converge())
