"""The running pooler, in each version: who may ask it what, a crowd on few connections, changes that nobody notices."""

from __future__ import annotations

import json
import re
import time

import pytest
import yaml
from conftest import APP, HOST, MONITOR, ROOT, console, meanwhile, on_host, succeed

testinfra_hosts = [f"docker://{HOST}"]
pytestmark = pytest.mark.usefixtures("version")

# SHOW CONFIG has these, the role's table does not: they are not for an ini file, or have another name there.
NOT_SETTINGS = {"conffile", "user", "service_name"}


def test_every_setting_of_this_version_is_in_the_table(version):
    table = yaml.safe_load((ROOT / "roles/pgbouncer/vars/main/parameters.yml").read_text())["__pgbouncer_parameters"]
    release = tuple(map(int, version.split(".")))
    ours = {k for k, v in table.items() if tuple(map(int, v.get("since", "1").split("."))) <= release}
    assert {row["key"] for row in console("SHOW CONFIG")[0]} - NOT_SETTINGS == ours


def test_the_seeds_figures_run():
    config = {row["key"]: row["value"] for row in console("SHOW CONFIG")[0]}
    wanted = {"listen_port": 6432, "max_client_conn": 1000, "default_pool_size": 25, "max_db_connections": 25}
    wanted |= {"server_idle_timeout": 600, "server_lifetime": 3600}
    assert {key: float(config[key]) for key in wanted} == wanted
    assert config["pool_mode"] == "transaction"


def test_the_monitoring_user_may_look_and_not_touch():
    for what in ("STATS", "POOLS", "CLIENTS", "SERVERS", "DATABASES", "LISTS", "CONFIG"):
        assert on_host("query", statement=f"SHOW {what}", dbname="pgbouncer", **MONITOR)["rows"], what
    for command in ("RELOAD", "PAUSE", "SHUTDOWN", 'KILL "TovPlay"', "SET max_client_conn = 5"):
        assert "admin access needed" in on_host("query", statement=command, dbname="pgbouncer", **MONITOR)["error"]


def test_the_application_has_no_console():
    assert "not allowed" in on_host("query", statement="SHOW STATS", dbname="pgbouncer", **APP)["error"]


def test_nobody_else_is_the_console_user():
    """Neither over TCP nor, with another uid, over the socket (whose mode lets only root come that far)."""
    for parameters in ({}, {"host": "/var/lib/tovplay/pgbouncer"}):
        answer = on_host(
            "query", statement="SHOW STATS", dbname="pgbouncer", user="pgbouncer", password="x", **parameters
        )
        assert "failed" in answer["error"], answer


def test_wrong_password_and_unknown_user_are_refused():
    for person in ({**APP, "password": "wrong"}, {"user": "nobody", "password": "x"}):
        assert "failed" in on_host("query", statement="SELECT 1", **person)["error"]


def test_everybody_keeps_the_own_login():
    for person in (APP, MONITOR):
        answer = on_host("query", statement="SELECT session_user::text AS who, current_user::text AS acts", **person)
        assert answer["rows"] == [{"who": person["user"], "acts": person["user"]}]


def test_show_users_is_the_file_byte_for_byte(host):
    from ansible.module_utils.pgbouncer_userlist import parse

    shown = {row["name"] for row in console("SHOW USERS")[0]}
    ours = set(parse(host.file("/etc/tovplay/pgbouncer/userlist.txt").content.decode()).secrets)
    assert {name.encode() for name in shown - {"pgbouncer"}} == {name.encode() for name in ours}
    assert ours == {APP["user"], MONITOR["user"]}


@pytest.mark.parametrize("container", [False, True], ids=["process", "container"])
def test_the_peer_is_in_the_log_and_in_postgresql(host, version, container):
    statement = "SELECT current_setting('application_name') AS name"
    address, inside = ("172.17.0.1", version) if container else ("127.0.0.1", None)
    answer = on_host("query", statement=statement, container_of=inside, host=address, application_name="shop", **APP)
    name, _, peer = answer["rows"][0]["name"].partition(" - ")
    assert (name, peer.split(":")[1]) == ("shop", str(answer["port"]))
    assert (peer.split(":")[0] == "127.0.0.1") is not container
    assert peer.startswith(("127.0.0.1:", "172.17.0."))
    assert f"TovPlay/{APP['user']}@{peer} login attempt: db=TovPlay user={APP['user']}" in host.check_output(
        "docker logs --since 60s pgbouncer 2>&1"
    )


def test_least_rights_and_enough_descriptors(host):
    container = json.loads(host.check_output("docker inspect pgbouncer"))[0]
    settings = container["HostConfig"]
    assert (settings["CapDrop"], settings["CapAdd"], settings["ReadonlyRootfs"]) == (["ALL"], None, True)
    assert (container["Config"]["User"], container["Config"]["StopSignal"]) == ("6432:6432", "SIGINT")
    limits = host.file(f"/proc/{container['State']['Pid']}/limits").content_string
    assert re.search(r"Max open files\s+4096\s+4096", limits)


def test_files_are_the_daemons_alone(host):
    for name in ("pgbouncer.ini", "userlist.txt"):
        file = host.file(f"/etc/tovplay/pgbouncer/{name}")
        assert (file.uid, file.mode) == (6432, 0o640)
    assert host.file("/etc/tovplay/pgbouncer").mode == 0o750


def test_a_thousand_clients_on_twenty_five_connections():
    console("RECONNECT")  # what the tests before have opened goes
    result = on_host("crowd", count=999, watch=MONITOR, **APP)  # the one who watches is a client as well
    assert (result["clients"], result["errors"], result["answered"]) == (999, [], 999)
    assert result["lists"]["used_clients"] == 1000
    assert result["servers"] == 25


def test_a_reload_under_load_drops_nobody():
    def reload():
        for _ in range(8):
            console("RELOAD")
            time.sleep(0.3)

    answer = meanwhile("load", reload, count=50, **APP)
    assert answer["errors"] == []
    assert answer["transactions"] > 500


def test_postgresql_restarts_and_no_client_notices(host, converge):
    """The role's own tasks around the restart, under load."""
    answer = meanwhile("load", lambda: succeed(converge(playbook="restart.yml")), count=50, **APP)
    assert answer["errors"] == []
    restarted = on_host("query", statement="SELECT extract(epoch FROM pg_postmaster_start_time()) AS at", **APP)
    assert answer["first"] < float(restarted["rows"][0]["at"]) < answer["last"]


def test_kill_9_and_it_is_back(host):
    pid = host.check_output("docker inspect -f '{{.State.Pid}}' pgbouncer")
    host.check_output(f"kill -9 {pid}")
    started = time.monotonic()
    while "rows" not in on_host("query", statement="SELECT 1", **APP):
        assert time.monotonic() - started < 10
        time.sleep(0.2)
