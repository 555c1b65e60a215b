"""The incident page over the vault's real SQL: who may read, what is shown, and what log data cannot do to it."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from datetime import timedelta

import psycopg
import pytest
from recorded_loki import Memory, refused
from test_report import AT, TRACE, build, material
from tovplay_telemetry import audit_context
from whodunit.config import load
from whodunit.model import Attempt, Event, Report, Span
from whodunit.page import create_app
from whodunit.render import chart
from whodunit.sources import SourceError
from whodunit.sources.vault import Vault

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


@pytest.fixture
def loki(monkeypatch):
    monkeypatch.setattr(Memory, "lines", [])
    return Memory.lines


@pytest.fixture
def page(world, config, loki):
    """A browser of `lead`, who may investigate; `boss` may read, `stranger` is on no list."""
    world.production.execute(
        "CREATE TABLE public.game (id int PRIMARY KEY, name text);"
        " INSERT INTO public.game SELECT i, 'g' FROM generate_series(1, 50) i"
    )
    world.production.commit()
    world.track("game")
    config.write_text(config.read_text() + '[page_people]\nlead = "investigate"\nboss = "read"\n')
    client = create_app(load(config), Memory).test_client()

    def get(path, *, by="lead", code=200, text=True):
        answer = client.get(path, headers={"X-Remote-User": by} if by else {})
        assert answer.status_code == code, answer.text
        return answer.text if text else answer

    get.world, get.client = world, client
    return get


@pytest.fixture
def wiped(page):
    return page.world.commit("DELETE FROM public.game WHERE id::int > 10")


@pytest.mark.parametrize("by", [None, "stranger", ""])
def test_nobody_reads_who_is_not_on_the_list(page, wiped, by):
    for path in ("/", f"/{wiped}", f"/{wiped}.json", f"/{wiped}.html", "/attempts"):
        told = page(path, by=by, code=403)
        assert "game" not in told


def test_an_incident_is_listed_and_told(page, wiped):
    listed = page("/")
    assert "40 rows lost in public.User by app" in listed
    assert f'href="/{wiped}"' in listed
    told = page(f"/{wiped}")
    assert f"whodunit undo {wiped} --apply" in told
    for word in ("WHO", "WHEN", "WHAT", "WHY", "HOW", "40 deleted in public.game"):
        assert word in told, word


def test_the_plan_counts_each_row_once(page):
    incident = page.world.commit(
        "UPDATE public.game SET name = 'x' WHERE id::int <= 5",
        "DELETE FROM public.game WHERE id::int <= 3",
        "INSERT INTO public.game VALUES (100, 'new'), (101, 'gone')",
        "DELETE FROM public.game WHERE id::int = 101",
    )
    plan = json.loads(page(f"/{incident}.json"))["plan"]
    assert plan == [{"table": "public.game", "lost": 3, "changed": 2, "born": 1}]


def test_a_reader_sees_no_images(page, wiped):
    """The vault decides: the page asks as the reader's role."""
    page.world.vault.execute("GRANT CONNECT ON DATABASE vault TO PUBLIC")
    page.world.vault.commit()
    assert json.loads(page(f"/{wiped}.json"))["samples"]
    told = json.loads(page(f"/{wiped}.json", by="boss"))
    assert told["samples"] == [] and told["plan"] == []
    assert told["sources"][0]["detail"] == "before-images are not for this role"


def test_what_it_exports_is_what_the_command_prints(page, wiped, whodunit, monkeypatch):
    monkeypatch.setattr("whodunit.cli.Loki", Memory)
    assert page(f"/{wiped}.json") == whodunit("trace", wiped, "--json")
    answer = page(f"/{wiped}.html", text=False)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="incident-{wiped}.html"'
    assert "http" not in re.sub(r"http-equiv", "", answer.text), "a page to send loads nothing"


@pytest.mark.parametrize("question", ["table=game", "user=app", "since=all", "table=game&since=24h"])
def test_questions_find_it(page, wiped, question):
    assert wiped in page(f"/?{question}")


@pytest.mark.parametrize("question", ["table=nosuch", "user=nobody", "trace=" + "0" * 32])
def test_questions_that_fit_nothing_say_so(page, wiped, question):
    told = page(f"/?{question}")
    assert wiped not in told and "No such change" in told


def test_an_incident_is_found_by_its_name(page, wiped):
    assert f"Incident {wiped}" in page(f"/?trace={wiped}")


@pytest.mark.parametrize(
    ("path", "code"),
    [("/e9-x1", 404), ("/nothing", 404), ("/e1-x1.xml", 404), ("/../../etc/passwd", 404), ("/e1-x" + "9" * 40, 404)],
)
def test_what_is_not_there_is_refused_in_a_sentence(page, wiped, path, code):
    told = page(path, code=code)
    assert "Traceback" not in told and "<h1>" in told


