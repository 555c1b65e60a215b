"""Every alert on the log, end to end: a line in Loki becomes a message in Discord that says who, what and where."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from patience import wait_for
from watch import LOKI, alert, forget, get, message_with, push, raise_alerts

CASES = yaml.safe_load((Path(__file__).parent.parent / "files/lines.yml").read_text(encoding="utf-8"))


def statement(text: str, action: str = "TRUNCATE TABLE", **metadata: str) -> dict[str, Any]:
    """A line of pgaudit about a statement of mallory's."""
    return CASES["TRUNCATE"]["line"] | {
        "metadata": CASES["TRUNCATE"]["line"]["metadata"] | {"statement": text, "action": action, **metadata}
    }


def write(line: dict[str, Any]) -> float:
    text = line.get("text", "{}")
    return push(
        line["labels"], text if isinstance(text, str) else json.dumps(text, separators=(",", ":")), line["metadata"]
    )


def test_loki_has_every_rule_and_none_fails():
    groups = get(f"{LOKI}/prometheus/api/v1/rules")["data"]["groups"]
    broken = [(rule["name"], rule["lastError"]) for group in groups for rule in group["rules"] if rule.get("lastError")]
    assert not broken
    assert sum(len(group["rules"]) for group in groups) == 19


def test_what_is_ordinary_calls_nobody():
    write(statement("INSERT INTO x", "INSERT", object_name="public.x", db_user="raz@tovtech.org"))
    write(statement("TRUNCATE audit.context", db_user="postgres"))
    write(statement("INSERT INTO audit.heartbeat", "INSERT", object_name="audit.heartbeat", db_user="postgres"))
    # What the capture does itself for a superuser's write, and for a new table.
    write(
        statement("INSERT INTO audit.context VALUES (session_replication_role)", "INSERT", object_name="audit.context")
    )
    write(statement("ALTER PUBLICATION rows ADD TABLE ONLY public.x", "ALTER PUBLICATION", audit_class="MISC"))
    write(CASES["logins"]["line"])
    write(CASES["fingerprint"]["line"])
    time.sleep(8)
    assert not message_with("raz@tovtech.org")
    assert not message_with("DatabaseModificationDetected")
    assert not message_with("AuthenticationFailureSpike")
    assert not message_with("AuditTampering") and not message_with("ReplicaRoleBypass")


@pytest.mark.parametrize("case", CASES)
def test_a_line_becomes_a_message(case):
    line, words = CASES[case]["line"], CASES[case]["words"]
    since = time.time()
    for _ in range(CASES[case].get("times", 1)):
        write(line)
    if "then" in CASES[case]:
        write(line | CASES[case]["then"])
    (found, *_) = wait_for(lambda: message_with(*words), 60, f"{case}: no message with {words}")
    print(f"{case}: {found['at'] - since:.1f} s")
    assert found["body"]["allowed_mentions"] == {"parse": []}


def test_a_wipe_is_told_within_five_seconds_behind_noise():
    """Three hundred warnings are on their way; each wipe of the same person has a message of its own."""
    raise_alerts([alert(f"Noise{n}", summary=f"noise {n}") for n in range(300)])
    seconds = []
    for n in range(5):
        since = write(statement(f"TRUNCATE t{n}", db_user="eve", pg_session_id=f"{n}.1"))
        (found, *_) = wait_for(lambda n=n: message_with(f"TRUNCATE t{n}", "eve"), 20)
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
    write(statement(f"TRUNCATE {evil}", db_user="evil"))
    (found, *_) = wait_for(lambda: message_with("evil.example"), 20)
    said = found["body"]["embeds"][0]["description"]
    assert "[click](" not in said and "\\[click\\]\\(" in said
    assert "<@1>" not in said and "**bold**" not in said and "\u202e" not in said
    assert found["body"]["allowed_mentions"] == {"parse": []}
