"""What a writing transaction leaves in audit.context."""

from __future__ import annotations

import json

import pytest
from audit_sql import LOG, context, findings, pgaudit_lines, sql
from passwords import APP, MIGRATOR

testinfra_hosts = ["docker://tovplay-audit-capture"]


def test_one_row_per_transaction_says_who_and_with_what(host, name):
    sql(
        host,
        """BEGIN; SELECT set_config('audit.ctx', '{"v":1,"route":"/users/<id>"}', true),
                         set_config('application_name', :'name', true);
           DELETE FROM "Game" WHERE id = 1; UPDATE "User" SET email = 'x' WHERE id = 2;
           DELETE FROM "User" WHERE id = 3; COMMIT""",
        APP,
        name,
    )
    (row,) = context(host, name)
    assert (row["db_user"], row["db_role"], row["command"], row["table_name"]) == (APP, APP, "DELETE", 'public."Game"')
    assert (row["ctx"], row["reason"], row["replication_role"]) == ('{"v":1,"route":"/users/<id>"}', None, "origin")
    assert (row["client_addr"], row["client_port"] > 1023) == ("127.0.0.1", True)
    assert row["statement"] == 'DELETE FROM "Game" WHERE id = 1;'
    assert row["pg_session_id"].split(".")[1] == f"{row['pid']:x}"
    line = host.check_output(f"grep -h '\"{row['pg_session_id']}\"' {LOG}/*.json | head -1")
    assert json.loads(line)["pid"] == row["pid"], "the id is the log's own"


def test_pooled_clients_on_one_connection_are_never_confused(host, name):
    """What a transaction sets ends with it: with ctx, without, autocommit, savepoint rolled back, another's ctx."""
    sql(
        host,
        """BEGIN; SELECT set_config('audit.ctx', 'alice', true); UPDATE "Game" SET title = 'a' WHERE id = 1; COMMIT;
        BEGIN; UPDATE "Game" SET title = 'b' WHERE id = 2; COMMIT;
        UPDATE "Game" SET title = 'c' WHERE id = 3;
        BEGIN; SELECT set_config('audit.ctx', 'eve', true); UPDATE "Game" SET title = 'd' WHERE id = 4; ROLLBACK;
        BEGIN; SELECT set_config('audit.ctx', 'bob', true); SAVEPOINT a;
          UPDATE "Game" SET title = 'e' WHERE id = 5; ROLLBACK TO a; UPDATE "Game" SET title = 'f' WHERE id = 6; COMMIT;
        SET LOCAL audit.ctx = 'nobody'; UPDATE "Game" SET title = 'g' WHERE id = 7;
        SET audit.noted = '1'; UPDATE "Game" SET title = 'h' WHERE id = 8""",
        APP,
        name,
    )
    said = [(row["ctx"], row["statement"].split("=")[-1].strip(" ;")) for row in context(host, name)]
    assert said == [("alice", "1"), (None, "2"), (None, "3"), ("bob", "6"), (None, "7"), (None, "8")]


@pytest.mark.parametrize(
    ("query", "command"),
    [
        pytest.param(
            "INSERT INTO \"Game\" VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET title = 'y'",
            "INSERT",
            id="ON CONFLICT",
        ),
        pytest.param(
            'WITH d AS (DELETE FROM "Game" WHERE id = 9 RETURNING id) SELECT count(*) FROM d', "DELETE", id="CTE"
        ),
        pytest.param("DO $$ BEGIN EXECUTE 'DEL' || 'ETE FROM \"Game\" WHERE id = 10'; END $$", "DELETE", id="DO"),
        pytest.param(
            'MERGE INTO "Game" g USING (VALUES (11)) v (id) ON g.id = v.id WHEN MATCHED THEN DELETE',
            "DELETE",
            id="MERGE",
        ),
        pytest.param(
            'BEGIN; COPY "Game" FROM stdin;\n901\tx\n\\.\nDELETE FROM "Game" WHERE id = 901; COMMIT',
            "INSERT",
            id="COPY",
        ),
        pytest.param('DELETE FROM "Game" WHERE id = 0', "DELETE", id="no row"),
    ],
)
def test_every_kind_of_write_is_noted(host, name, query, command):
    sql(host, query, APP, name)
    (row,) = context(host, name)
    assert (row["command"], row["table_name"]) == (command, 'public."Game"')


@pytest.mark.parametrize(
    "query", ['EXPLAIN DELETE FROM "User"', 'SELECT * FROM "User"', 'BEGIN; DELETE FROM "User" WHERE id = 4; ROLLBACK']
)
def test_what_changes_nothing_leaves_nothing(host, name, query):
    sql(host, query, APP, name)
    assert context(host, name) == []


