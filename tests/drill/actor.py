"""Runs on production's host, its text handed to `python3 -c`: sessions do what a case says, one step after the other.

Standard input: {"sessions": {name: {host, port, dbname, user, password, as, application_name}}, "steps": [{session,
sql: [[text, parameters]], whole, rollback}]}; `whole`: one transaction. Standard output: a list with one answer a step,
{"xid": number or null, "rows": count, "error": text}.
Sessions stay open over all steps, so steps of two sessions can be interleaved on one pooled server connection.
"""

from __future__ import annotations

import json
import os
import pwd
import sys

import psycopg2


def connect(name: str, given: dict):
    """A connection; over the socket as the operating system's user that PostgreSQL's peer rule asks for."""
    parameters = {key: given[key] for key in ("host", "port", "dbname", "user", "password") if given.get(key)}
    parameters["application_name"] = given.get("application_name", f"drill {name}")
    parameters["connect_timeout"] = 10
    os_user = given.get("as")
    if os_user:
        os.seteuid(pwd.getpwnam(os_user).pw_uid)
    try:
        connection = psycopg2.connect(**parameters)
    finally:
        os.seteuid(0)
    connection.autocommit = True
    return connection


def run(connection, step: dict) -> dict:
    """One step; the transaction's number is asked inside it, once it has written."""
    answer: dict = {"xid": None, "rows": None, "error": None}
    with connection.cursor() as cursor:
        try:
            if step.get("whole"):
                cursor.execute("BEGIN")
            for sql, parameters in step["sql"]:
                cursor.execute(sql, parameters)
                answer["rows"] = cursor.rowcount
            if step.get("whole"):
                cursor.execute("SELECT pg_current_xact_id_if_assigned()::text")
                answer["xid"] = cursor.fetchone()[0]
                cursor.execute("ROLLBACK" if step.get("rollback") else "COMMIT")
        except psycopg2.Error as error:
            answer["error"] = str(error).strip()
            if step.get("whole"):
                cursor.execute("ROLLBACK")
    return answer


def main() -> None:
    asked = json.load(sys.stdin)
    connections, answers = {}, []
    for step in asked["steps"]:
        name = step["session"]
        try:
            if name not in connections:
                connections[name] = connect(name, asked["sessions"][name])
        except psycopg2.Error as error:
            answers.append({"xid": None, "rows": None, "error": str(error).strip()})
            continue
        answers.append(run(connections[name], step))
    json.dump(answers, sys.stdout)


main()
