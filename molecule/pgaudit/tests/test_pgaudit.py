"""Ask the log of the running server what it kept of each kind of wipe; the expected lines are reference/audit.md's."""

from __future__ import annotations

import csv
import io
import itertools
import json
import uuid

import pytest
from passwords import APP, MIGRATOR, PASSWORDS

testinfra_hosts = ["docker://tovplay-pgaudit"]

LOG = "/var/log/tovplay/postgresql"
CONF = "/etc/postgresql/15/main/conf.d/20-pgaudit.conf"
RUN = uuid.uuid4().hex[:8]  # the log outlives a run of this file
NAMES = (f"probe-{RUN}-{number}" for number in itertools.count())


def sql(host, query, database="postgres", name="setup", options=""):
    keep = "--preserve-env=PGAPPNAME,PGOPTIONS"
    command = f"PGAPPNAME=%s PGOPTIONS=%s sudo -u postgres {keep} psql -X -At -v ON_ERROR_STOP=1 -d %s -c %s"
    return host.check_output(command, name, options, database, query)


def sql_as(host, role, query, name="setup"):
    where = f"host=127.0.0.1 dbname=TovPlay user={role} connect_timeout=5"
    return host.run("PGAPPNAME=%s PGPASSWORD=%s psql -X -At %s -c %s", name, PASSWORDS[role], where, query)


def lines_of(host, name):
    """What the log has of one session; it writes the line of the disconnection last."""
    wait = f"until grep -q 'disconnection.*\"{name}\"' {LOG}/*.json; do sleep 0.05; done"
    host.check_output("timeout 10 sh -c %s", wait)
    lines = [json.loads(line) for line in host.check_output(f"grep -h '\"{name}\"' {LOG}/*.json").splitlines()]
    return [line for line in lines if line["application_name"] == name]


def audit_of(lines):
    said = (line["message"].removeprefix("AUDIT: ") for line in lines if line["message"].startswith("AUDIT: "))
    return [next(csv.reader(io.StringIO(text, newline=""))) for text in said]


def audited(host, role, query):
    name = next(NAMES)
    if role == "postgres":
        sql(host, query, "TovPlay", name)
    else:
        sql_as(host, role, query, name)
    return audit_of(lines_of(host, name))


@pytest.fixture(scope="module", autouse=True)
def tables(host):
    done = sql_as(
        host,
        MIGRATOR,
        """DROP TABLE IF EXISTS parent, child, leaf, solo, doomed; DROP FUNCTION IF EXISTS wipe;
           CREATE TABLE parent (pid int PRIMARY KEY);
           CREATE TABLE child (id int PRIMARY KEY, pid int REFERENCES parent ON DELETE CASCADE);
           CREATE TABLE solo (id int PRIMARY KEY); CREATE TABLE doomed (id int);
           INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 2); INSERT INTO solo VALUES (1), (7);
           CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM solo'""",
    )
    assert done.rc == 0, done.stderr


def session(number, part, kind, command, object_type, name, statement, parameters="<none>"):
    return ["SESSION", str(number), str(part), kind, command, object_type, name, statement, parameters]


DELETE = "/*traceparent='00-abc-def-01',app='x'*/ DELETE FROM solo WHERE id=1 -- trailing"
CASCADE = "DELETE FROM parent WHERE pid = 2"
CASCADED = 'DELETE FROM ONLY "public"."child" WHERE $1 OPERATOR(pg_catalog.=) "pid"'
DO = "DO $$ BEGIN DELETE FROM solo; END $$"
PREPARE = "PREPARE p(int) AS DELETE FROM solo WHERE id = $1; EXECUTE p(7)"
MULTI = 'DELETE FROM solo\nWHERE id = 1 -- "quoted", with a comma'