def test_nothing_can_be_changed_through_it(page, wiped):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = page.client.open(f"/{wiped}", method=method, headers={"X-Remote-User": "lead"})
        assert answer.status_code == 405


def test_every_page_forbids_scripts_and_strangers(page, wiped):
    for path in ("/", f"/{wiped}", "/attempts", "/static/page.css", "/nothing"):
        answer = page(path, text=False, code=404 if path == "/nothing" else 200)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src" not in policy and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "<script" not in answer.text and " style=" not in answer.text


def test_hostile_text_stays_text(page, loki):
    incident = page.world.commit(
        "DELETE FROM public.game WHERE id::int > 40", shown=f"DELETE {HOSTILE}", db_user="dana"
    )
    loki.append(refused(statement=f"DROP TABLE game -- {HOSTILE}"))
    for path in ("/", f"/{incident}", "/attempts", f"/?table={HOSTILE}"):
        told = page(path.replace("\x1b", "%1b"))
        assert "<script>" not in told and "\x1b" not in told
    assert html.escape("<script>alert(1)</script>") in page(f"/{incident}")


def test_attempts_are_told_and_need_the_logs(page, loki, monkeypatch):
    loki.append(refused())
    assert "must be owner of table game" in page("/attempts")

    def away(*_):
        raise SourceError("no answer")

    monkeypatch.setattr(Memory, "alarms", away)
    assert "no answer" in page("/attempts", code=503)


def test_a_vault_that_is_away_is_one_sentence(config, tmp_path):
    config.write_text('vault = "host=/nowhere dbname=vault"\n[page_people]\nlead = "investigate"\n')
    answer = create_app(load(config), Memory).test_client().get("/", headers={"X-Remote-User": "lead"})
    assert answer.status_code == 503 and "the vault does not answer" in answer.text


def test_every_use_is_recorded(page, wiped, monkeypatch):
    said = []
    monkeypatch.setattr("syslog.syslog", lambda _, line: said.append(json.loads(line)))
    page(f"/{wiped}")
    assert said[0]["event"] == "whodunit_page" and said[0]["user"] == "lead" and said[0]["arguments"] == [f"/{wiped}"]


def test_the_session_is_read_only(page, wiped):
    """What serves the page could not write to the vault if it were made to."""
    opened = Vault(page.world.vault_dsn, role="vault_investigator")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        opened.connection.execute("CREATE TABLE x ()")
    opened.close()


def test_close_events_are_one_mark_and_far_ones_their_own():
    found: Report = build(material())
    at = found.timeline[0].at
    assert chart.timeline(found) is not None
    several = dataclasses.replace(
        found,
        timeline=(Event(at, "nginx", "a"), Event(at, "nginx", "b"), Event(at + timedelta(seconds=60), "nginx", "c")),
        attempts=(Attempt(at, "failed", "dana", "10.0.0.1", HOSTILE),),
    )
    drawn = chart.timeline(several)
    assert drawn is not None
    assert [lane.name for lane in drawn.lanes] == ["nginx", "attempts"]
    assert [(kind, mark.count) for kind, mark in drawn.marks] == [("log", 2), ("log", 1), ("attempt", 1)]
    assert all(drawn.left <= mark.x <= drawn.width for _, mark in drawn.marks)
    assert "\x1b" not in drawn.marks[-1][1].label
    assert drawn.ticks[0].label == "12:00:00"


def test_a_trace_is_nested_whatever_it_claims():
    spans = [
        Span(TRACE, "1", "", "web", "DELETE /users", 0, 20),
        Span(TRACE, "3", "2", "db", "DELETE", 5, 10, "DELETE FROM x"),
        Span(TRACE, "2", "1", "web", "view", 1, 18),
        Span(TRACE, "8", "9", "web", "circle", 0, 1),
        Span(TRACE, "9", "8", "web", "circle", 0, 1),
    ]
    (drawn,) = chart.waterfalls(spans)
    assert [bar.name for bar in drawn.bars[:3]] == ["web: DELETE /users", "· web: view", "· · db: DELETE"]
    assert len(drawn.bars) == 5 and drawn.bars[2].sql
    assert all(bar.x + bar.width <= drawn.width for bar in drawn.bars)


def test_the_signed_context_names_the_person_in_the_list(page):
    claims = {"uid": 42, "iat": int(AT.timestamp())}
    page.world.commit(
        "DELETE FROM public.game WHERE id::int = 7",
        ctx=audit_context.sign(claims, b"correct horse battery staple"),
        at=AT,
    )
    assert "by user 42" in page("/?since=all")
