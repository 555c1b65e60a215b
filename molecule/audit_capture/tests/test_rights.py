"""Who may do what to the audit, its heartbeat, its readers, and inputs that are refused."""

from __future__ import annotations

import json

import pytest
from audit_sql import log_lines, published, rows, run, sql
from passwords import APP, MIGRATOR

testinfra_hosts = ["docker://tovplay-audit-capture"]


FORBIDDEN = """INSERT INTO audit.context DEFAULT VALUES
DELETE FROM audit.finding
SELECT * FROM audit.context
TRUNCATE audit.ddl
UPDATE audit.tracked SET guard = 'off'
SELECT audit.write_context('postgres', 'DELETE', 0, '')
SELECT audit.add_finding('postgres', 'x', 'x', '{}')
SELECT audit.verdict('postgres', 'x', 'warn', 'x', '{}')
SELECT audit.judge_rows('postgres', 'DELETE', 0, 9, 'warn', 1, 'x')
SELECT audit.judge_rows('postgres', 'DELETE', 0, 'warn', 1)
SELECT audit.count_from_here()
SELECT audit.start_session()
SELECT * FROM audit.would_block
SELECT audit.judge_truncate('postgres', 0, 'warn')
SELECT audit.after_ddl('postgres', 'x')
SELECT audit.after_drop('postgres', 'x')
SELECT audit.before_rewrite('postgres', 'x')
SELECT audit.add_ddl('postgres', 'x', 'x', 'x', 'x', 'x', 0, '{}')
SELECT audit.attach(false)
SELECT audit.converge('{}')
SELECT audit.beat()
SELECT audit.session_id()
SELECT setval('audit.session_started', 1)
CREATE FUNCTION audit.note() RETURNS int LANGUAGE sql AS 'SELECT 1'
ALTER EVENT TRIGGER zz_audit_drop DISABLE
DROP SCHEMA audit CASCADE
SET ROLE audit_owner""".splitlines()


@pytest.mark.parametrize("role", [APP, MIGRATOR])
def test_nobody_writes_the_audit_but_its_triggers(host, role):
    done = run(host, "\n".join(f"\\echo {number}\n{query};" for number, query in enumerate(FORBIDDEN)), role, stop=0)
    assert done.stdout.split() == [str(number) for number in range(len(FORBIDDEN))], "no answer but an error to each"
    assert done.stderr.count("ERROR:") == len(FORBIDDEN), done.stderr


def test_a_setting_left_behind_by_another_client_hides_nobody(host, name, rows_to_lose):
    """A forged flag for one's own transaction hides it, which the vault sees; it must not hide the next client's."""
    query = """SET audit.noted = 'x'; SET audit.judged = 'x';
        SELECT set_config('audit.base', '1 {"' || '"Game"'::regclass::oid || '": [9999, 9999]}', false);
        DELETE FROM "Game\""""
    done = run(host, query, APP, name)
    assert "DELETE of 300 rows" in done.stderr


def test_heartbeat_tells_position_and_what_the_capture_rests_on(host):
    last = "SELECT to_json(h) FROM audit.heartbeat h WHERE h.state IS NULL OR :'name' = 'told' ORDER BY at DESC LIMIT 1"
    sql(host, "SELECT audit.beat(); SELECT audit.beat()")
    (beat,) = rows(host, last)
    assert beat["system_identifier"] == int(sql(host, "SELECT system_identifier FROM pg_control_system()"))
    assert (beat["timeline"], len(beat["fingerprint"]), beat["state"]) == (1, 64, None)
    sql(host, 'ALTER TABLE "User" DISABLE TRIGGER audit_context')
    sql(host, "SELECT audit.beat()", name="watched")
    (after,) = rows(host, "SELECT to_json(h) FROM audit.heartbeat h WHERE state IS NOT NULL ORDER BY at DESC LIMIT 1")
    assert after["fingerprint"] != beat["fingerprint"]
    assert ['"User"', "audit_context", "D", "audit.note_guarded"] in [
        [r[0].removeprefix("public."), *r[1:]] for r in after["state"]["triggers"]
    ]
    (found,) = rows(host, "SELECT to_json(f) FROM audit.finding f ORDER BY at DESC LIMIT 1")
    assert found["kind"] == "fingerprint_changed"
    sql(host, 'ALTER TABLE "User" ENABLE ALWAYS TRIGGER audit_context')
    sql(host, "SELECT audit.beat(); SELECT audit.beat()")
    assert rows(host, last)[0]["fingerprint"] == beat["fingerprint"]