def test_role_of_the_statement_and_of_the_login(host, name):
    sql(host, "UPDATE \"Game\" SET title = 'x' WHERE id = 20", MIGRATOR, name)
    (row,) = context(host, name)
    assert (row["db_user"], row["db_role"]) == (MIGRATOR, "tovplay_owner")


def test_replica_role_does_not_get_around_it(host, name):
    sql(host, 'SET session_replication_role = replica; DELETE FROM "User" WHERE id = 5', "postgres", name)
    (row,) = context(host, name)
    assert row["replication_role"] == "replica"
    assert [(f["kind"], f["severity"]) for f in findings(host, name)] == [("replica_role", "high")]


def test_secret_columns_are_not_in_the_statement(host, name):
    sql(
        host,
        """INSERT INTO "User" VALUES (901, 'it''s', 'scrypt:topsecret') ON CONFLICT DO NOTHING;
            UPDATE "User" SET password_hash = 'scrypt:topsecret' WHERE id = 901;
            UPDATE "User" SET password_hash = $$scrypt:topsecret$$ WHERE id = 901;
            UPDATE "User" SET email = 'y' WHERE id = 901""",
        APP,
        name,
    )
    statements = [row["statement"] for row in context(host, name)]
    assert not [statement for statement in statements if "topsecret" in statement]
    assert statements[1:] == [
        "UPDATE \"User\" SET password_hash = '…' WHERE id = 901;",
        "UPDATE \"User\" SET password_hash = '…' WHERE id = 901;",
        "UPDATE \"User\" SET email = 'y' WHERE id = 901",
    ]


def test_a_long_statement_is_cut_and_its_secrets_with_it(host, name):
    sql(host, 'UPDATE "User" SET password_hash = \'' + "topsecret" * 1000 + "' WHERE id = 6", APP, name)
    (row,) = context(host, name)
    assert "topsecret" not in row["statement"]
    sql(host, 'UPDATE "Game" SET title = \'' + "é" * 9000 + "' WHERE id = 6", APP, name)
    assert len(context(host, name)[1]["statement"]) == 4096


def test_a_cascade_belongs_to_the_statement_that_began_it(host, name):
    sql(host, 'DELETE FROM "User" WHERE id = 7', APP, name)
    (row,) = context(host, name)
    assert (row["table_name"], row["db_role"]) == ('public."User"', APP)


def test_functions_that_a_statement_ran_in_are_named(host, name):
    """With whose rights it ran depends on them; literals inside them stay out."""
    sql(
        host,
        """CREATE OR REPLACE FUNCTION wipe(which int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
           $$ BEGIN DELETE FROM "Game" WHERE id = which AND title <> 'topsecret'; END $$""",
        MIGRATOR,
    )
    sql(host, "SELECT wipe(30)", APP, name)
    (row,) = context(host, name)
    assert row["statement"] == "SELECT wipe(30) /* in wipe(integer) */"
    assert (row["db_user"], row["db_role"]) == (APP, APP)


def test_operators_of_a_client_are_not_ours(host, name):
    """note_guarded() runs as audit_owner with the client's search_path; what that finds must never run."""
    sql(
        host,
        """DO $do$ BEGIN
             CREATE SCHEMA IF NOT EXISTS evil;
             GRANT USAGE ON SCHEMA evil TO PUBLIC;
             CREATE OR REPLACE FUNCTION evil.yes(text, text) RETURNS bool LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
             CREATE OR REPLACE FUNCTION evil.current_setting(text, bool) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
             CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
             CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
             CREATE OPERATOR evil.~* (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
             CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
           END $do$""",
        "postgres",
        "evil",
    )
    path = "-c search_path=evil,pg_catalog,public"
    sql(host, "UPDATE \"Game\" SET title = 'x' WHERE id OPERATOR(pg_catalog.=) 31", "postgres", name, path)
    sql(host, "DROP SCHEMA evil CASCADE", "postgres", "evil")
    assert len(context(host, name)) == 1


def test_the_second_witness_is_not_told_of_our_own_work(host, name):
    """One line for each of the application's statements; only a connection's first transaction has another, of ours."""
    changes = """UPDATE "Game" SET title = 'x' WHERE id = 40; DELETE FROM "Game" WHERE id = 41;"""
    secret = """INSERT INTO "User" VALUES (905, 'x', 'scrypt:secret') ON CONFLICT DO NOTHING;"""
    sql(host, f"BEGIN; {changes} COMMIT; {changes} {secret}", APP, name)
    said = [(line[3], line[4], line[6]) for line in pgaudit_lines(host, name)]
    game, user = 'public."Game"', 'public."User"'
    assert said[:2] == [("WRITE", "UPDATE", game), ("FUNCTION", "EXECUTE", "audit.start_session")]
    assert said[2:] == [
        ("WRITE", "DELETE", game),
        ("WRITE", "UPDATE", game),
        ("WRITE", "DELETE", game),
        ("WRITE", "INSERT", user),
    ]
    assert len(context(host, name)) == 4
