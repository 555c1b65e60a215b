"""The running Elasticsearch: who may do what, what a timer deletes, and what comes back from a snapshot."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

NAME = "tovplay-elk"
testinfra_hosts = [f"docker://{NAME}"]

SECRETS = yaml.safe_load((Path(__file__).parents[2] / "shared/group_vars/all/secrets.yml").read_text())
URL = "https://localhost:9200"


def ask(host, user: str, method: str, path: str, body: str = "") -> tuple[int, dict]:
    """Status and body of an answer; an empty `user` has no login."""
    secret = user.replace("tovplay_", "vault_elk_") + "_password"
    login = f"-u {user}:{shlex.quote(SECRETS[secret])}" if user else ""
    data = f"-H 'Content-Type: application/x-ndjson' --data-binary {shlex.quote(body)}" if body else ""
    options = "--silent --show-error --max-time 30 --cacert /etc/tovplay/pki/ca.crt --write-out '\\n%{http_code}'"
    done = host.run(f"curl {options} {login} {data} -X {method} '{URL}/{path}'")
    assert done.rc == 0, done.stderr
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text) if text.startswith(("{", "[")) else {}


def index_of(log_class: str, days_ago: int) -> str:
    return f"tovplay-{log_class}-{datetime.now(UTC) - timedelta(days=days_ago):%Y.%m.%d}"


def write(host, index: str, *lines: str) -> None:
    body = "".join(
        json.dumps({"create": {"_index": index}})
        + "\n"
        + json.dumps({"@timestamp": datetime.now(UTC).isoformat(), "message": line, "user": "Raz T"})
        + "\n"
        for line in lines
    )
    status, answer = ask(host, "tovplay_writer", "POST", "_bulk", body)
    assert (status, answer["errors"]) == (200, False), answer


def counts(host) -> dict[str, int]:
    assert ask(host, "tovplay_admin", "POST", "tovplay-*/_refresh")[0] == 200
    _, rows = ask(host, "tovplay_admin", "GET", "_cat/indices/tovplay-*?format=json&h=index,docs.count")
    return {row["index"]: int(row["docs.count"]) for row in rows}


@pytest.fixture(autouse=True)
def empty(host):
    for index in counts(host):
        assert ask(host, "tovplay_admin", "DELETE", index)[0] == 200


def test_it_is_green_and_has_half_of_its_memory_as_heap(host):
    status, health = ask(host, "tovplay_reader", "GET", "_cluster/health")
    assert (status, health["status"], health["number_of_nodes"]) == (200, "green", 1)
    assert "-Xmx512m" in host.check_output("docker top elasticsearch -o pid,args")


def test_it_answers_on_loopback_with_tls_only(host):
    listening = {line.split()[3] for line in host.check_output("ss -Hltn").splitlines()}
    found = {address for address in listening if address.endswith((":9200", ":9300"))}
    assert {address.strip("[]").replace("[::ffff:127.0.0.1]", "127.0.0.1") for address in found} == {
        "127.0.0.1:9200",
        "127.0.0.1:9300",
    }
    assert host.run("curl --silent --max-time 5 http://localhost:9200/").rc != 0


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        ("", "GET", "_cluster/health", 401),
        ("tovplay_reader", "DELETE", "tovplay-audit-2026.01.01", 403),
        ("tovplay_reader", "POST", "tovplay-audit-2026.01.01/_doc", 403),
        ("tovplay_writer", "GET", "tovplay-audit-2026.01.01/_search", 403),
        ("tovplay_writer", "DELETE", "tovplay-audit-2026.01.01", 403),
    ],
)
def test_nobody_may_do_more_than_they_must(host, user, method, path, status):
    write(host, "tovplay-audit-2026.01.01", "evidence")
    body = '{"message": "forged"}' if path.endswith("_doc") else ""
    assert ask(host, user, method, path, body)[0] == status


def test_a_word_of_a_line_and_a_whole_field_are_found(host):
    write(host, index_of("audit", 0), "DELETE FROM games by a careless person", "SELECT 1")
    assert sum(counts(host).values()) == 2
    for query in ("message:careless", 'user:"Raz T" AND message:delete'):
        status, found = ask(
            host,
            "tovplay_reader",
            "GET",
            f"tovplay-audit-*/_search?q={query.replace(' ', '%20').replace(chr(34), '%22')}",
        )
        assert status == 200
        assert [hit["_source"]["message"] for hit in found["hits"]["hits"]] == [
            "DELETE FROM games by a careless person"
        ]


def test_the_timer_deletes_what_its_class_no_longer_keeps(host):
    kept = [index_of("audit", 90), index_of("debug", 7), index_of("container", 30)]
    gone = [index_of("audit", 92), index_of("debug", 9), index_of("container", 32)]
    for index in kept + gone:
        write(host, index, "a line")
    host.check_output("systemctl start tovplay-search-retain.service")
    assert sorted(counts(host)) == sorted(kept)
    assert host.service("tovplay-search-retain.timer").is_running


def test_a_snapshot_restored_into_an_emptied_node_gives_the_same_counts(host):
    write(host, index_of("audit", 1), *(f"line {number}" for number in range(250)))
    write(host, index_of("application", 0), "one", "two")
    before = counts(host)
    assert sorted(before.values()) == [2, 250]
    host.check_output("systemctl start tovplay-search-snapshot.service")
    for index in before:
        assert ask(host, "tovplay_admin", "DELETE", index)[0] == 200
    assert counts(host) == {}
    host.check_output("tovplay-search restore")
    assert counts(host) == before
    assert "tovplay_search_snapshot_seconds " in host.file("/var/lib/tovplay/metrics/elasticsearch.prom").content_string


def test_only_the_newest_snapshots_are_kept_and_a_missing_one_is_said(host):
    names = [json.loads(host.check_output("sleep 1; tovplay-search snapshot"))["snapshot"] for _ in range(3)]
    _, answer = ask(host, "tovplay_admin", "GET", "_snapshot/tovplay/_all")
    assert [one["snapshot"] for one in answer["snapshots"]] == names[1:]
    done = host.run("tovplay-search restore nosuch")
    assert (done.rc, done.stderr) == (
        1,
        "tovplay-search: There is no complete snapshot nosuch; tovplay-search snapshot takes one.\n",
    )


def test_no_password_is_readable_or_visible(host):
    settings = host.file("/etc/tovplay/elk/settings.json")
    assert (settings.user, settings.mode) == ("root", 0o600)
    seen = host.check_output("docker inspect elasticsearch; ps axww; docker logs elasticsearch 2>&1")
    assert not [name for name, value in SECRETS.items() if name.startswith("vault_elk_") and value in seen]


def test_settings_that_cannot_work_are_refused(refusal):
    said = refusal(
        "vault_elk_reader_password is missing, a placeholder or shorter than 12 characters",
        elk_reader_password="short",
        elk_memory="256m",
        elk_retention={"audit": "90d"},
        elk_members=["elsewhere"],
    )
    for sentence in (
        "elk_memory is 256m; write at least 768m",
        "The retention of audit is 90d; write whole hours",
        "elk_members does not name tovplay-elk",
        "A cluster's nodes cannot reach each other on loopback",
    ):
        assert sentence in said
