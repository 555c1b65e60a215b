"""The application through its real pooler and database, its tables and words, and what converges leave alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from psycopg2.extensions import parse_dsn

NAME = "tovplay-sample-app"
testinfra_hosts = [f"docker://{NAME}"]

SECRETS = yaml.safe_load((Path(__file__).parents[2] / "shared/group_vars/all/secrets.yml").read_text())
COUNT = 'SELECT count(*) FROM "%s"'
TABLES = {"User": 300, "Game": 30, "GameRequest": 900, "ScheduledSession": 300, "UserFriends": 600}


def sql(host, text: str) -> str:
    return host.check_output("cd / && runuser -u postgres -- psql -d TovPlay -XAtc %s", text)


@pytest.fixture(scope="module")
def player_password(host) -> str:
    return host.check_output("cat /etc/tovplay/sample_app/player_password")


@pytest.fixture(scope="module")
def call(host):
    """`call("GET", "/path", token, body)`: status, headers and body, asked on the host."""
    script = (
        "import http.client, json, sys\n"
        "method, path, token, body = json.loads(sys.argv[1])\n"
        "connection = http.client.HTTPConnection('127.0.0.1', 8000, timeout=30)\n"
        "headers = {'Content-Type': 'application/json'} | ({'Authorization': 'Bearer ' + token} if token else {})\n"
        "connection.request(method, path, body and json.dumps(body), headers)\n"
        "answer = connection.getresponse()\n"
        "print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))\n"
    )

    def run(method: str, path: str, token: str | None = None, body: dict | None = None):
        status, headers, text = json.loads(
            host.check_output("python3 -c %s %s", script, json.dumps([method, path, token, body]))
        )
        return status, headers, json.loads(text) if text.startswith(("{", "[")) else text

    return run


@pytest.fixture(scope="module")
def log_in(call, player_password):
    def run(email: str) -> str:
        status, _, body = call("POST", "/api/login", None, {"email": email, "password": player_password})
        assert status == 200, body
        return body["token"]

    return run


@pytest.fixture(scope="module")
def admin(log_in):
    return log_in("admin@example.com")


def words(host, container: str = "tovplay-backend") -> list[dict]:
    lines = host.check_output(f"docker logs --tail 400 {container} 2>&1").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_the_five_tables_are_there_filled_and_the_owners(host):
    owners = sql(host, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == "tovplay_owner"
    for table, least in TABLES.items():
        assert int(sql(host, COUNT % table)) >= least, table


def test_the_migrations_make_what_the_models_say(host):
    secrets = "--volume /etc/tovplay/sample_app:/run/secrets:ro --env PGPASSFILE=/run/secrets/pgpass"
    url = "--env MIGRATION_DATABASE_URL=postgresql://tovplay_migrator@host.docker.internal/TovPlay"
    bridge = "--add-host host.docker.internal:host-gateway"
    said = host.run(f"docker run --rm {secrets} {url} {bridge} tovplay/sample-app:0.1.0 alembic check")
    assert said.rc == 0, said.stdout + said.stderr


def test_the_application_may_not_change_tables(host):
    for right in ("TRUNCATE", "REFERENCES", "TRIGGER"):
        assert sql(host, f"""SELECT has_table_privilege('raz@tovtech.org', '"User"', '{right}')""") == "f"
    for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        assert sql(host, f"""SELECT has_table_privilege('raz@tovtech.org', '"User"', '{right}')""") == "t"


def test_the_database_address_is_one_that_libpq_reads_too(host):
    """SQLAlchemy forgives an unescaped `@`; every other client of the same variable does not."""
    environment = json.loads(host.check_output("docker inspect --format '{{json .Config.Env}}' tovplay-backend"))
    (address,) = [value.partition("=")[2] for value in environment if value.startswith("DATABASE_URL=")]
    assert parse_dsn(address) == {
        "user": "raz@tovtech.org",
        "password": SECRETS["vault_postgresql_app_password"],
        "host": "host.docker.internal",
        "port": "6432",
        "dbname": "TovPlay",
    }


def test_the_application_comes_through_the_pooler_alone(host, call, admin):
    call("GET", "/api/users", admin)
    addresses = sql(
        host,
        "SELECT DISTINCT client_addr, application_name ~ '172\\.17\\.' FROM pg_stat_activity"
        " WHERE usename = 'raz@tovtech.org'",
    )
    assert addresses == "127.0.0.1|t", "PgBouncer's address, and behind it the container's"


def test_reads_and_writes_survive_transaction_pooling(call, admin):
    for number in range(30):
        body = {"game_id": 1 + number % 5, "players_wanted": 1, "message": f"round {number} 🎲"}
        status, headers, made = call("POST", "/api/game-requests", admin, body)
        assert (status, headers["X-User-Id"], made["message"]) == (201, "1", body["message"])


def test_deleting_a_player_takes_everything_along_and_says_why(host, call, admin):
    mine = int(sql(host, 'SELECT count(*) FROM "GameRequest" WHERE requester_id = 77'))
    assert mine > 0
    reason = "asked by mail; GDPR 17"
    status, _, body = call("DELETE", f"/api/delete-user/77?reason={quote(reason)}", admin)
    assert status == 200, body
    assert body["records_deleted"] > mine
    for query in (
        'SELECT count(*) FROM "User" WHERE id = 77',
        'SELECT count(*) FROM "GameRequest" WHERE requester_id = 77',
        'SELECT count(*) FROM "ScheduledSession" WHERE host_id = 77',
        'SELECT count(*) FROM "UserFriends" WHERE 77 IN (user_id, friend_id)',
    ):
        assert sql(host, query) == "0", query
    said = [line for line in words(host) if line.get("target_user") == 77]
    assert [line["action"] for line in said] == ["DELETE_USER", "DELETE_USER_COMPLETE"]
    assert (said[0]["action_reason"], said[0]["user_id"]) == (reason, 1)


def test_a_failed_login_is_one_line_of_json(host, call):
    hostile = 'mallory"\n{"action":"LOGIN"}@example.com'
    status, _, _ = call("POST", "/api/login", None, {"email": hostile, "password": "guess"})
    assert status == 401
    line = next(line for line in reversed(words(host)) if line.get("email") == hostile.lower())
    assert (line["action"], line["status"], line["level"]) == ("AUTH_FAILED", "AUTH_FAILED", "WARNING")
    assert "guess" not in json.dumps(line)


def test_the_slow_and_the_failing_endpoint(call, admin):
    began = time.monotonic()
    assert call("GET", "/api/reports/activity?seconds=1", admin)[0] == 200
    assert time.monotonic() - began >= 1
    assert call("GET", "/api/reports/revenue", admin)[0] == 500


def test_the_page(call):
    status, _, page = call("GET", "/")
    assert status == 200
    assert page.count("</head>") == 1 and "<button" in page


def test_players_play(host):
    def made() -> int:
        return int(sql(host, 'SELECT max(id) FROM "GameRequest"'))

    before = made()
    for _ in range(60):
        if made() > before:
            break
        time.sleep(0.5)
    assert made() > before
    assert any(line.get("action") == "AUTH_FAILED" for line in words(host)), "some mistype their password"


def test_the_containers_have_least_rights_and_show_no_secret(host):
    for name in ("tovplay-backend", "tovplay-traffic"):
        inspected = json.loads(host.check_output(f"docker inspect {name}"))[0]
        assert inspected["HostConfig"]["ReadonlyRootfs"] is True
        assert inspected["HostConfig"]["CapDrop"] == ["ALL"]
        assert inspected["Config"]["User"].startswith("10001")
        assert not [value for value in SECRETS.values() if value in json.dumps([inspected["Path"], inspected["Args"]])]
    listening = host.check_output("ss -Hltn sport = :8000").split()[3]
    assert listening == "127.0.0.1:8000"
    directory = host.file("/etc/tovplay/sample_app")
    assert (directory.mode, directory.uid) == (0o700, 10001)
    assert host.file("/etc/tovplay/sample_app/pgpass").mode == 0o400


def test_nothing_is_left_of_the_migration(host):
    assert "tovplay-migrate" not in host.check_output("docker ps --all --format '{{.Names}}'")


@pytest.mark.long
def test_without_the_pooler_the_converge_says_what_is_missing(host, converge):
    host.check_output("docker stop pgbouncer")
    done = converge(sample_app_traffic=False)
    host.check_output("docker start pgbouncer")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "role pgbouncer comes first: ansible-playbook site.yml --tags pgbouncer." in said


def test_without_the_database_the_converge_says_what_is_missing(converge):
    done = converge(sample_app_migration_port=5999, sample_app_traffic=False)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "Connection refused" in said
    assert (
        "Roles docker_host and postgresql come first: ansible-playbook site.yml --tags docker_host,postgresql." in said
    )


def test_a_wiped_table_stays_wiped_and_no_secret_is_told(host, converge, player_password, monkeypatch):
    """Made-up rows must never cover the traces of a wipe; and this converge tells all that Ansible can tell."""
    host.check_output("docker stop tovplay-traffic tovplay-backend")
    sql(host, 'DROP TABLE "UserFriends", "ScheduledSession", "GameRequest", "Game", "User", alembic_version')
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "3")
    done = converge(sample_app_traffic=False)
    rows = sql(host, 'SELECT (SELECT count(*) FROM "User") + (SELECT count(*) FROM "Game")')
    assert done.returncode == 0, done.stdout[-3000:]
    assert rows == "0"
    assert "tovplay-traffic" not in host.check_output("docker ps --all --format '{{.Names}}'")
    hidden = [*SECRETS.values(), player_password, quote(SECRETS["vault_postgresql_app_password"])]
    assert not [secret for secret in hidden if secret in done.stdout]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"sample_app_secret_key": "CHANGE_ME_BEFORE_USE", "sample_app_migration_password": ""},
            "tovplay-sample-app: sample_app_migration_password, sample_app_secret_key: empty, a placeholder or shorter "
            "than 12 characters; put generated values into the inventory's Ansible Vault file.",
        ),
        ({"sample_app_players": 3}, "sample_app_players is 3 and sample_app_traffic_rate 20; give at least 50 players"),
        ({"sample_app_image": "tovplay/sample-app"}, "has no pinned tag"),
    ],
    ids=["useless secrets", "too few players", "no tag"],
)
def test_refusals(refusal, variables, sentence):
    assert "CHANGE_ME_BEFORE_USE" not in refusal(sentence, **variables)
