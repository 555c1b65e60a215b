"""Every alert on the log, end to end: a line in Loki becomes a message in Discord that says who, what and where."""

from __future__ import annotations

import json
import time

import pytest
from watch import LOKI, alert, forget, get, message_with, push, raise_alerts, wait_for

AUDIT = {"job": "postgres-audit", "log_class": "audit"}
DATABASE = {"job": "postgres", "log_class": "database"}
NGINX = {"job": "nginx", "log_class": "nginx"}
PERSON = {"db_user": "mallory", "db_name": "TovPlay", "client_addr": "10.0.0.66", "pg_session_id": "66.1"}


def statement(text: str, action: str, audit_class: str, object_name: str = "", **person: str) -> tuple:
    metadata = {**PERSON, **person, "action": action, "audit_class": audit_class, "statement": text}
    return (
        AUDIT,
        json.dumps({"message": f"AUDIT: {text}"}),
        {**metadata, **({"object_name": object_name} if object_name else {})},
    )


def guard(verdict: str, kind: str = "mass_change", reason: str | None = None) -> tuple:
    detail = {"table": '"Game"', "command": "DELETE", "rows": 4711, "limit": 1000}
    said = {"db_user": "mallory", "kind": kind, "verdict": verdict, "reason": reason, "detail": detail}
    return DATABASE, json.dumps({"message": f"AUDIT-GUARD: {json.dumps(said)}"}, separators=(",", ":")), PERSON


def heartbeat(fingerprint: str) -> tuple:
    line = {"event": "audit_heartbeat", "database": "TovPlay", "fingerprint": fingerprint}
    return {"job": "journald", "log_class": "platform"}, json.dumps(line), {}


def nginx(status: int, path: str, method: str = "POST", **more: str) -> tuple:
    metadata = {"http_status": str(status), "path": path, "method": method, "ip_address": "203.0.113.9", **more}
    return NGINX, json.dumps({"path": path}), metadata


def postgres(sqlstate: str, message: str) -> tuple:
    return DATABASE, json.dumps({"message": message}), {**PERSON, "sqlstate": sqlstate}


# name: (lines, words of the message)
CASES = {
    "TRUNCATE": ([statement('TRUNCATE "User" CASCADE', "TRUNCATE TABLE", "WRITE")], ["CRITICAL", "TRUNCATE TABLE", "User", "mallory", "10.0.0.66", "TovPlay on prod", "whodunit last", "docs/runbooks/DatabaseModificationDetected.md"]),
    "DROP": ([statement('DROP TABLE "Game"', "DROP TABLE", "DDL", "public.Game")], ["CRITICAL", "DROP TABLE of public.Game", "mallory"]),
    "ALTER": ([statement("ALTER TABLE x ADD y int", "ALTER TABLE", "DDL", "public.x", db_user="tovplay_migrator")], ["ALTER TABLE of public.x", "tovplay"]),
    "foreign write": ([statement("DELETE FROM x", "DELETE", "WRITE", "public.x", db_user="postgres")], ["DELETE of public.x by postgres"]),
    "too many rows": ([guard("warned")], ["4711 rows", "Game", "mallory", "warned"]),
    "refused": ([guard("blocked")], ["The guard refused", "mallory", "whodunit attempts"]),
    "reason given": ([guard("allowed", reason="ticket 7")], ["passed the guard", "ticket 7"]),
    "tampering": ([statement("ALTER SYSTEM SET pgaudit.log = 'none'", "ALTER SYSTEM", "DDL")], ["changing the audit itself", "pgaudit.log", "AuditTampering"]),
    "replica role": ([statement("SET session_replication_role = replica", "SET", "MISC")], ["session", "replication", "ReplicaRoleBypass"]),
    "fingerprint": ([heartbeat("one"), heartbeat("two")], ["What the audit of TovPlay on prod rests on has changed"]),
    "user deleted": ([({"job": "flask-api", "log_class": "application"}, "{}", {"action": "DELETE_USER", "user_id": "7", "email": "boss@example.com", "target_user": "42", "status": "SUCCESS"})], ["User 42 deleted by boss@example.com: SUCCESS"]),
    "deletion failed": ([nginx(403, "/api/delete-user/42", "DELETE", user_id="8")], ["Deletion of a user failed", "/api/delete-user/42", "403"]),
    "logins": ([nginx(401, "/api/login")] * 21, ["failed logins from 203.0.113.9"]),
    "database logins": ([postgres("28P01", "password authentication failed")] * 6, ["failed logins at PostgreSQL as mallory"]),
    "errors": ([nginx(502, "/api/games")] * 7, ["of the requests on prod fail"]),
    "timeouts": ([postgres("57014", "canceling statement due to statement timeout")] * 6, ["statements of mallory ran into a time limit"]),
    "no connection": ([({"job": "pgbouncer", "log_class": "pooler"}, "WARNING no more connections allowed (max_client_conn)", {})], ["no database connection is left on prod"]),
    "the evidence is looked for": ([(NGINX, "{}", {"action": "LOG_ACCESS_REFUSED", "ip_address": "203.0.113.9"})] * 21, ["at Loki's door"]),
}  # fmt: skip


