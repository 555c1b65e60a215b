"""What DDL leaves in audit.ddl, what it does to the capture, and what of it is refused."""

from __future__ import annotations

import pytest
from audit_sql import WEIRD, context, events, findings, guard_lines, published, run, sql
from passwords import APP, MIGRATOR

testinfra_hosts = ["docker://tovplay-audit-capture"]


@pytest.mark.parametrize(
    "query",
    [
        'DROP TABLE "Game" CASCADE',
        "DO $$ BEGIN EXECUTE 'DROP TA' || 'BLE \"Game\" CASCADE'; END $$",
        "DROP SCHEMA public CASCADE",
        "DROP OWNED BY tovplay_owner CASCADE",
        "DROP TABLE measure_1",
        'ALTER TABLE "Game" DROP COLUMN title',
        'ALTER TABLE "Game" ALTER title TYPE int USING 0',
        'ALTER TABLE "Game" DISABLE TRIGGER audit_context',
        'ALTER TABLE "Game" DISABLE TRIGGER USER',
        'DROP TRIGGER audit_context ON "Game"',
        'CREATE RULE gone AS ON DELETE TO "Game" DO INSTEAD NOTHING',
        'ALTER TABLE "Game" DROP CONSTRAINT "Game_pkey" CASCADE',
    ],
)
def test_ddl_that_destroys_is_refused_and_logged(host, name, query):
    before = sql(host, 'SELECT count(*) FROM "Game"')
    for options in ("", "-c session_replication_role=replica"):
        role = "postgres" if options else MIGRATOR
        done = run(host, f"SET ROLE tovplay_owner; {query}", role, name, options)
        assert done.rc != 0
        assert "audit guard: " in done.stderr, done.stderr
    assert {line["verdict"] for line in guard_lines(host, name)} <= {"blocked", "warned"}
    assert [line["db_user"] for line in guard_lines(host, name) if line["verdict"] == "blocked"] == [
        MIGRATOR,
        "postgres",
    ]
    assert sql(host, 'SELECT count(*) FROM "Game"') == before


def test_a_migration_with_a_reason_runs_unedited(host, name):
    """As Alembic does it: one transaction of everything; the reason comes from the job's environment."""
    migration = """BEGIN; ALTER TABLE "Game" ADD COLUMN genre text DEFAULT 'none'; UPDATE "Game" SET genre = 'x';
        ALTER TABLE "Game" RENAME COLUMN title TO label; ALTER TABLE "Game" ALTER id TYPE bigint;
        ALTER TABLE "Game" DROP COLUMN genre; ALTER TABLE "Game" RENAME COLUMN label TO title;
        ALTER TABLE "Game" ALTER id TYPE int; COMMIT"""
    assert run(host, migration, MIGRATOR, name).rc != 0
    sql(host, migration, MIGRATOR, name, options="-c audit.reason=release-42")
    told = events(host, name)
    assert {event["reason"] for event in told} == {"release-42"}
    shapes = [[column["name"] for column in event["columns"]] for event in told if event["columns"]]
    assert shapes == [
        ["id", "title", "genre"],
        ["id", "label", "genre"],
        ["id", "label", "genre"],
        ["id", "label"],
        ["id", "title"],
        ["id", "title"],
    ]
    assert ("table column", 'public."Game".label') in [(event["object_type"], event["object_name"]) for event in told]
    assert [event["object_name"] for event in told if event["event"] == "sql_drop"] == ['public."Game".genre']
    assert len([event for event in told if event["event"] == "table_rewrite"]) == 2


def test_columns_are_told_as_the_vault_needs_them(host, name):
    sql(host, 'ALTER TABLE "ScheduledSession" ADD COLUMN IF NOT EXISTS note varchar(9)', MIGRATOR, name)
    (event,) = events(host, name)
    assert event["relid"] == sql(host, "SELECT '\"ScheduledSession\"'::regclass::oid")
    nothing = {"default": None, "generated": False, "key": None, "not_null": False}
    assert event["columns"] == [
        {"name": "id", "attnum": 1, "type": "integer", **nothing, "key": 1, "not_null": True},
        {"name": "starts_at", "attnum": 2, "type": "timestamp with time zone", **nothing, "default": "now()"},
        {"name": "note", "attnum": 3, "type": "character varying(9)", **nothing},
    ]


