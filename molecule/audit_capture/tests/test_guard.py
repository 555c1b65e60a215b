"""What is too much: warned of, refused, or let pass with a reason; the server's log has every verdict."""

from __future__ import annotations

from audit_sql import ROWS, context, findings, guard_lines, rows, run, sql
from passwords import APP, MIGRATOR

testinfra_hosts = ["docker://tovplay-audit-capture"]


def test_guard_warns_once_and_lets_pass(host, name, rows_to_lose):
    sql(
        host,
        """BEGIN; DELETE FROM "GameRequest" WHERE id <= 80; DELETE FROM "GameRequest" WHERE id <= 150;
           DELETE FROM "GameRequest"; COMMIT""",
        APP,
        name,
    )
    (found,) = findings(host, name)
    assert (found["kind"], found["severity"], found["db_user"]) == ("mass_change", "high", APP)
    assert (found["detail"]["verdict"], found["detail"]["rows"], found["detail"]["limit"]) == ("warned", 150, 100)
    assert [line["verdict"] for line in guard_lines(host, name)] == ["warned"]


def test_guard_blocks_and_the_attempt_is_in_the_log(host, name, rows_to_lose):
    done = run(host, "UPDATE \"Game\" SET title = 'wiped'", APP, name)
    assert done.rc != 0
    assert 'audit guard: UPDATE of 300 rows of public."Game" (at most 100) is refused' in done.stderr
    assert "SET LOCAL audit.reason" in done.stderr
    assert sql(host, "SELECT count(*) FROM \"Game\" WHERE title = 'wiped'") == "0"
    assert findings(host, name) == []
    (line,) = guard_lines(host, name)
    assert (line["verdict"], line["kind"], line["db_user"], line["client_addr"]) == (
        "blocked",
        "mass_change",
        APP,
        "127.0.0.1",
    )
    assert line["detail"]["statement"] == "UPDATE \"Game\" SET title = 'wiped'"


def test_what_earlier_transactions_of_a_session_did_does_not_count(host, name, rows_to_lose):
    """The server's counters still have it: they are flushed once a second at most."""
    one = "UPDATE \"Game\" SET title = 'x' WHERE id <= 90;"
    sql(host, one * 10 + f"BEGIN; {one} COMMIT; BEGIN; {one} ROLLBACK; {one}", APP, name)
    done = run(host, f"{one * 5} BEGIN; {one} {one} COMMIT", APP, name)
    assert "UPDATE of 180 rows" in done.stderr
    assert len(guard_lines(host, name)) == 1


def test_transactions_without_a_rest_are_counted_each_for_itself(host, name, rows_to_lose):
    """A procedure that commits never goes idle, and only then does the server take its counters away."""
    sql(
        host,
        """DO $$ BEGIN FOR n IN 1..5 LOOP UPDATE "GameRequest" SET id = id WHERE id <= 90; COMMIT; END LOOP;
           UPDATE "UserFriends" SET friend_id = friend_id; UPDATE "GameRequest" SET id = id WHERE id <= 110; END $$""",
        APP,
        name,
    )
    assert [found["detail"]["rows"] for found in findings(host, name)] == [110]


def test_what_block_would_have_refused_is_listed(host, name, rows_to_lose):
    sql(host, 'DELETE FROM "GameRequest" WHERE id <= 200', APP, name)
    sql(host, ROWS, APP)
    sql(host, 'DELETE FROM "GameRequest" WHERE id <= 300', APP, name)
    sql(host, ROWS, APP)
    sql(host, "BEGIN; SET LOCAL audit.reason = 'meant'; DELETE FROM \"GameRequest\"; COMMIT", APP, name)
    (listed,) = rows(host, "SELECT to_json(w) FROM audit.would_block w WHERE application_name = :'name'", name)
    assert (listed["relation"], listed["command"], listed["db_user"]) == ('public."GameRequest"', "DELETE", APP)
    assert (listed["times"], listed["most_rows"], listed["limit_then"]) == (2, 300, 100)
    assert listed["last_statement"] == 'DELETE FROM "GameRequest" WHERE id <= 300'


def test_a_reason_lets_pass_and_becomes_the_why(host, name, rows_to_lose):
    sql(host, "BEGIN; SET LOCAL audit.reason = 'ticket 7'; DELETE FROM \"Game\"; COMMIT", APP, name)
    (found,) = [found for found in findings(host, name) if found["detail"]["table"] == 'public."Game"']
    assert (found["reason"], found["severity"], found["detail"]["verdict"]) == ("ticket 7", "notice", "allowed")
    assert context(host, name)[0]["reason"] == "ticket 7"
    assert {(line["verdict"], line["reason"]) for line in guard_lines(host, name)} == {("allowed", "ticket 7")}


def test_guard_off_counts_nothing(host, name):
    sql(
        host,
        'INSERT INTO "UserFriends" SELECT g, g + 1 FROM generate_series(1, 5000) g; DELETE FROM "UserFriends"',
        APP,
        name,
    )
    assert (len(context(host, name)), findings(host, name)) == (2, [])


def test_truncate_cascade_is_judged_for_every_table(host, name, rows_to_lose):
    """Which pgaudit's line does not name."""
    done = run(host, 'TRUNCATE "Game" CASCADE', MIGRATOR, name)
    assert 'TRUNCATE of public."Game" is refused' in done.stderr
    sql(host, 'TRUNCATE "User" CASCADE', MIGRATOR, name)
    assert {f["detail"]["table"] for f in findings(host, name)} == {'public."User"', 'public."GameRequest"'}


def test_an_application_cannot_truncate_drop_or_alter(host):
    for query in (
        'TRUNCATE "User"',
        'DROP TABLE "User"',
        'ALTER TABLE "User" DISABLE TRIGGER ALL',
        "CREATE TABLE t (id int)",
    ):
        assert run(host, query, APP).rc != 0, query
