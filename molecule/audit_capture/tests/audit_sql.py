"""What the tests of this scenario share: sessions of each role, and what the audit noted of them."""

from __future__ import annotations

import csv
import json
import shlex

from passwords import PASSWORDS

LOG = "/var/log/tovplay/postgresql"
WEIRD = '"we""ird \'e é"'
TABLES = """
DROP TABLE IF EXISTS "User", "Game", "GameRequest", "ScheduledSession", "UserFriends", "Measure", measure_2, measure_3;
DROP TABLE IF EXISTS fleeting, newcomer, :weird;
CREATE TABLE "User" (id int PRIMARY KEY, email text, password_hash text);
CREATE TABLE "Game" (id int PRIMARY KEY, title text);
CREATE TABLE "GameRequest" (id int PRIMARY KEY, game_id int REFERENCES "Game" ON DELETE CASCADE,
                            user_id int REFERENCES "User" ON DELETE CASCADE);
CREATE TABLE "ScheduledSession" (id int PRIMARY KEY, starts_at timestamptz DEFAULT now());
CREATE TABLE "UserFriends" (user_id int, friend_id int, PRIMARY KEY (user_id, friend_id));
CREATE TABLE "Measure" (day date, id int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE measure_1 PARTITION OF "Measure" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE :weird (e int PRIMARY KEY, "tok""en 'e" text, "x''; DROP TABLE ""Game""; --" int, "日本" text);
"""
ROWS = """
INSERT INTO "User" SELECT g, 'u' || g || '@x', 'scrypt:secret' FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
INSERT INTO "Game" SELECT g, 'title' FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
INSERT INTO "GameRequest" SELECT g, g, g FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
INSERT INTO "ScheduledSession" SELECT g FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
INSERT INTO "Measure" SELECT '2026-01-05', g FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
"""


def sql(host, query, role="postgres", name="test", options=""):
    """The answer of a session that must not fail."""
    done = run(host, query, role, name, options)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def run(host, query, role="postgres", name="test", options="", stop=1):
    """psql as role: the superuser through the socket, others by password; queries have variables name and weird."""
    session = ["env", f"PGAPPNAME={name}", f"PGOPTIONS={options}", f"PGPASSWORD={PASSWORDS.get(role, '')}"]
    where = f"dbname=TovPlay user={role} connect_timeout=5"
    if role == "postgres":
        session = ["sudo", "-u", "postgres", *session]
    else:
        where += " host=127.0.0.1"
    variables = ["-v", f"ON_ERROR_STOP={stop}", "-v", f"name={name}", "-v", f"weird={WEIRD}"]
    command = shlex.join([*session, "psql", "-XAtq", *variables, "-d", where])
    return host.run("printf %%s %s | " + command.replace("%", "%%"), query)


def rows(host, query, name="test"):
    """Of a query with one JSON value a row."""
    return [json.loads(line) for line in sql(host, query, name=name).splitlines()]


def context(host, name):
    """What was noted of one application_name, in the order of its transactions."""
    return rows(host, "SELECT to_json(c) FROM audit.context c WHERE application_name = :'name' ORDER BY at", name)


def findings(host, name):
    return rows(host, "SELECT to_json(f) FROM audit.finding f WHERE application_name = :'name' ORDER BY at", name)


def events(host, name):
    return rows(host, "SELECT to_json(d) FROM audit.ddl d WHERE application_name = :'name' ORDER BY at", name)


def published(host, pattern):
    query = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE tablename ~ :'name'"
    return sql(host, query, name=pattern)


def log_lines(host, name):
    """What the server's log has of one application_name; it writes the line of the disconnection last."""
    wait = f"until grep -q 'disconnection.*\"{name}\"' {LOG}/*.json; do sleep 0.05; done"
    host.check_output("timeout 10 sh -c %s", wait)
    lines = [json.loads(line) for line in host.check_output(f"cat {LOG}/*.json").splitlines()]
    return [line for line in lines if line.get("application_name") == name]


def guard_lines(host, name):
    """What the guard told the server's log of one application_name: verdicts, as the JSON that they are."""
    prefix = "AUDIT-GUARD: "
    messages = [line.get("message", "") for line in log_lines(host, name)]
    return [json.loads(text.removeprefix(prefix)) for text in messages if text.startswith(prefix)]


def pgaudit_lines(host, name):
    """What the second witness noted of one application_name: the fields of its lines."""
    prefix = "AUDIT: "
    messages = [line.get("message", "") for line in log_lines(host, name)]
    return [next(csv.reader([text.removeprefix(prefix)])) for text in messages if text.startswith(prefix)]