def test_loki_has_every_rule_and_none_fails():
    groups = get(f"{LOKI}/prometheus/api/v1/rules")["data"]["groups"]
    broken = [(rule["name"], rule["lastError"]) for group in groups for rule in group["rules"] if rule.get("lastError")]
    assert not broken
    assert sum(len(group["rules"]) for group in groups) == 19


def test_what_is_ordinary_calls_nobody():
    push(*statement("INSERT INTO x", "INSERT", "WRITE", "public.x", db_user="raz@tovtech.org"))
    push(*statement("TRUNCATE audit.context", "TRUNCATE TABLE", "WRITE", db_user="postgres"))
    push(*statement("INSERT INTO audit.heartbeat", "INSERT", "WRITE", "audit.heartbeat", db_user="postgres"))
    push(*nginx(401, "/api/login"))
    push(*nginx(200, "/api/games"))
    push(*heartbeat("one"))
    time.sleep(8)
    assert not message_with("raz@tovtech.org")
    assert not message_with("DatabaseModificationDetected")
    assert not message_with("AuthenticationFailureSpike")


@pytest.mark.parametrize("case", CASES)
def test_a_line_becomes_a_message(case):
    lines, words = CASES[case]
    since = time.time()
    for line in lines:
        push(*line)
    (found, *_) = wait_for(lambda: message_with(*words), 60, f"{case}: no message with {words}")
    print(f"{case}: {found['at'] - since:.1f} s")
    assert found["body"]["allowed_mentions"] == {"parse": []}


def test_a_wipe_is_told_within_five_seconds_behind_noise():
    """Three hundred warnings are on their way; the wipe has a channel of its own."""
    raise_alerts([alert(f"Noise{n}", summary=f"noise {n}") for n in range(300)])
    seconds = []
    for n in range(5):
        since = push(*statement(f"TRUNCATE t{n}", "TRUNCATE TABLE", "WRITE", db_user=f"mallory-{n}"))
        (found, *_) = wait_for(lambda n=n: message_with(f"TRUNCATE t{n}", f"mallory-{n}"), 20)
        seconds.append(found["at"] - since)
    print("line in Loki to message in Discord:", [round(s, 2) for s in seconds])
    assert max(seconds) < 5


def test_it_is_told_when_it_is_over():
    """As Loki tells it once the window of its rule has passed."""
    over = {
        **alert("Ends", "critical", "will end"),
        "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)),
    }
    raise_alerts([over])
    wait_for(lambda: message_with("CRITICAL: will end"), 20)
    wait_for(lambda: message_with("Over: will end"), 40)


def test_text_from_a_log_can_neither_call_nor_link():
    forget()
    evil = "@everyone [click](https://evil.example) `x` <@1> **bold** \u202e"
    push(*statement(f"TRUNCATE {evil}", "TRUNCATE TABLE", "WRITE", db_user="evil"))
    (found, *_) = wait_for(lambda: message_with("evil.example"), 20)
    said = found["body"]["embeds"][0]["description"]
    assert "[click](" not in said and "\\[click\\]\\(" in said
    assert "<@1>" not in said and "**bold**" not in said and "\u202e" not in said
    assert found["body"]["allowed_mentions"] == {"parse": []}