def test_warn_mode_lets_ddl_pass_with_a_finding(host, name):
    sql(host, 'ALTER TABLE "User" DISABLE TRIGGER ALL; ALTER TABLE "User" ENABLE TRIGGER ALL', "postgres", name)
    found = findings(host, name)
    assert {(f["kind"], f["detail"]["table"]) for f in found} == {("trigger_disabled", 'public."User"')}
    assert {f["detail"]["enabled"] for f in found} == {"D", "O"}, "ENABLE TRIGGER ALL takes ALWAYS away"


def test_what_was_switched_off_is_repaired_by_the_next_converge(host, converge, name):
    tgenabled = (
        "SELECT string_agg(tgenabled, '') FROM pg_trigger WHERE tgname LIKE 'audit%' AND tgrelid = '\"User\"'::regclass"
    )
    sql(
        host,
        'ALTER TABLE "User" DISABLE TRIGGER USER; ALTER PUBLICATION tovplay_audit_rows DROP TABLE "User"',
        "postgres",
        name,
    )
    assert {f["kind"] for f in findings(host, name)} == {"trigger_disabled", "publication_changed"}
    assert published(host, "^User$") == "User", "taken back at once"
    done = converge(check=True)
    assert "changed=1" in done.stdout, done.stdout[-2000:]
    assert "D" in sql(host, tgenabled), "check mode changes nothing"
    done = converge()
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=1" in done.stdout
    assert sql(host, tgenabled) == "AAA"


def test_a_table_of_the_inventory_is_taken_up_when_it_is_created(host, name):
    """Also by a restore, which makes the key last; only then can its rows travel."""
    sql(
        host,
        "CREATE TABLE fleeting (id int, x int GENERATED ALWAYS AS (id + 1) STORED); INSERT INTO fleeting VALUES (1)",
        MIGRATOR,
        name,
    )
    assert published(host, "fleeting") == ""
    sql(
        host,
        "UPDATE fleeting SET id = 2; ALTER TABLE fleeting ADD PRIMARY KEY (id); UPDATE fleeting SET id = 3",
        MIGRATOR,
        name,
    )
    assert published(host, "fleeting") == "fleeting"
    shapes = [
        (event["tag"], event["columns"] is not None) for event in events(host, name) if event["object_type"] == "table"
    ]
    assert shapes == [("CREATE TABLE", False), ("ALTER TABLE", True)]
    assert len(context(host, name)) == 3
    sql(host, "DROP TABLE fleeting", MIGRATOR, name, options="-c audit.reason=test")
    assert (events(host, name)[-1]["event"], events(host, name)[-1]["object_name"]) == ("sql_drop", "public.fleeting")


def test_losing_its_key_does_not_break_the_application(host, name):
    sql(
        host,
        """ALTER TABLE "ScheduledSession" DROP CONSTRAINT "ScheduledSession_pkey";
           UPDATE "ScheduledSession" SET starts_at = now() WHERE id = 1""",
        MIGRATOR,
        name,
    )
    assert [f["kind"] for f in findings(host, name)] == ["no_key"]
    assert sql(host, "SELECT relreplident FROM pg_class WHERE relname = 'ScheduledSession'") == "f"
    sql(host, 'ALTER TABLE "ScheduledSession" ADD PRIMARY KEY (id)', MIGRATOR, name)
    assert sql(host, "SELECT relreplident FROM pg_class WHERE relname = 'ScheduledSession'") == "d"


def test_a_new_table_is_a_finding_and_is_tracked_if_asked(host, name):
    made = "DROP TABLE IF EXISTS newcomer; CREATE TABLE newcomer (id int PRIMARY KEY)"
    sql(host, made, MIGRATOR, name)
    (found,) = findings(host, name)
    assert (found["kind"], found["detail"]["table"], found["detail"]["tracked"]) == (
        "new_table",
        "public.newcomer",
        False,
    )
    sql(host, "UPDATE audit.setting SET value = 'track' WHERE name = 'new_tables'")
    sql(host, made, MIGRATOR, name)
    sql(host, "INSERT INTO newcomer VALUES (1)", MIGRATOR, name)
    assert context(host, name)[0]["table_name"] == "public.newcomer"
    sql(host, "UPDATE audit.setting SET value = 'report' WHERE name = 'new_tables'")
    sql(host, "DROP TABLE newcomer", MIGRATOR, name, options="-c audit.reason=test")


