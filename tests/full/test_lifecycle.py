"""The platform is taken off the demo, then its data, too; what is not ours stays byte for byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROD, WATCH = "tovplay-prod", "tovplay-watch"
HBA = "/etc/postgresql/15/main/pg_hba.conf"
FOREIGN_VHOST = "server { listen 127.0.0.1:8099; location / { return 200 'foreign'; } }\n"
FOREIGN_RULE = "# a rule of somebody else\nhost  shop   shop\t\t10.9.8.7/32     scram-sha-256   # kept\n"
CHECKSUM = 'SELECT md5(string_agg(t::text, chr(10) ORDER BY id)) FROM "{table}" t'


def on(host: str, command: str) -> str:
    done = subprocess.run(["docker", "exec", host, "sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def sql(query: str, database: str = "TovPlay") -> str:
    command = ["docker", "exec", "-i", PROD, "runuser", "-u", "postgres", "--", "psql", "-XAt", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run([*command, "-d", database], input=query, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def play(*arguments: str) -> str:
    done = subprocess.run(["ansible-playbook", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return done.stdout


def rows() -> dict[str, str]:
    return {table: sql(CHECKSUM.format(table=table)) for table in ("User", "Game", "ScheduledSession")}


def foreign() -> dict[str, str]:
    """What must not change, as it is now."""
    rules = on(PROD, f"sed '/^# BEGIN tovplay/,/^# END tovplay/d' {HBA}")
    return {
        "rules": rules,
        "vhost": on(PROD, "cat /etc/nginx/conf.d/foreign.conf"),
        "answer": on(PROD, "curl -sf 127.0.0.1:8099"),
        "daemon.json": on(PROD, "cat /etc/docker/daemon.json"),
        "container": on(PROD, "docker inspect --format '{{.Id}} {{.State.StartedAt}}' foreign"),
        "shop": sql("SELECT string_agg(t::text, ',' ORDER BY id) FROM goods t", "shop"),
    }


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    subprocess.run(
        ["docker", "exec", "-i", PROD, "sh", "-c", "cat >/etc/nginx/conf.d/foreign.conf"],
        input=FOREIGN_VHOST, text=True, check=True,
    )  # fmt: skip
    subprocess.run(
        ["docker", "exec", "-i", PROD, "sh", "-c", f"cat >>{HBA}"], input=FOREIGN_RULE, text=True, check=True
    )
    on(PROD, "nginx -t -q && systemctl reload nginx && sleep 1")
    sql("CREATE ROLE shop LOGIN", "postgres")
    sql("CREATE DATABASE shop OWNER shop", "postgres")
    sql("CREATE TABLE goods AS SELECT n AS id, 'thing ' || n AS name FROM generate_series(1, 500) n", "shop")
    image = on(PROD, "docker images --quiet tovplay/sample-app").strip()
    sleep = "--entrypoint /opt/venv/bin/python3 " + image + " -c 'import time; time.sleep(1e6)'"
    on(PROD, f"docker run -d --name foreign --network none {sleep}")
    # A made-up player's click in between would change rows.
    on(PROD, "docker rm -f tovplay-traffic tovplay-backend 2>&1")
    return foreign()


def left_behind(host: str) -> str:
    """Units, containers, vhosts and programs of ours; empty when they are gone."""
    return on(
        host,
        "find /etc/systemd/system -name 'tovplay-*'; docker ps -aq --filter label=org.tovplay.component;"
        "ls -d /etc/nginx/conf.d/tovplay-* /usr/local/lib/tovplay /usr/local/bin/* /opt/tovplay 2>/dev/null || true;"
        "systemctl list-units --failed --no-legend --plain 'tovplay-*' 'postgresql*' nginx docker",
    ).strip()


def uninstall(*arguments: str) -> None:
    play("playbooks/uninstall.yml", "-e", "uninstall_confirm=uninstall", *arguments)


def test_it_goes_only_when_told(planted: dict[str, str]) -> None:
    refused = subprocess.run(
        ["ansible-playbook", "playbooks/uninstall.yml", "-e", "uninstall_confirm=yes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "Nothing was changed" in refused.stdout
    assert left_behind(PROD)


def test_it_leaves_rows_and_foreign_files_as_they_were(planted: dict[str, str]) -> None:
    before = rows()
    uninstall()
    assert foreign() == planted
    assert rows() == before
    assert {host: left_behind(host) for host in (PROD, WATCH)} == {PROD: "", WATCH: ""}
    assert sql("SELECT count(*) FROM pg_event_trigger") == "0"
    assert sql("SELECT count(*) FROM pg_publication") == "0"
    assert sql("SELECT count(*) FROM pg_replication_slots") == "0"
    assert sql("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == "0"
    assert sql("SHOW shared_preload_libraries") == ""
    assert on(WATCH, "ls -A /var/lib/tovplay/loki")
    assert on(WATCH, "runuser -u postgres -- psql -XAt -p 5433 -d vault -c 'SELECT count(*) FROM vault.history'")


def test_access_rules_are_those_of_debian_and_the_foreign_one() -> None:
    on(PROD, "pg_createcluster 15 fresh >/dev/null")
    try:
        assert on(PROD, f"cat {HBA}") == on(PROD, f"cat {HBA.replace('main', 'fresh')}") + FOREIGN_RULE
    finally:
        on(PROD, "pg_dropcluster 15 fresh")


def test_with_data_nothing_of_it_is_left(planted: dict[str, str]) -> None:
    before = rows()
    uninstall("-e", "uninstall_data=true")
    assert foreign() == planted
    assert rows() == before
    for host in (PROD, WATCH):
        assert left_behind(host) == ""
        left = on(host, "ls -A /etc/tovplay /var/lib/tovplay /var/log/tovplay 2>/dev/null || true").split()
        assert [one for one in left if not one.startswith("/")] == ["images"]
    assert "vault" not in on(WATCH, "pg_lsclusters --no-header")
