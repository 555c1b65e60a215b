"""One request of an unchanged application: its line, its trace and its row carry the same ids; and what is refused."""

from __future__ import annotations

import hashlib
import json
import secrets as dice
import time
from pathlib import Path

import pytest
import yaml

NAME = "tovplay-app-telemetry"
testinfra_hosts = [f"docker://{NAME}"]

ROOT = Path(__file__).resolve().parents[3]
SECRETS = yaml.safe_load((ROOT / "molecule/shared/group_vars/all/secrets.yml").read_text())
JAEGER = "http://172.17.0.1:16686"
APP = "http://127.0.0.1:8000"
CONTEXT_OF = "SELECT ctx FROM audit.context WHERE strpos(ctx, '%s') > 0"
HASHES = "cd %s && find . -type f -not -name '*.pyc' -exec sha256sum {} + | sort -k 2"


def sql(host, text: str) -> str:
    return host.check_output("cd / && runuser -u postgres -- psql -d TovPlay -XAtc %s", text)


def until(ask, seconds: float = 10):
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def token(host) -> str:
    password = host.check_output("cat /etc/tovplay/sample_app/player_password")
    body = json.dumps({"email": "john@example.com", "password": password})
    said = host.check_output(f"curl -sf -H 'Content-Type: application/json' -d %s {APP}/api/login", body)
    return json.loads(said)["token"]


@pytest.fixture
def ask_for_a_game(host, token):
    """One writing request with ids of its own, as nginx passes them on: (correlation id, trace id, status, seconds)."""

    def run():
        correlation, trace, parent = dice.token_hex(16), dice.token_hex(16), dice.token_hex(8)
        body = json.dumps({"game_id": 1, "players_wanted": 2, "message": correlation})
        done = host.check_output(
            f"curl -s -o /dev/null -w '%%{{http_code}} %%{{time_total}}' -H 'Content-Type: application/json' "
            f"-H 'Authorization: Bearer {token}' -H 'X-Correlation-ID: {correlation}' "
            f"-H 'traceparent: 00-{trace}-{parent}-01' -d %s {APP}/api/game-requests",
            body,
        )
        status, seconds = done.split()
        return correlation, trace, status, float(seconds)

    return run


def lines(host, correlation: str) -> list[dict]:
    said = host.check_output("docker logs --tail 500 tovplay-backend 2>&1").splitlines()
    found = [json.loads(line) for line in said if line.startswith("{")]
    return [line for line in found if line.get("correlation_id") == correlation]


def spans(host, trace: str) -> list[dict]:
    answer = host.run(f"curl --silent --max-time 5 {JAEGER}/api/traces/{trace}")
    data = json.loads(answer.stdout).get("data") if answer.rc == 0 else None
    return data[0]["spans"] if data else []


def test_one_request_is_a_line_a_trace_and_a_row_with_the_same_ids(host, ask_for_a_game):
    correlation, trace, status, _ = ask_for_a_game()
    assert status == "201"
    told = until(lambda: lines(host, correlation))
    assert {line["trace_id"] for line in told} == {trace}
    assert {"42"} <= {str(line.get("user_id")) for line in told}
    found = until(lambda: spans(host, trace))
    tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in found]
    statements = [t for t in tags if t.get("db.system") == "postgresql" or t.get("db.system.name") == "postgresql"]
    assert statements, tags
    row = json.loads(sql(host, CONTEXT_OF % correlation))
    assert (row["cid"], str(row["uid"])) == (correlation, "42")
    assert row["tp"].split("-")[1] == trace


def test_the_applications_files_are_as_its_team_made_them(host):
    """Beside the same image without telemetry, and beside the checkout."""
    image = host.check_output("docker inspect --format '{{.Config.Image}}' tovplay-backend")
    observed = host.check_output("docker exec tovplay-backend sh -c %s", HASHES % "/srv/tovplay")
    alone = host.check_output(f"docker run --rm --network none {image} sh -c %s", HASHES % "/srv/tovplay")
    assert observed == alone
    assert observed.count("\n") > 10
    source = ROOT / "examples/tovplay/tovplay/routes/requests.py"
    shas = {line.split()[1].removeprefix("./"): line.split()[0] for line in observed.splitlines()}
    assert shas["tovplay/routes/requests.py"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_nobody_in_the_container_can_change_the_package_or_read_more_than_the_key(host):
    assert host.run("docker exec --user 0 tovplay-backend touch /opt/tovplay/telemetry/x").rc != 0
    assert (
        host.check_output("docker exec tovplay-backend cat /run/secrets/tovplay_context_key")
        == (SECRETS["vault_audit_context_key"])
    )
    folder = host.file("/etc/tovplay/app_telemetry/tovplay-backend")
    assert (folder.mode, folder.user) == (0o700, "root")
    assert host.file(f"{folder.path}/telemetry.env").mode == 0o600


def test_without_jaeger_the_application_serves(host, ask_for_a_game):
    host.check_output("docker stop --time 1 jaeger")
    answers = [ask_for_a_game() for _ in range(5)]
    host.check_output("docker start jaeger")
    assert {status for _, _, status, _ in answers} == {"201"}
    assert max(seconds for _, _, _, seconds in answers) < 2
    assert lines(host, answers[-1][0])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"app_telemetry_proof_pooler_addresses": ["192.0.2.1"]},
            "has sessions at PostgreSQL that did not come through the pooler, from 127.0.0.1; point that",
        ),
        (
            {"app_telemetry_proof_direct_address": "172.17.0.1:6432"},
            "own login at 172.17.0.1:6432 was not refused by pg_hba, but: open; let only the pooler's addresses in",
        ),
    ],
    ids=["a session past the pooler", "a login past the pooler"],
)
def test_the_proof_bites(converge, variables, sentence):
    done = converge(playbook="prove.yml", **variables)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert sentence in said
    assert not [secret for secret in SECRETS.values() if secret in done.stdout]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"app_telemetry_pooler_address": "localhost:6432"}, "which inside a container is the container itself"),
        ({"app_telemetry_context_key": "short"}, "app_telemetry_context_key has less than 32 characters"),
        ({"app_telemetry_image": "tovplay/telemetry"}, "has no pinned tag"),
    ],
    ids=["localhost", "short key", "no tag"],
)
def test_refusals(refusal, variables, sentence):
    refusal(sentence, **variables)
