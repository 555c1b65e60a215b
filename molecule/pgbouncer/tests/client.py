"""Clients on the scenario's host: `python3 client.py FUNCTION < arguments.json`, the result as JSON.

Runs on the host (Debian's Python and psycopg2), since the pooler listens on its loopback and bridge only.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import psycopg2
from psycopg2 import sql

STOP = Path("/root/stop")
SOCKET = "/var/lib/tovplay/pgbouncer"
POOLER_UID = 6432


def connect(**parameters):
    parameters = {"host": "127.0.0.1", "port": 6432, "dbname": "TovPlay", "connect_timeout": 10} | parameters
    connection = psycopg2.connect(**parameters)
    connection.autocommit = True
    return connection


def ask(connection, statement, values=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, map(str, row))) for row in cursor]  # noqa: B905 (Python 3.9 lacks strict)


def query(statement, values=None, **parameters):
    """Rows, or what the server or pooler said instead."""
    try:
        with contextlib.closing(connect(**parameters)) as connection:
            return {"rows": ask(connection, statement, values), "port": port_of(connection)}
    except psycopg2.Error as error:
        return {"error": str(error)}


def port_of(connection):
    """Local port of a TCP connection."""
    import socket

    with contextlib.closing(socket.socket(fileno=os.dup(connection.fileno()))) as copy:
        return copy.getsockname()[1] if copy.family == socket.AF_INET else None


def console(statements, user="pgbouncer", **parameters):
    """The console as the pooler's own account, over its socket."""
    pid = os.getpid()
    os.setgroups([])
    os.setuid(POOLER_UID)
    try:
        with contextlib.closing(connect(host=SOCKET, dbname="pgbouncer", user=user, **parameters)) as connection:
            return {"rows": [ask(connection, statement) for statement in statements], "pid": pid}
    except psycopg2.Error as error:
        return {"error": str(error)}


def crowd(count, watch, **parameters):
    """That many clients at a time; then all ask, a hundred of them at once. `watch` is who came first and looks."""
    watcher = connect(dbname="pgbouncer", **watch)
    clients, errors = [], []
    for _ in range(count):
        try:
            clients.append(connect(**parameters))
        except psycopg2.Error as error:
            errors.append(str(error))
    lists = {row["list"]: int(row["items"]) for row in ask(watcher, "SHOW LISTS")}
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answered = sum(map(len, pool.map(lambda client: ask(client, "SELECT pg_sleep(0.02)"), clients)))
    servers = len(ask(watcher, "SHOW SERVERS"))
    return {"clients": len(clients), "errors": errors[:3], "lists": lists, "answered": answered, "servers": servers}


def held(begin=False, **parameters):
    """One client that is connected (or in a transaction) before and after the file STOP has come."""
    begun = time.time()
    connection = connect(**parameters)
    ask(connection, "BEGIN" if begin else "SELECT 1")
    while not STOP.exists() and time.time() - begun < 120:
        time.sleep(0.1)
    try:
        return {"rows": ask(connection, "SELECT session_user")}
    except psycopg2.Error as error:
        return {"error": str(error)}


def load(count, **parameters):
    """That many clients, one transaction after the other, until the file STOP is there; what they got, and when."""
    begun, done, errors = time.time(), [], []

    def work():
        try:
            with contextlib.closing(connect(**parameters)) as connection:
                while not STOP.exists() and time.time() - begun < 120:
                    ask(connection, "BEGIN")
                    ask(connection, "SELECT pg_sleep(0.002)")
                    ask(connection, "COMMIT")
                    done.append(time.time())
        except psycopg2.Error as error:
            errors.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"transactions": len(done), "errors": errors, "first": min(done, default=0), "last": max(done, default=0)}


def as_postgres(statements, fetch=False, dbname="postgres"):
    """Statements as the superuser, past the pooler: [[text with {}, names to quote, then values]]."""
    import pwd

    os.setuid(pwd.getpwnam("postgres").pw_uid)
    rows = []
    with contextlib.closing(
        connect(host="/var/run/postgresql", port=5432, dbname=dbname, user="postgres")
    ) as connection:
        connection.autocommit = False  # all or nothing, so that a test can be repeated
        for text, names, values in statements:
            parts = [*map(sql.Identifier, names), *map(sql.Literal, values)]
            rows = ask(connection, sql.SQL(text).format(*parts))
        connection.commit()
    return rows if fetch else len(statements)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.load(sys.stdin))))