def test_a_dropped_slot_is_a_finding_and_the_log_has_its_author(host, name):
    """No event trigger sees it: the heartbeat tells that, the second witness who."""
    slot = name.replace("-", "_")
    sql(host, "SELECT pg_create_logical_replication_slot(:'name', 'pgoutput')", name=slot)
    sql(host, "SELECT audit.beat()")
    sql(host, f"SET pgaudit.log = 'none'; SELECT pg_drop_replication_slot('{slot}')", name=name)
    sql(host, "SELECT audit.beat()")
    (found,) = rows(host, "SELECT to_json(f) FROM audit.finding f ORDER BY at DESC LIMIT 1")
    assert (found["kind"], found["detail"]["parts"]) == ("fingerprint_changed", ["slots"])
    lines = [line for line in log_lines(host, name) if line["message"].startswith("statement: ")]
    assert [(line["user"], line["message"].removeprefix("statement: ")) for line in lines] == [
        ("postgres", "SET pgaudit.log = 'none';"),
        ("postgres", f"SELECT pg_drop_replication_slot('{slot}')"),
    ]


def test_it_beats_by_itself_and_tells_the_journal(host):
    assert host.service("tovplay-audit-heartbeat@TovPlay.timer").is_running
    lines = host.check_output("journalctl -u tovplay-audit-heartbeat@TovPlay.service -o cat --no-pager").splitlines()
    assert lines, "silent"
    assert json.loads(lines[-1])["event"] == "audit_heartbeat"


def test_what_the_vault_logs_in_as(host):
    (role,) = rows(host, "SELECT to_json(r) FROM pg_roles r WHERE rolname = 'audit_replicator'")
    assert (role["rolcanlogin"], role["rolreplication"], role["rolsuper"], role["rolcreaterole"]) == (
        True,
        True,
        False,
        False,
    )
    assert {"TimeZone=UTC", "DateStyle=ISO, YMD"} <= set(role["rolconfig"])
    assert (
        sql(host, 'SET ROLE audit_replicator; SELECT count(*) > 0 FROM "User"; SELECT count(*) >= 0 FROM audit.context')
        == "t\nt"
    )
    assert published(host, "^(context|ddl|finding|heartbeat)$") == "context ddl finding heartbeat"


def test_a_consumer_gets_rows_and_context_of_a_transaction_together(host, name):
    """pgoutput's stream of one slot: begin, context, row; TRUNCATE of the audit's own table is not in it."""
    slot = name.replace("-", "_")
    sql(host, "SELECT pg_create_logical_replication_slot(:'name', 'pgoutput')", name=slot)
    sql(host, 'DELETE FROM "User" WHERE id = 8', APP, name)
    sql(host, "TRUNCATE audit.context")
    stream = sql(
        host,
        """SELECT convert_from(substr(data, 1, 1), 'UTF8') FROM pg_logical_slot_get_binary_changes(
             :'name', NULL, NULL, 'proto_version', '1',
             'publication_names', 'tovplay_audit_rows,tovplay_audit_meta')""",
        name=slot,
    )
    sql(host, "SELECT pg_drop_replication_slot(:'name')", name=slot)
    kinds = "".join(stream.split())
    transactions = [each for each in kinds.split("B") if "D" in each]  # the heartbeat's is another
    assert [each[:4] for each in transactions] == ["RIRD"], kinds
    assert (kinds[-1], "T" in kinds) == ("C", False)


def test_who_looks_for_audit_log_here_is_led_to_the_vault(host):
    query = """SELECT * FROM audit_log
        WHERE table_name = 'User' AND new_data ->> 'id' = '123' AND action = 'DELETE' ORDER BY timestamp DESC"""
    for role in (APP, "postgres"):
        done = run(host, query, role)
        assert "audit_log is kept in the vault" in done.stderr
        assert "whodunit last" in done.stderr


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"name": "User", "guard": "loud"}, "value of guard must be one of"),
        ({"name": "User", "columns": {"email": "rot13"}}, "policy 'rot13' of column email is unknown"),
        ({"name": "User", "columns": {"pasword": "hash"}}, 'public."User" has no column pasword'),
        ({"name": "User", "columns": {"id": "hash"}}, "id is part of the primary key and must be plain"),
        ({"name": "audit_log"}, "public.audit_log is a view; name the table whose rows it shows"),
        (
            {"name": "keyless"},
            "has no primary key, without which no vault can follow its rows: ALTER TABLE public.keyless",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_in_one_sentence_before_anything_changes(host, refusal, table, sentence):
    sql(host, "CREATE TABLE IF NOT EXISTS keyless (id int)", MIGRATOR, "keyless")
    refusal(sentence, audit_capture_databases=[{"name": "TovPlay", "tables": [table]}])


def test_a_host_without_the_cluster_is_refused(refusal):
    refusal("has no PostgreSQL 15 cluster other; run ansible-playbook site.yml --tags", audit_capture_cluster="other")
