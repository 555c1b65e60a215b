"""The report: who is named, how sure that is, and what is never said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import whodunit
from tovplay_telemetry import audit_context
from whodunit.attempts import attempts
from whodunit.context import judge
from whodunit.material import Material
from whodunit.model import Change, Grade, Line, Sample, SourceState, Span, Transaction
from whodunit.render import as_html, as_json, as_text
from whodunit.report import build

KEY = b"correct horse battery staple"
AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CID = "c" * 32
TRACE = "7" * 32
CLAIMS = {
    "uid": 42,
    "ip": "203.0.113.9",
    "pod": "web-1",
    "method": "DELETE",
    "route": "/users/<int:id>",
    "reason": "gdpr",
    "cid": CID,
    "tp": f"00-{TRACE}-0000000000000001-01",
    "iat": int(AT.timestamp()),
}
SESSION = "69a42cf0.1f"
SCHEMA = json.loads((Path(whodunit.__file__).parent / "schema.json").read_text())


def transaction(**changes) -> Transaction:
    return Transaction(
        **{
            "tx": 10,
            "epoch": 1,
            "xid": 700,
            "commit_at": AT,
            "lsn": "0/1A2B3C",
            "at": AT - timedelta(milliseconds=20),
            "pg_session_id": SESSION,
            "pid": 31,
            "db_user": "app",
            "db_role": "app",
            "client_addr": "10.0.0.9",
            "client_port": 41000,
            "application_name": "t=7;u=42",
            "command": "DELETE",
            "table_name": "public.User",
            "statement": 'DELETE FROM "User" WHERE true',
            "ctx": audit_context.sign(CLAIMS, KEY),
            "reason": None,
            "replication_role": "origin",
            "context_rows": 1,
            **changes,
        }
    )


def line(job="postgres-audit", at=AT - timedelta(milliseconds=30), text="", **fields) -> Line:
    base = {
        "pg_session_id": SESSION,
        "vxid": "3/7",
        "db_user": "app",
        "client_addr": "10.0.0.9",
        "client_port": "41000",
    }
    if job in ("flask-api", "nginx", "pgbouncer"):
        base = {}
    return Line(
        at, job, {**base, **fields}, text or json.dumps({"message": fields.get("statement", "x"), "n": str(at)})
    )


AUDITED = {
    "audit_class": "WRITE",
    "action": "DELETE",
    "table_name": "User",
    "statement": 'DELETE FROM "User" WHERE true',
    "xid": "700",
}


def material(*transactions: Transaction, **lines) -> Material:
    listed = list(transactions) or [transaction()]
    return Material(
        listed,
        {each.tx: judge(each, [KEY]) for each in listed},
        ("app",),
        changes=[Change(each.tx, 1, "public", "User", "D", 100, 1, 100) for each in listed],
        samples=[Sample("public.User", "D", 1, "[1]", {"id": "1", "email": "a@b"}, None)],
        sources=[SourceState("vault", "answered")],
        **lines,
    )


def answers(found) -> dict[str, tuple[str, str]]:
    return {each.name: (each.value, str(each.grade)) for each in build(found).answers}


def test_two_witnesses_prove_every_answer():
    found = material(
        session_lines=[line(**AUDITED)],
        request_lines=[
            line(
                "flask-api",
                correlation_id=CID,
                user_id="42",
                method="DELETE",
                route="/users/<int:id>",
                action_reason="gdpr",
            )
        ],
        login_lines=[
            line(
                "postgres",
                text=json.dumps({"message": 'connection authenticated: identity="app" method=scram-sha-256 (x:1)'}),
            )
        ],
    )
    told = answers(found)
    assert told["person"] == ("user 42", "proven")
    for name in (
        "database role",
        "address",
        "xid",
        "committed",
        "changed",
        "reason",
        "request",
        "correlation id",
        "statement",
    ):
        assert told[name][1] == "proven", (name, told[name])
    assert told["login"] == ("app by scram-sha-256", "single source")


def test_jaegers_spans_prove_the_trace():
    found = material()
    found.spans = {
        TRACE: [Span(TRACE, "1", "", "web", "DELETE /users/<id>", 0, 12), Span(TRACE, "2", "1", "web", "db", 3, 5)]
    }
    assert answers(found)["trace"] == (TRACE, "proven")


BROWSER = "b" * 32


def linked(*claims) -> Material:
    found = material(
        transaction(ctx=audit_context.sign({**CLAIMS, **dict(claims)}, KEY)),
        request_lines=[line("nginx", correlation_id=CID, browser_session_id=BROWSER)],
    )
    found.trace_url, found.replay_url = "https://watch:3445/api/traces/", "https://watch:3444/replay/"
    return found


def test_the_trace_and_the_recorded_session_are_one_click_away():
    report = build(linked(("bsid", BROWSER)))
    told = {each.name: each for each in report.answers}
    assert (told["browser session"].value, str(told["browser session"].grade)) == (BROWSER, "proven")
    links = {f"https://watch:3445/api/traces/{TRACE}", f"https://watch:3444/replay/{BROWSER}/"}
    assert {each.link for each in report.answers if each.link} == links
    for face in (as_text.render(report), as_html.render(report), as_json.render(report)):
        assert not [each for each in links if each not in face]
    assert as_html.render(report).count('<a href="https://') == 2
    jsonschema.validate(as_json.document(report), SCHEMA)


def test_a_link_leads_nowhere_else():
    told = {each.name: each for each in build(linked(("bsid", "../../x?y#z"))).answers}
    assert told["browser session"].link == "https://watch:3444/replay/..%2F..%2Fx%3Fy%23z/"


def test_without_a_browser_nothing_is_said_of_one():
    assert "browser session" not in answers(linked())
    forged = linked(("bsid", BROWSER))
    forged.contexts = {10: judge(transaction(ctx=audit_context.sign({**CLAIMS, "bsid": BROWSER}, b"another")), [KEY])}
    assert not [each for each in build(forged).answers if each.link]


def test_without_loki_everything_is_single_source_and_nothing_fails():
    told = answers(material())
    assert told["person"] == ("user 42", "single source")
    assert told["login"] == ("unknown", "unknown")
    assert not [name for name, (_, grade) in told.items() if grade in ("proven", "contradicted")]


@pytest.mark.parametrize(
    ("ctx", "kind"),
    [
        (audit_context.sign(CLAIMS, b"another key"), "context_forged"),
        (audit_context.sign(CLAIMS, KEY).replace('"uid":42', '"uid":43'), "context_forged"),
        ('{"uid": 42', "context_forged"),
        (audit_context.sign({**CLAIMS, "iat": int(AT.timestamp()) - 7200}, KEY), "context_forged"),
        (None, "context_missing"),
    ],
    ids=["other key", "altered claim", "not JSON", "used again", "none"],
)
def test_nobody_is_named_by_a_context_that_is_not_signed(ctx, kind):
    found = material(
        transaction(ctx=ctx),
        request_lines=[line("flask-api", correlation_id=CID, user_id="42")],
        pooler_lines=[line("pgbouncer", db_user="app", client_addr="198.51.100.7", client_port="5")],
    )
    report = build(found)
    person = next(each for each in report.answers if each.name == "person")
    assert (person.value, person.grade) == ("unknown", Grade.UNKNOWN)
    assert "peer 10.0.0.9:41000" in person.note
    assert kind in [each.kind for each in report.findings]
    assert "198.51.100.7" in next(each for each in report.answers if each.name == "address").note
    for name in ("request", "correlation id", "trace"):
        assert answers(found)[name] == ("unknown", "unknown")


def test_a_person_of_his_own_role_is_named_by_the_login():
    login = json.dumps({"message": 'connection authenticated: identity="dana" method=cert'})
    found = material(transaction(ctx=None, db_user="dana"), login_lines=[line("postgres", db_user="dana", text=login)])
    assert answers(found)["person"] == ("dana", "proven")


def test_witnesses_that_disagree_are_both_told():
    found = material(request_lines=[line("flask-api", correlation_id=CID, user_id="7")])
    assert answers(found)["person"] == ("user 42 / user 7", "contradicted")


def test_lines_of_the_pools_next_client_are_not_taken_for_ours():
    other = line(
        at=AT - timedelta(milliseconds=10), vxid="3/8", xid="701", statement="DELETE FROM other", audit_class="WRITE"
    )
    report = build(material(session_lines=[other]))
    assert "DELETE FROM other" not in json.dumps(as_json.document(report)["answers"])


@pytest.mark.parametrize(
    ("fields", "text", "verdict"),
    [
        ({**AUDITED, "vxid": "9/1", "xid": ""}, "", "no committed change"),
        (
            {**AUDITED, "vxid": "9/1", "xid": "", "command_tag": "EXPLAIN", "statement": 'EXPLAIN DELETE FROM "User"'},
            "",
            None,
        ),
        (
            {
                **AUDITED,
                "vxid": "9/1",
                "xid": "",
                "command_tag": "EXPLAIN",
                "statement": 'EXPLAIN ANALYZE DELETE FROM "User"',
            },
            "",
            "no committed change",
        ),
        (
            {"level": "ERROR", "sqlstate": "42501", "statement": 'DROP TABLE "User"', "vxid": "9/2"},
            "",
            "failed (42501)",
        ),
        ({"level": "ERROR", "sqlstate": "42P01", "statement": "SELECT 1 FROM nowhere", "vxid": "9/2"}, "", None),
        (
            {"level": "LOG"},
            json.dumps({"message": 'AUDIT-GUARD: {"verdict": "blocked", "kind": "mass_change"}'}),
            "guard: blocked",
        ),
        ({"level": "LOG"}, json.dumps({"message": 'AUDIT-GUARD: {"verdict": "allowed"}'}), None),
        ({**AUDITED}, "", None),
    ],
    ids=[
        "rolled back",
        "explain",
        "explain analyze",
        "refused",
        "harmless error",
        "guard",
        "guard allowed",
        "committed",
    ],
)
def test_attempts(fields, text, verdict):
    found = material(
        session_lines=[line(**AUDITED)],
        alarm_lines=[line("postgres", at=AT + timedelta(seconds=3), text=text, **fields)],
    )
    assert [each.verdict for each in attempts(found, lambda _: "E1")] == ([verdict] if verdict else [])


def test_an_incident_of_very_many_transactions_stays_a_page():
    many = [transaction(tx=number, xid=number, ctx=None, db_user="dana") for number in range(1, 1001)]
    report = build(material(*many, session_lines=[line(**AUDITED)]))
    assert len(report.transactions) == 200 and report.changes[0]["rows"] == 100_000
    assert report.notes == ("1000 transactions, of which the first 200 are told one by one",)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("statement: SET pgaudit.log = 'none'", "pgaudit_silenced"),
        ("statement: select set_config('pgaudit.log', 'x', false)", "pgaudit_silenced"),
        ("statement: SET session_replication_role = replica", "replica_role"),
        ('statement: ALTER TABLE "User" DISABLE TRIGGER ALL', "trigger_disabled"),
        ("statement: ALTER EVENT TRIGGER x DISABLE", "trigger_disabled"),
        ("statement: SELECT set_config('audit.noted', '7', true)", "context_suppressed"),
        ("statement: SELECT 1", None),
    ],
)
def test_silencing_the_witnesses_is_a_finding(said, kind):
    quiet = line(
        "postgres", at=AT - timedelta(minutes=3), vxid="2/1", text=json.dumps({"message": said}), db_user="dana"
    )
    report = build(material(transaction(ctx=None, db_user="dana"), session_lines=[quiet]))
    assert [each.kind for each in report.findings] == ([kind] if kind else [])
    assert said in [each.text for each in report.timeline]


def test_lines_that_are_missing_from_the_log_are_a_gap():
    lines = [line(pg_line=str(number), text=f'{{"message": "{number}"}}', **AUDITED) for number in (1, 2, 5, 6)]
    assert [each.text for each in build(material(session_lines=lines)).gaps] == [
        f"lines 3 to 4 of session {SESSION} are not in Loki"
    ]


def test_a_silence_is_found_between_any_two_moments_and_at_the_edges():
    from whodunit.sources.loki import quiet_spans

    def second(n):
        return AT + timedelta(seconds=n)

    heard = [second(n) for n in (60, 70, 80, 200, 210)]
    assert quiet_spans(heard, second(0), second(300), timedelta(seconds=45)) == [
        (second(0), second(60)),
        (second(80), second(200)),
        (second(210), second(300)),
    ]
    assert quiet_spans(heard, second(50), second(215), timedelta(seconds=120)) == []


def thief(**changes) -> Transaction:
    return transaction(db_user="dana", ctx=None, application_name="pg_restore", **changes)


def test_the_tool_and_an_address_that_nobody_knew_are_told():
    found = material(thief(), session_lines=[line(db_user="dana", application_name="pg_restore")], asked_logins=True)
    told = {each.name: each for each in build(found).answers}
    assert (told["tool"].value, str(told["tool"].grade)) == ("pg_restore", "proven")
    assert "a dump was played over the database" in told["tool"].note
    assert told["address before"].value == "first seen with this: dana from 10.0.0.9"
    assert str(told["address before"].grade) == "proven"


def test_an_address_that_was_there_before_is_told_with_its_first_time():
    found = material(thief(), wrote_before=AT - timedelta(days=3), asked_logins=True)
    told = {each.name: each for each in build(found).answers}["address before"]
    assert (told.value, told.note) == ("seen before: dana from 10.0.0.9", "first 2026-02-26T12:00:00.000000Z")


def test_refused_logins_before_the_deed_are_counted_by_role_and_address():
    at, refused = AT - timedelta(minutes=3), "password authentication failed"
    pooler = [
        line("pgbouncer", at + timedelta(seconds=n), f"{refused} {n}", db_user="app", client_addr="10.0.0.9")
        for n in range(50)
    ]
    direct = line("postgres", at, level="FATAL", sqlstate="28P01", db_user="dana", client_addr="10.0.0.9")
    after = line("postgres", AT + timedelta(seconds=1), level="FATAL", sqlstate="28P01", db_user="dana")
    stranger = line("postgres", at, "x", level="FATAL", sqlstate="28P01", db_user="eve", client_addr="10.9.9.9")
    found = material(thief(), pooler_lines=pooler, alarm_lines=[direct, after, stranger])
    told = {each.name: each for each in build(found).answers}["failed logins"]
    assert told.value == "50 as app from 10.0.0.9, 1 as dana from 10.0.0.9"
    assert str(told.grade) == "proven"


def test_logins_that_the_pooler_refused_are_attempts():
    text = "2026 [1] WARNING C-0x1: db/app@198.51.100.7:5 pooler error: password authentication failed"
    refused = line("pgbouncer", text=text, db_user="app", client_addr="198.51.100.7", client_port="5")
    assert [each.verdict for each in build(material(pooler_lines=[refused])).attempts] == [
        "login refused by the pooler"
    ]


HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07 [bold red]markup[/]"
    " <script>alert(1)</script> \u202egnp.exe \x9b31m\r\n\x00\x7f{{ 7*7 }} \ud800"
)


def hostile():
    return material(
        transaction(statement=HOSTILE, application_name=HOSTILE, reason=HOSTILE, db_user=HOSTILE),
        session_lines=[line(text=HOSTILE, **{**AUDITED, "statement": HOSTILE, "db_user": HOSTILE})],
        alarm_lines=[
            line("postgres", text=HOSTILE, level="ERROR", sqlstate=HOSTILE, statement="DROP " + HOSTILE, vxid="9/9")
        ],
    )


def test_hostile_text_commands_no_terminal():
    page = as_text.render(build(hostile()), color=False)
    assert not [c for c in page if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\ud800"]
    assert "[bold red]markup[/]" in page
    colored = as_text.render(build(hostile()), color=True)
    assert "\x1b[2J" not in colored and "\x1b]" not in colored


def test_hostile_text_commands_no_page():
    page = as_html.render(build(hostile()))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page and "\x1b" not in page and "\u202e" not in page
    assert "http://" not in page and "https://" not in page


def test_json_is_ascii_and_fits_its_schema():
    for each in (build(hostile()), build(material())):
        text = as_json.render(each)
        assert text.isascii() and not [c for c in text if ord(c) < 0x20 and c != "\n"] and "\x7f" not in text
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))


def test_the_same_material_in_another_order_is_the_same_report():
    lines = [line(at=AT - timedelta(milliseconds=n), text=f'{{"message": "{n}"}}', **AUDITED) for n in (10, 20, 30)]
    requests = [
        line("nginx", at=AT + timedelta(milliseconds=n), correlation_id=CID, method="DELETE", path="/users/1")
        for n in (5, 1)
    ]
    first = material(session_lines=lines, request_lines=requests)
    second = material(session_lines=lines[::-1], request_lines=requests[::-1])
    from whodunit.sources.loki import ordered

    for each in (first, second):
        each.session_lines, each.request_lines = ordered(each.session_lines), ordered(each.request_lines)
    assert as_json.render(build(first)) == as_json.render(build(second))
    assert as_text.render(build(first)) == as_text.render(build(second))
    assert as_html.render(build(first)) == as_html.render(build(second))
