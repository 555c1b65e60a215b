"""In a real Loki, through logcli: each query finds the golden lines that it must find, and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

import queries
from tests.golden.reader import Entry
from tests.unit.queries.conftest import Logcli

FROM, TO = "2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z"
DAY_BEFORE, FIVE_MINUTES_BEFORE = "2026-01-14T11:00:00Z", "2026-01-15T10:55:00Z"
STARTS = {"24h": DAY_BEFORE, "1h": FROM, "5m": FIVE_MINUTES_BEFORE}
QUERIES = queries.load()

# mark in the golden log: the query, and the values it is asked with
CASES = {
    "1": (1, {}),
    "1u": (1, {"user_id": "1234"}),
    "2": (2, {}),
    "2r": (2, {"email": "raz@tovtech.org"}),
    "3": (3, {}),
    "3r": (3, {"table": "GameRequest"}),
    "4": (4, {}),
    "4n": (4, {"ip": "192.168.1.1-192.168.1.50"}),
    "5": (5, {}),
    "5f": (5, {"job": "flask-api"}),
    "6": (6, {}),
    "7": (7, {}),
    "7f": (7, {"job": "flask-api"}),
    "8": (8, {}),
    "8s": (8, {"user_id": "7"}),
}


def found(logcli: Logcli, logql: str, start: str) -> list[str]:
    done = logcli("--output=jsonl", "query", f"--from={start}", f"--to={TO}", "--limit=0", logql)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["line"] for line in done.stdout.splitlines()]


def differences(expected: list[Entry], lines: list[str], golden: list[Entry]) -> list[str]:
    """What is missing and what is too much, each with the reason that the golden log gives."""
    named = {entry.line: entry for entry in golden}
    missing = [f"missing: {entry.why or entry.line} ({entry.file})" for entry in expected if entry.line not in lines]
    wanted = {entry.line for entry in expected}
    return missing + [
        f"too much: {named[line].why or line} ({named[line].file})" for line in lines if line not in wanted
    ]


@pytest.mark.parametrize("mark", CASES)
def test_a_query_finds_the_golden_lines_and_no_other(mark: str, logcli: Logcli, golden: list[Entry]) -> None:
    number, values = CASES[mark]
    expected = [entry for entry in golden if mark in entry.answers]
    assert expected
    lines = found(logcli, queries.render(QUERIES[number], values, lines=True), STARTS[QUERIES[number].range])
    assert not differences(expected, lines, golden)
    assert len(lines) == len(expected)


def test_every_mark_of_the_golden_log_is_a_case(golden: list[Entry]) -> None:
    assert {mark for entry in golden for mark in entry.answers} == set(CASES)


def table(logcli: Logcli, number: int, values: Mapping[str, str]) -> dict[tuple[str, ...], float]:
    done = logcli("instant-query", f"--now={TO}", queries.render(QUERIES[number], values))
    assert done.returncode == 0, done.stderr
    return {
        tuple(value for _, value in sorted(row["metric"].items())): float(row["value"][1])
        for row in json.loads(done.stdout)
    }


TABLES = {
    "failed logins": (4, {}, {("192.168.1.100", "nginx"): 2, ("192.168.1.100", "flask-api"): 1}),
    "failed logins of a network": (
        4,
        {"ip": "192.168.0.0/16"},
        {
            ("192.168.1.100", "nginx"): 2,
            ("192.168.1.100", "flask-api"): 1,
            ("192.168.1.10", "nginx"): 1,
            ("192.168.1.10", "flask-api"): 1,
        },
    ),
    "server errors": (
        5,
        {},
        {
            ("GET /api/reports/revenue", "500"): 2,
            ("PATCH /api/game-requests/:id", "502"): 2,
            ("GET /api/reports/activity", "504"): 1,
        },
    ),
    "server errors by route": (5, {"job": "flask-api"}, {("GET /api/users/<int:user_id>", "500"): 1}),
    "slow endpoints": (
        7,
        {"quantile": "0.5"},
        {("GET /api/reports/activity",): (1001 + 1504) / 2},
    ),
    "slow endpoints, any one request": (
        7,
        {"quantile": "1"},
        {("GET /api/reports/activity",): 60001, ("GET /api/users/:id/friends",): 1200},
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_an_answer_sums_up_the_golden_lines(case: str, logcli: Logcli) -> None:
    number, values, expected = TABLES[case]
    assert table(logcli, number, values) == pytest.approx(expected)


def test_the_curve_counts_each_refused_connection_once(logcli: Logcli, golden: list[Entry]) -> None:
    done = logcli(
        "--output=jsonl", "query", f"--from={FROM}", f"--to={TO}", "--step=1m", queries.render(QUERIES[6], {})
    )
    assert done.returncode == 0, done.stderr
    counted = {
        series["metric"]["job"]: sum(float(value) for _, value in series["values"])
        for series in json.loads(done.stdout)
    }
    expected = [entry.labels["job"] for entry in golden if "6" in entry.answers]
    assert counted == {job: expected.count(job) for job in set(expected)}


@pytest.mark.parametrize("number", [number for number, query in QUERIES.items() if query.shape == "log"])
def test_an_answer_keeps_every_line(number: int, logcli: Logcli, golden: list[Entry]) -> None:
    lines = found(logcli, queries.render(QUERIES[number], {}), STARTS[QUERIES[number].range])
    assert len(lines) == len([entry for entry in golden if str(number) in entry.answers])
    assert all(line.strip() and "<no value>" not in line for line in lines)


@pytest.mark.parametrize("number", QUERIES)
def test_the_guides_own_text_does_not_answer(number: int, logcli: Logcli, golden: list[Entry]) -> None:
    query = QUERIES[number]
    if query.seed_fault == "syntax error":
        done = logcli("query", f"--from={DAY_BEFORE}", f"--to={TO}", query.seed)
        assert done.returncode != 0
        assert "parse error at line 1" in done.stderr
    else:
        asked = found(logcli, query.seed, DAY_BEFORE)
        assert asked
        assert asked == found(logcli, query.seed.partition("| pattern")[0], DAY_BEFORE)
        assert differences([entry for entry in golden if str(number) in entry.answers], asked, golden)


def test_a_wrong_query_is_noticed(logcli: Logcli, golden: list[Entry]) -> None:
    """The verifier bites: one that loses lines and one that finds too many are both told apart from the right one."""
    expected = [entry for entry in golden if "1" in entry.answers]
    right = queries.render(QUERIES[1], {}, lines=True)
    forgets_nginx = found(
        logcli, right.replace('job=~"nginx|flask-api|postgres-audit"', 'job=~"flask-api|postgres-audit"'), DAY_BEFORE
    )
    assert any("missing" in difference for difference in differences(expected, forgets_nginx, golden))
    believes_explain = found(logcli, right.replace('command_tag!="EXPLAIN"', 'command_tag!=""'), DAY_BEFORE)
    assert any("EXPLAIN alone" in difference for difference in differences(expected, believes_explain, golden))
