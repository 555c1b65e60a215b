"""What PostgreSQL itself saw of identity, through either driver, straight and through a pool of one connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from tovplay_telemetry import audit_context
from tovplay_telemetry.database.statements import kind

from tests.unit.telemetry.conftest import KEY

DRIVERS = ("psycopg2", "psycopg")


def is_of_a_first_connection(span: dict) -> bool:
    """SQLAlchemy asks a few questions of its own when an engine is new."""
    statement = span["attributes"].get("db.statement", "")
    return any(word in statement for word in ("version()", "current_schema()", "show ", "pg_type"))


def told(row: dict) -> dict:
    """The claims that a row's trigger saw; they must be signed, and the tag must say the same."""
    claims = audit_context.verify(row["ctx"], [KEY])
    assert claims is not None, row
    assert f"u={claims['uid']}" in row["tag"].split(";") and f"c={claims['cid'][:8]}" in row["tag"].split(";")
    return claims


@pytest.fixture(
    scope="module", params=[(driver, way) for driver in DRIVERS for way in ("straight", "pooled")], ids="-".join
)
def cases(request, cluster, run):
    driver, way = request.param
    dsn = cluster.dsn if way == "straight" else request.getfixturevalue("pooler")
    lines = run("database_cases.py", driver, dsn)
    return {line.pop("case"): line for line in lines}


def test_a_writing_transaction_carries_who_and_leaves_nothing_behind(cases):
    case = cases["plain"]
    for name in ("plain a", "plain b"):
        claims = told(case[name])
        assert claims["uid"] == 1 and claims["cid"] == case["id"] and claims["route"] == "plain"
    assert case["plain a"]["ctx"] == case["plain b"]["ctx"]
    assert case["after"][0] == "" and "u=1" not in case["after"][1]


def test_a_transaction_that_only_reads_is_told_nothing(cases):
    assert cases["reading"]["now"][0] == "" and "u=1" not in cases["reading"]["now"][1]


def test_a_rollback_to_a_savepoint_does_not_take_it_away(cases):
    assert cases["savepoint"]["savepoint lost"] is None
    assert told(cases["savepoint"]["savepoint kept"])["uid"] == 2


def test_what_was_taken_back_is_told_again(cases):
    assert [told(row)["uid"] for row in cases["taken_back"].values()] == [11, 12, 12]


def test_another_user_in_the_same_transaction_is_told_anew(cases):
    assert [told(cases["change"][name])["uid"] for name in ("change a", "change b")] == [3, 4]
    assert cases["change"]["change a"]["tx"] == cases["change"]["change b"]["tx"]


def test_errors_are_the_applications(cases):
    assert (
        cases["rolled_back"]["caught"] == "UniqueViolation"
        and cases["rolled_back"]["failed"] == "InFailedSqlTransaction"
    )
    assert told(cases["rolled_back"]["after rollback"])["uid"] == 5
    assert cases["deferred"]["caught"] == "UniqueViolation" and cases["deferred"]["rows"] == [[0]]


def test_a_statement_alone_carries_it_where_it_can(cases):
    case = cases["autocommit"]
    assert case["returned"] == [["auto b"]] and case["caught"] == "UniqueViolation" and case["untold"] == 1
    assert all(told(case[name])["uid"] == 6 for name in ("auto b", "auto c", "auto d", "auto e"))
    assert case["auto c"]["tx"] == case["auto d"]["tx"] != case["auto e"]["tx"]
    assert case["after"][0] == ""


def test_many_rows_and_copy(cases):
    assert all(told(row)["uid"] == 7 for row in cases["many"].values())


def test_blocks_of_the_driver(cases):
    assert len(cases["own_blocks"]) >= 2 and all(told(row)["uid"] == 8 for row in cases["own_blocks"].values())


def test_server_side_cursors_and_read_only_transactions(cases):
    assert cases["server_side"]["rows"] == [1, 2, 3] and told(cases["server_side"]["server side"])["uid"] == 9
    assert "u=10" in cases["standby"]["tag"]


def test_nothing_of_ours_failed(cases):
    assert not [name for name in cases["counts"] if name.startswith("faults")], cases["counts"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_two_hundred_writes_of_fifty_users_through_one_server_connection(serve, pooler, receiver, cluster, driver):
    url = f"postgresql+{driver}://postgres@/TovPlay?host={cluster.folder}&port=6432"
    with serve("sample:app", threads=8, DATABASE=url, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as served:

        def ask(number: int) -> tuple[dict, str, int]:
            user = number % 50
            answer = requests.post(f"{served.url}/things/{driver} {number}", headers={"X-Login": str(user)}, timeout=60)
            return answer.json(), answer.headers["X-Correlation-ID"], user

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(200)))
        spans = receiver.wait(lambda found: len(found) >= 600)
    for row, made, user in answers:
        claims = audit_context.verify(row["witness"], [KEY])
        assert claims is not None and claims["uid"] == user and claims["cid"] == made
        assert claims["method"] == "POST" and claims["route"] == "/things/<name>"
        trace = audit_context.trace_id(claims)
        assert row["tag"] == f"t={trace};u={user};c={made[:8]}"
        of_request = [span for span in spans if span["traceId"] == trace and not is_of_a_first_connection(span)]
        (server,) = (span for span in of_request if span["kind"] == 2)
        assert server["attributes"]["enduser.id"] == str(user) and server["attributes"]["correlation_id"] == made
        assert all(span is server or span["parentSpanId"] == server["spanId"] for span in of_request)


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ('select "User".id, count(*) from "User" where lower(name) in (%(a)s) group by 1', True),
        ("  /* page */\n (SELECT max(id) FROM thing)", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("WITH gone AS (DELETE FROM thing RETURNING id) SELECT count(*) FROM gone", False),
        ("SELECT wipe()", False),
        ('SELECT "wipe" ()', False),
        ("SELECT audit.wipe(1)", False),
        ("SELECT 1; DELETE FROM thing", False),
        ("SELECT * INTO copy FROM thing", False),
        ("SELECT * FROM thing FOR UPDATE", False),
        ("EXPLAIN ANALYZE DELETE FROM thing", False),
        ("DO $$ BEGIN DELETE FROM thing; END $$", False),
        ("", False),
        ("SELECT 1 " * 20000, False),
    ],
)
def test_what_may_write_is_never_taken_for_a_read(sql, reads):
    assert kind(sql).reads is reads


def test_a_password_in_a_statement_stays_out_of_the_span():
    assert "hunter2" not in kind("ALTER ROLE app PASSWORD 'hunter2'").shown