@pytest.mark.parametrize(
    ("role", "query", "expected"),
    [
        pytest.param(APP, DELETE, [session(1, 1, "WRITE", "DELETE", "TABLE", "public.solo", DELETE)], id="DELETE"),
        pytest.param(APP, MULTI, [session(1, 1, "WRITE", "DELETE", "TABLE", "public.solo", MULTI)], id="two lines"),
        pytest.param(
            MIGRATOR,
            CASCADE,
            [
                session(1, 1, "WRITE", "DELETE", "TABLE", "public.parent", CASCADE),
                session(1, 2, "WRITE", "DELETE", "TABLE", "public.child", CASCADED, "2"),
            ],
            id="cascade",
        ),
        pytest.param(
            MIGRATOR,
            "TRUNCATE parent CASCADE",
            [session(1, 1, "WRITE", "TRUNCATE TABLE", "", "", "TRUNCATE parent CASCADE")],
            id="TRUNCATE names no object",
        ),
        pytest.param(
            APP,
            DO,
            [
                session(1, 1, "FUNCTION", "DO", "", "", DO),
                session(1, 2, "WRITE", "DELETE", "TABLE", "public.solo", "DELETE FROM solo"),
            ],
            id="DO",
        ),
        pytest.param(
            APP,
            "SELECT wipe()",
            [session(1, 1, "FUNCTION", "EXECUTE", "FUNCTION", "public.wipe", "SELECT wipe()")],
            id="SECURITY DEFINER hides the DELETE, not the call",
        ),
        pytest.param(
            APP,
            PREPARE,
            [
                session(1, 1, "WRITE", "PREPARE", "", "", PREPARE),
                session(2, 1, "WRITE", "DELETE", "TABLE", "public.solo", PREPARE, "7"),
            ],
            id="PREPARE",
        ),
        pytest.param(
            MIGRATOR,
            "DROP TABLE doomed",
            [session(1, 1, "DDL", "DROP TABLE", "TABLE", "public.doomed", "DROP TABLE doomed")],
            id="DROP",
        ),
        pytest.param(
            MIGRATOR,
            f'GRANT SELECT ON solo TO "{APP}"',
            [session(1, 1, "ROLE", "GRANT", "TABLE", "", f'GRANT SELECT ON solo TO "{APP}"')],
            id="GRANT",
        ),
        pytest.param(
            MIGRATOR,
            "SET ROLE tovplay_owner",
            [session(1, 1, "MISC", "SET", "", "", "SET ROLE tovplay_owner")],
            id="SET ROLE",
        ),
        pytest.param(APP, "SET datestyle = 'ISO, MDY'", [], id="what the pooler sends leaves no line"),
        pytest.param(APP, "SELECT * FROM solo", [], id="a read leaves no line"),
    ],
)
def test_exact_lines(host, role, query, expected):
    assert audited(host, role, query) == expected


def test_a_delete_that_fails_has_its_line_all_the_same(host):
    """Which log_rows = on would lose."""
    made = "CREATE TABLE leaf (pid int REFERENCES parent); INSERT INTO parent VALUES (9); INSERT INTO leaf VALUES (9)"
    assert sql_as(host, MIGRATOR, made).rc == 0
    assert audited(host, APP, "DELETE FROM parent")[0][3:7] == ["WRITE", "DELETE", "TABLE", "public.parent"]
    assert sql_as(host, APP, "SELECT count(*) FROM parent").stdout.strip() == "1"
    sql_as(host, MIGRATOR, "DROP TABLE leaf")


def test_what_is_not_permitted_has_an_error_line_with_the_statement(host):
    name = next(NAMES)
    sql_as(host, APP, "TRUNCATE solo", name)
    errors = [line for line in lines_of(host, name) if line["error_severity"] == "ERROR"]
    assert (errors[0]["statement"], errors[0]["user"], errors[0]["remote_host"]) == ("TRUNCATE solo", APP, "127.0.0.1")


def test_a_superuser_who_silences_the_audit_is_logged_doing_so(host):
    name = next(NAMES)
    sql(host, "SET pgaudit.log = 'none'; DROP TABLE IF EXISTS nothing", "TovPlay", name)
    statements = [line["message"] for line in lines_of(host, name) if line["message"].startswith("statement: ")]
    assert any("SET pgaudit.log = 'none'" in statement for statement in statements)


def test_a_new_database_is_born_with_it(host):
    sql(host, "DROP DATABASE IF EXISTS newborn")
    sql(host, "CREATE DATABASE newborn")
    name = next(NAMES)
    sql(host, "CREATE TABLE t (id int); DROP TABLE t", "newborn", name)
    dropped = [row for row in audit_of(lines_of(host, name)) if row[4] == "DROP TABLE"]
    assert [row[5:7] for row in dropped] == [["TABLE", "public.t"]]
    name = next(NAMES)
    sql(host, "DROP DATABASE newborn", "postgres", name)
    assert audit_of(lines_of(host, name))[0][3:5] == ["DDL", "DROP DATABASE"]


def test_it_outlives_its_schema(host):
    """Object names of DDL come from event triggers, which DROP SCHEMA public CASCADE must not take along."""
    sql(host, "DROP DATABASE IF EXISTS scratch")
    sql(host, "CREATE DATABASE scratch OWNER tovplay_owner")
    name = next(NAMES)
    sql(host, "SET ROLE tovplay_owner; CREATE TABLE t (id int); DROP SCHEMA public CASCADE", "scratch", name)
    objects = [row[6] for row in audit_of(lines_of(host, name)) if row[4] == "DROP SCHEMA"]
    assert "public.t" in objects
    assert sql(host, "SELECT count(*) FROM pg_extension WHERE extname = 'pgaudit'", "scratch") == "1"
    sql(host, "DROP DATABASE scratch")