def test_a_renamed_table_stays_tracked(host, name):
    sql(
        host,
        'ALTER TABLE "UserFriends" RENAME TO friends; INSERT INTO friends VALUES (1, 1) ON CONFLICT DO NOTHING',
        MIGRATOR,
        name,
    )
    assert context(host, name)[0]["table_name"] == "public.friends"
    assert [f["detail"]["is"] for f in findings(host, name)] == ["public.friends"]
    sql(host, 'ALTER TABLE friends RENAME TO "UserFriends"', MIGRATOR, name)


def test_every_partition_has_its_own(host, name):
    made = """
        CREATE TABLE measure_2 PARTITION OF "Measure" FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
        CREATE TABLE measure_3 (day date NOT NULL, id int NOT NULL, PRIMARY KEY (day, id));
        INSERT INTO measure_3 VALUES ('2026-03-03', 1);
        ALTER TABLE "Measure" ATTACH PARTITION measure_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')"""
    sql(host, made, MIGRATOR, name)
    assert published(host, "easure") == "measure_1 measure_2 measure_3"
    shaped = [event["object_name"] for event in events(host, name) if event["columns"]]
    assert shaped == ["public.measure_2", "public.measure_3"]
    sql(host, "DELETE FROM measure_3", APP, name)
    assert context(host, name)[-1]["table_name"] == "public.measure_3"
    for query in ('DELETE FROM "Measure"', "DELETE FROM measure_1"):
        assert "DELETE of 300 rows" in run(host, query, APP, name).stderr, query
    assert "TRUNCATE of public.measure_2 is refused" in run(host, "TRUNCATE measure_2", MIGRATOR, name).stderr
    sql(host, 'ALTER TABLE "Measure" DETACH PARTITION measure_3; DELETE FROM measure_3', MIGRATOR, name)
    assert findings(host, name)[-1]["detail"]["was"] == "public.measure_3"
    assert context(host, name)[-1]["table_name"] == "public.measure_3", "detached, not forgotten"
    sql(host, "DROP TABLE measure_2, measure_3", MIGRATOR, name, options="-c audit.reason=test")


def test_hostile_names(host, name):
    sql(
        host,
        "INSERT INTO :weird VALUES (1, 'topsecret', 2, 'x'); UPDATE :weird SET e = 2; DELETE FROM :weird",
        APP,
        name,
    )
    assert [row["table_name"] for row in context(host, name)] == [f"public.{WEIRD}"] * 3
    assert "topsecret" not in context(host, name)[0]["statement"]
    columns = "SELECT attnames FROM pg_publication_tables WHERE format('%I', tablename) = :'weird'"
    assert "tok" not in sql(host, columns)
    sql(host, 'ALTER TABLE :weird ADD COLUMN "a,b" int', MIGRATOR, name)
    assert '"a,b"' in sql(host, columns), "a list of columns follows ADD COLUMN"


def test_columns_beside_an_excluded_one_are_dropped_and_retyped(host, name):
    """PostgreSQL alone refuses both, since the publication lists them."""
    sql(
        host,
        """ALTER TABLE :weird ADD COLUMN brief int; ALTER TABLE :weird ALTER brief TYPE bigint;
           BEGIN; INSERT INTO :weird (e, brief) VALUES (50, 1); ALTER TABLE :weird DROP COLUMN brief;
           INSERT INTO :weird (e) VALUES (51); COMMIT""",
        MIGRATOR,
        name,
        options="-c audit.reason=test",
    )
    listed = sql(host, "SELECT attnames FROM pg_publication_tables WHERE format('%I', tablename) = :'weird'")
    assert ("日本" in listed, "brief" in listed, "tok" in listed) == (True, False, False), "and the list is back"
    assert "publication_changed" not in {found["kind"] for found in findings(host, name)}
    shaped = [event["object_name"] for event in events(host, name) if event["columns"]]
    assert shaped == [f"public.{WEIRD}"] * 3
    done = run(host, 'ALTER TABLE "User" ADD COLUMN brief int; ALTER TABLE "User" DROP COLUMN nothing', MIGRATOR, name)
    assert done.rc != 0
    assert "tok" not in sql(host, "SELECT attnames FROM pg_publication_tables WHERE format('%I', tablename) = :'weird'")
    sql(host, 'ALTER TABLE "User" DROP COLUMN brief', MIGRATOR, name, options="-c audit.reason=test")
