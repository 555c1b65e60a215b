"""Run by test_database.py with telemetry active: database_cases.py DRIVER DSN; one JSON object per case.

Application code as it is written everywhere, against table `thing`, whose trigger keeps the context that it saw.
"""

from __future__ import annotations

import importlib
import io
import json
import sys

from tovplay_telemetry import counts, work

driver = importlib.import_module(sys.argv[1])
dsn = sys.argv[2]
INSERT = "INSERT INTO thing (name) VALUES (%s)"
NOW = "SELECT coalesce(current_setting('audit.ctx', true), ''), current_setting('application_name')"


def connect(autocommit: bool = False):
    connection = driver.connect(dsn)
    connection.autocommit = autocommit
    return connection


def run(connection, sql, parameters=None):
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchall() if cursor.description else None


def seen(*names):
    """uid, tag and transaction that the trigger saw of these rows, as superuser from outside."""
    with work("look"):
        rows = dict.fromkeys(names)
        connection = connect()
        for name, witness, tag, tx in run(
            connection, "SELECT name, witness, tag, tx FROM thing WHERE name = ANY(%s)", (list(names),)
        ):
            rows[name] = {"ctx": witness, "tag": tag, "tx": tx}
        connection.close()
        return rows


def plain():
    connection = connect()
    with work("plain", user_id=1) as job:
        run(connection, INSERT, ("plain a",))
        run(connection, INSERT, ("plain b",))
        connection.commit()
        after = run(connection, NOW)[0]
        connection.rollback()
    return {"id": job.correlation_id, "after": after, **seen("plain a", "plain b")}


def reading():
    connection = connect()
    with work("reading", user_id=1):
        run(connection, "SELECT count(*) FROM thing WHERE lower(name) IN ('a', 'b')")
        return {"now": run(connection, NOW)[0]}


def savepoint():
    connection = connect()
    with work("savepoint", user_id=2):
        run(connection, "SELECT 1")
        run(connection, "SAVEPOINT s")
        run(connection, INSERT, ("savepoint lost",))
        run(connection, "ROLLBACK TO SAVEPOINT s")
        run(connection, INSERT, ("savepoint kept",))
        connection.commit()
    return seen("savepoint lost", "savepoint kept")


def taken_back():
    """What was told after a savepoint goes with it, and a chained transaction begins without."""
    connection = connect()
    with work("taken back", user_id=11):
        run(connection, INSERT, ("before savepoint",))
        run(connection, "SAVEPOINT s")
    with work("another", user_id=12):
        run(connection, INSERT, ("after savepoint",))
        run(connection, "ROLLBACK TO SAVEPOINT s")
        run(connection, INSERT, ("told again",))
        run(connection, "COMMIT AND CHAIN")
        run(connection, INSERT, ("chained",))
        connection.commit()
    return seen("before savepoint", "told again", "chained")


def change():
    """A connection whose transaction goes on when the next one's request begins."""
    connection = connect()
    with work("first", user_id=3):
        run(connection, INSERT, ("change a",))
    with work("second", user_id=4):
        run(connection, INSERT, ("change b",))
        connection.commit()
    return seen("change a", "change b")


def rolled_back():
    connection = connect()
    with work("rolled back", user_id=5):
        try:
            run(connection, "INSERT INTO thing (id) VALUES (1), (1)")
        except driver.IntegrityError as error:
            caught = type(error).__name__
        try:
            run(connection, INSERT, ("in failed",))
        except driver.Error as error:
            failed = type(error).__name__
        connection.rollback()
        run(connection, INSERT, ("after rollback",))
        connection.commit()
    return {"caught": caught, "failed": failed, **seen("after rollback")}


def autocommit():
    connection = connect(autocommit=True)
    with work("autocommit", user_id=6):
        run(connection, INSERT, ("auto a",))
        returned = run(connection, "UPDATE thing SET name = 'auto b' WHERE name = 'auto a' RETURNING name")
        try:
            run(connection, "INSERT INTO thing (id) VALUES (2), (2)")
        except driver.IntegrityError as error:
            caught = type(error).__name__
        before = counts().get("contexts_untold", 0)
        run(connection, "VACUUM thing")
        untold = counts().get("contexts_untold", 0) - before
        after = run(connection, NOW)[0]
        run(connection, "BEGIN")
        run(connection, INSERT, ("auto c",))
        run(connection, INSERT, ("auto d",))
        run(connection, "COMMIT")
        run(connection, "BEGIN")
        run(connection, INSERT, ("auto e",))
        run(connection, "COMMIT")
    found = seen("auto b", "auto c", "auto d", "auto e")
    return {"returned": returned, "caught": caught, "untold": untold, "after": after, **found}


def deferred():
    """An error that only COMMIT raises is the application's."""
    connection = connect(autocommit=True)
    with work("deferred", user_id=6):
        run(connection, "CREATE TABLE IF NOT EXISTS late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        try:
            run(connection, "INSERT INTO late VALUES (1), (1)")
        except driver.IntegrityError as error:
            caught = type(error).__name__
        return {"caught": caught, "rows": run(connection, "SELECT count(*) FROM late")}


def many():
    connection = connect()
    with work("many", user_id=7):
        connection.cursor().executemany(INSERT, [("many a",), ("many b",)])
        connection.commit()
        if sys.argv[1] == "psycopg2":
            connection.cursor().copy_expert("COPY thing (name) FROM STDIN", io.StringIO("copied\n"))
        else:
            with connection.cursor().copy("COPY thing (name) FROM STDIN") as copy:
                copy.write("copied\n")
        connection.commit()
    return seen("many a", "many b", "copied")


def own_blocks():
    """`with connection:` and, of psycopg 3, `with connection.transaction():`, one after the other and nested."""
    connection = connect()
    with work("blocks", user_id=8):
        with connection:
            run(connection, INSERT, ("block a",))
        if sys.argv[1] == "psycopg2":
            with connection:
                run(connection, INSERT, ("block b",))
            return seen("block a", "block b")
        connection = connect(autocommit=True)
        for name in ("block b", "block c"):
            with connection.transaction():
                run(connection, INSERT, (name,))
        with connection.transaction():
            try:
                with connection.transaction():
                    run(connection, INSERT, ("block lost",))
                    raise KeyError
            except KeyError:
                run(connection, INSERT, ("block d",))
        with connection.pipeline(), connection.transaction():
            run_only = connection.cursor()
            run_only.execute(INSERT, ("block e",))
        return seen("block a", "block b", "block c", "block d", "block e")


def server_side():
    connection = connect()
    with work("server side", user_id=9):
        cursor = connection.cursor("named")
        cursor.execute("SELECT generate_series(1, 3)")
        rows = [row[0] for row in cursor]
        cursor.close()
        run(connection, INSERT, ("server side",))
        connection.commit()
    return {"rows": rows, **seen("server side")}


def standby():
    """A read-only transaction takes what is told, too."""
    connection = connect()
    with work("read only", user_id=10):
        run(connection, "SET TRANSACTION READ ONLY")
        tag = run(connection, "SELECT quote_ident(current_setting('application_name'))")[0][0]
        connection.rollback()
    return {"tag": tag}


CASES = (
    plain,
    reading,
    savepoint,
    taken_back,
    change,
    rolled_back,
    autocommit,
    deferred,
    many,
    own_blocks,
    server_side,
    standby,
)
for case in CASES:
    print(json.dumps({"case": case.__name__, **case()}), flush=True)
print(json.dumps({"case": "counts", **counts()}), flush=True)
