"""Values stay values: whatever they contain, the query stays the same query."""

from __future__ import annotations

import json
import re

import pytest

import queries
from queries import LogQL, QueryError, in_regex, literal
from queries.__main__ import CONTROL, _parser, _rows, _run, logcli, main

QUERIES = queries.load()
HOSTILE = [
    '123"} or {job=~".+',
    "a`b",
    "a\\",
    '"',
    "`",
    "a\nb",
    "\x00",
    "\x7f",
    "$1",
    "(.*)",
    "[x]",
    "ü, 名, \U0001f4a5",
    "}}",
    "<< x >>",
    "{{ .x }}",
    "# no comment",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_literal_is_one_string(value: str) -> None:
    text = literal(value)
    assert re.fullmatch(r'"(?:[^"\\\x60\x00-\x1f]|\\.)*"', text)
    assert json.loads(text.replace(r"\x60", "`").replace(r"\x7f", "\x7f")) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_a_pattern_matches_only_itself(value: str) -> None:
    pattern = in_regex(value)
    assert not set(pattern) & set('"`\n')
    assert re.fullmatch(pattern, value)
    assert not re.fullmatch(pattern, value + "x")


@pytest.mark.parametrize(
    "number",
    [
        number
        for number, query in QUERIES.items()
        if any(p.type == "text" and not p.choices for p in query.parameters.values())
    ],
)
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_leaves_its_string(number: int, value: str) -> None:
    query = QUERIES[number]
    texts = [name for name, parameter in query.parameters.items() if parameter.type == "text" and not parameter.choices]
    plain = queries.render(query, dict.fromkeys(texts, "PLAIN"))
    assert _skeleton(queries.render(query, dict.fromkeys(texts, value))) == _skeleton(plain)


def _skeleton(logql: str) -> str:
    """The query without what its strings contain."""
    return re.sub(r'"(?:[^"\\]|\\.)*"|`[^`]*`', "S", logql)


@pytest.mark.parametrize(
    ("number", "values", "sentence"),
    [
        (1, {"user": "123"}, "query 1 has no parameter user; it takes user_id, table"),
        (6, {"x": "1"}, "query 6 has no parameter x; it takes no parameter"),
        (4, {"ip": "1.2.3"}, "ip is an address, a network or first-last, not '1.2.3'"),
        (4, {"ip": '1.2.3.4") or ip_address=ip("0.0.0.0/0'}, "ip is an address"),
        (5, {"job": 'x"}'}, "job is one of nginx, flask-api"),
        (7, {"quantile": "0.9)"}, "quantile is a number"),
        (1, {"user_id": "\udcff"}, "user_id is not UTF-8"),
    ],
)
def test_a_value_that_cannot_be_is_refused(number: int, values: dict[str, str], sentence: str) -> None:
    with pytest.raises(QueryError, match=re.escape(sentence)):
        queries.render(QUERIES[number], values)


@pytest.mark.parametrize("window", ["1h]", "", "1", "1 h", "٣h"])
def test_a_window_is_a_duration(window: str) -> None:
    with pytest.raises(QueryError, match="range is a duration"):
        queries.render(QUERIES[5], {}, window=window)


def test_the_window_is_the_time_that_a_table_sums_up() -> None:
    assert "[7d]" in queries.render(QUERIES[5], {}, window="7d")
    assert "[5m]" in queries.render(QUERIES[5], {})


def test_texts_of_ours_stand_as_they_are() -> None:
    assert isinstance(LogQL("x"), str)
    assert queries._render("<< x >>", {"x": LogQL("5m")}) == "5m"


def test_every_query_says_how_the_demo_answers() -> None:
    assert set(QUERIES) == set(range(1, 9))
    for query in QUERIES.values():
        assert query.shape in ("log", "table", "curve")
        assert query.direction in ("backward", "forward")
        assert query.demo["answers"] in ("now", "later")
        assert ("needs" in query.demo) == (query.demo["answers"] == "later")
        queries.render(query, query.demo.get("with", {}))
    assert set(queries.answers_on_demo()) == set(QUERIES)


def test_show_prints_the_query(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["1", "--show", "--lines", "user_id=5"]) == 0
    assert '"/api/delete-user/5"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["9"], "there is no query 9; there are 1 to 8"),
        (["1", "123"], "'123' is not of the form parameter=value"),
        (["5", "--to", "x"], "--from and --to go together"),
    ],
)
def test_a_wrong_command_is_told(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_logcli_is_asked_for_every_line_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/bin/logcli")
    options = _parser().parse_args(["8", "--since", "7d"])
    assert logcli(QUERIES[8], "{}", options) == [
        "/bin/logcli", "--quiet", "query", "--since=7d", "--limit=0", "--no-labels", "{}"
    ]  # fmt: skip
    options = _parser().parse_args(["5", "--from", "2026-01-15T10:00:00Z", "--to", "2026-01-15T11:00:00Z"])
    assert logcli(QUERIES[5], "x", options) == [
        "/bin/logcli", "--quiet", "instant-query", "--now=2026-01-15T11:00:00Z", "x"
    ]  # fmt: skip


def test_without_logcli_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert main(["1"]) == 2
    assert "logcli is not here; `make images` builds it" in capsys.readouterr().err


def test_figures_become_rows() -> None:
    vector = [{"metric": {"job": "a"}, "value": [1, "2"]}, {"metric": {"job": "b"}, "value": [1, "10.5"]}]
    assert _rows(json.dumps(vector)) == ["      10.5  b\n", "         2  a\n"]
    matrix = [{"metric": {"job": "a"}, "values": [[60, "1"], [120, "3"]]}]
    assert _rows(json.dumps(matrix)) == ["1970-01-01T00:01:00Z      1  a\n", "1970-01-01T00:02:00Z      3  a\n"]
    assert _rows("") == []


def test_a_log_line_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["/usr/bin/printf", r"a\033]0;x\007b\tc\n\xff\n"], {}, figures=False) == 0
    shown = capsys.readouterr().out
    assert shown == "a\\x1b]0;x\\x07b\tc\n\ufffd\n"
    assert not CONTROL.search(shown)