def test_clients_do_not_see_it(host):
    done = sql_as(host, APP, "SET client_min_messages = debug1; DELETE FROM solo")
    assert "AUDIT" not in done.stdout + done.stderr


def test_libraries_that_were_there_stay(host):
    assert sql(host, "SHOW shared_preload_libraries") == "pg_stat_statements,pgaudit"


def test_classes_were_turned_on_after_the_extension_and_without_a_restart(host):
    """At the restart for the library only the library was set; the classes came with a reload."""
    messages = [json.loads(line)["message"] for line in host.check_output(f"cat {LOG}/*.json").splitlines()]
    assert 'parameter "pgaudit.log" changed to "write,ddl,role,function,misc_set"' in messages


def test_a_change_of_classes_is_a_reload_and_an_interrupted_one_is_finished(host, converge):
    started = sql(host, "SELECT pg_postmaster_start_time()")
    done = converge(pgaudit_log=["ddl", "role"], pgaudit_watched_roles=[MIGRATOR])
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql(host, "SHOW pgaudit.log") == "ddl,role"
    assert sql_as(host, MIGRATOR, "SHOW log_statement").stdout.strip() == "all"
    sql(host, "ALTER SYSTEM SET pgaudit.log = 'DDL'")
    sql(host, "ALTER SYSTEM SET pgaudit.log_client = on")  # both are the guide's, and would win over our file
    host.check_output(f"rm {CONF} /var/lib/tovplay/applied/pgaudit")  # as if killed before anything was placed
    done = converge()
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql(host, "SHOW pgaudit.log") == "write,ddl,role,function,misc_set"
    assert sql(host, "SHOW pgaudit.log_client") == "off"
    assert sql(host, "SELECT pg_postmaster_start_time()") == started
    sql(host, f"ALTER ROLE {MIGRATOR} RESET log_statement")


def test_readers_of_named_tables_are_logged(host, converge):
    done = converge(pgaudit_read_audited=[{"database": "TovPlay", "schema": "public", "tables": ["solo"]}])
    assert done.returncode == 0, done.stdout[-3000:]
    (row,) = audited(host, APP, "SELECT id FROM solo")
    assert row[:1] + row[3:7] == ["OBJECT", "READ", "SELECT", "TABLE", "public.solo"]
    assert audited(host, APP, "SELECT pid FROM parent") == []
    assert converge().returncode == 0


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"pgaudit_postgresql_version": 12}, "pgaudit has packages for PostgreSQL 13 to 17"),
        ({"pgaudit_cluster": "other"}, "has no PostgreSQL 15 cluster other; run ansible-playbook site.yml --tags"),
        ({"pgaudit_log": ["DDL"]}, "value of pgaudit_log must be one or more of"),
        ({"pgaudit_pooled_roles": ["nobody"]}, "name nobody, which the server does not have"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_refused_in_one_sentence_before_anything_changes(refusal, variables, sentence):
    refusal(sentence, **variables)


def test_a_list_of_libraries_that_would_win_is_refused(host, refusal):
    sql(host, "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain'")
    try:
        refusal("postgresql.auto.conf sets shared_preload_libraries to auto_explain, which wins over every file")
    finally:
        sql(host, "ALTER SYSTEM RESET shared_preload_libraries")


def test_no_password_in_any_log(host, converge):
    """Not even while every statement of the superuser is logged; pgaudit's own line has the password cut out."""
    new = f"another-password-{RUN}"
    done = converge(playbook="prepare.yml", vault_postgresql_migrator_password=new)
    assert done.returncode == 0, done.stdout[-3000:]
    PASSWORDS[MIGRATOR], old = new, PASSWORDS[MIGRATOR]
    assert sql_as(host, MIGRATOR, "SELECT 1").rc == 0
    PASSWORDS[MIGRATOR] = old
    sql(host, f"ALTER ROLE {MIGRATOR} PASSWORD '{old}'", options="-c log_statement=none")
    logs = host.check_output(f"cat {LOG}/* /var/log/postgresql/*")
    assert f'{MIGRATOR}\\"\\" WITH ENCRYPTED PASSWORD <REDACTED>' in logs
    assert not [password for password in [*PASSWORDS.values(), new] if password in logs]
