"""The command as a whole, with a Loki that answers from memory: determinism, attempts, degrading, refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import whodunit.cli
from recorded_loki import SESSION, Memory, refused
from whodunit.model import Line


@pytest.fixture
def loki(monkeypatch):
    monkeypatch.setattr(whodunit.cli, "Loki", Memory)
    monkeypatch.setattr(Memory, "lines", [])
    return Memory.lines


@pytest.fixture
def games(world):
    world.production.execute(
        "CREATE TABLE public.game (id int PRIMARY KEY, name text); INSERT INTO public.game SELECT i, 'g' FROM"
        " generate_series(1, 50) i"
    )
    world.production.commit()
    world.track("game")
    return world


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_same_incident_twice_is_the_same_bytes(games, loki, whodunit, form):
    identifier = games.commit("DELETE FROM public.game")
    loki.append(refused())
    first = whodunit("last", *form)
    games.seal()
    games.commit("INSERT INTO public.game VALUES ('77', 'later')", pg_session_id="6731a000.aa")
    assert whodunit("trace", identifier, *form) == first
    assert identifier in first and "must be owner of table game" in first


def test_the_page_is_written(games, loki, whodunit, tmp_path):
    games.commit("DELETE FROM public.game")
    whodunit("last", "--html", str(tmp_path / "a.html"))
    whodunit("last", "--html", str(tmp_path / "b.html"))
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text() and page.startswith("<!DOCTYPE html>")


def test_what_was_only_tried_is_told_without_an_incident(games, loki, whodunit):
    text = json.dumps({"message": 'connection authenticated: identity="dana" method=cert'})
    loki.extend([refused(), Line(datetime.now(UTC), "postgres", {"pg_session_id": SESSION, "db_user": "dana"}, text)])
    assert "whodunit attempts" in whodunit("last", fails=True)
    shown = whodunit("attempts")
    assert "failed (42501): dana" in shown and 'identity="dana" method=cert' in shown
    assert json.loads(whodunit("attempts", "--json"))[0]["verdict"] == "failed (42501)"
    assert len(games.rows("public.game")) == 50


def test_the_wipe_is_told_before_the_small_change_after_it(games, loki, whodunit):
    wipe = games.commit("DELETE FROM public.game WHERE id::int > 5")
    small = games.commit("DELETE FROM public.game WHERE id::int = 1", pg_session_id="6731a000.aa")
    assert json.loads(whodunit("--json"))["incident"] == wipe
    assert whodunit("list").splitlines()[0].startswith(wipe)
    assert json.loads(whodunit("trace", small, "--json"))["incident"] == small
    assert json.loads(whodunit("table", "game", "--json"))["incident"] == wipe
    assert json.loads(whodunit("user", "app", "--json"))["incident"] == wipe


def test_one_session_of_a_person_is_one_incident(games, loki, whodunit):
    first = games.commit("DELETE FROM public.game WHERE id::int < 10", db_user="dana")
    second = games.commit("DELETE FROM public.game WHERE id::int < 20", db_user="dana")
    report = json.loads(whodunit("trace", second, "--json"))
    assert report["incident"] == first
    assert [each["id"] for each in report["transactions"]] == [first, second]
    assert report["changes"][0]["rows"] == 19
    whodunit("undo", second, "--apply")
    assert len(games.rows("public.game")) == 50


def test_a_transaction_without_context_is_reported_and_undone(games, loki, whodunit):
    games.commit("DELETE FROM public.game", noted=False)
    report = json.loads(whodunit("last", "--json"))
    assert report["incident"].startswith("e1-v")
    assert next(each for each in report["answers"] if each["name"] == "person")["grade"] == "unknown"
    assert "context_missing" in [each["kind"] for each in report["findings"]]
    whodunit("undo", report["incident"], "--apply")
    assert len(games.rows("public.game")) == 50


def test_what_the_heartbeat_found_changed_is_told_with_the_incident(games, loki, whodunit):
    """It is a transaction of its own, some seconds later."""
    wipe = games.commit("DELETE FROM public.game")
    for later in ("3 s", "2 min"):
        found = (
            f"clock_timestamp() + interval '{later}', 'fingerprint_changed', 'warning', '{{\"parts\": [\"{later}\"]}}'"
        )
        games.commit("SELECT 1", replay=[f"INSERT INTO audit.finding (at, kind, severity, detail) VALUES ({found})"])
    report = json.loads(whodunit("trace", wipe, "--json"))
    assert [each["text"] for each in report["findings"] if each["kind"] == "fingerprint_changed"] == [
        '{"parts": ["3 s"]}'
    ]


def test_loki_away_degrades_the_grades_only(games, whodunit):
    games.commit("DELETE FROM public.game", db_user="dana")
    report = json.loads(whodunit("last", "--json"))
    assert [each["state"] for each in report["sources"]] == ["answered", "missing"]
    assert {each["grade"] for each in report["answers"]} == {"single source", "unknown"}


def test_every_use_is_recorded_before_anything_is_read(games, loki, whodunit, monkeypatch):
    used = []
    monkeypatch.setattr(whodunit_usage(), "syslog", lambda priority, line: used.append(json.loads(line)))
    identifier = games.commit("DELETE FROM public.game")
    whodunit("last")
    assert [each["event"] for each in used] == ["whodunit_used"] * 2
    assert used[1]["incident"] == identifier and used[0]["user"]


def whodunit_usage():
    from whodunit import usage

    return usage.syslog


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "e1-x999999"], "no transaction"),
        (["undo"], "say what to undo in one way"),
        (["undo", "nonsense"], "is no incident"),
        (["undo", "--user", "42"], "needs --since"),
        (["undo", "e1-x1", "--fill", "pin=1"], "no transaction"),
        (["last", "--since", "yesterday"], "neither a time"),
    ],
)
def test_refusals_say_what_can_be_done(games, loki, whodunit, arguments, message):
    output = whodunit(*arguments, fails=True)
    assert message in output and "Traceback" not in output


def test_undo_by_signed_correlation_leaves_a_forgery_out(games, loki, whodunit):
    from tovplay_telemetry import audit_context

    claims = {"uid": 42, "cid": "c" * 32}
    games.commit(
        "DELETE FROM public.game WHERE id::int <= 10", ctx=audit_context.sign(claims, b"correct horse battery staple")
    )
    games.commit("DELETE FROM public.game WHERE id::int <= 20", ctx=audit_context.sign(claims, b"not the key"))
    assert "left out" in whodunit("undo", "--correlation", "c" * 32, "--apply")
    assert len(games.rows("public.game")) == 40


@pytest.fixture
def as_member(games, config):
    """The command as a member of one of the vault's roles, not as its superuser."""

    def become(role):
        name = f"member_of_{role}"
        games.vault.execute(f"DROP ROLE IF EXISTS {name}")
        games.vault.execute(f"CREATE ROLE {name} LOGIN IN ROLE {role}")
        games.vault.commit()
        config.write_text(config.read_text().replace("user=postgres dbname=vault", f"user={name} dbname=vault"))

    return become


def test_an_investigator_needs_no_more_rights(games, loki, whodunit, as_member):
    wipe = games.commit("DELETE FROM public.game")
    games.seal()
    games.commit("INSERT INTO public.game VALUES ('1', 'g')", pg_session_id="6731a000.aa")
    as_member("vault_investigator")
    assert json.loads(whodunit("last", "--json"))["samples"][0]["old"] == {"id": "1", "name": "g"}
    assert "1 seals and" in whodunit("verify")
    assert "Hold " in whodunit("freeze", wipe, "--reason", "court")
    assert wipe in whodunit("list")
    whodunit("undo", wipe, "--apply")
    assert len(games.rows("public.game")) == 50


def test_a_reader_gets_the_answer_without_before_images(games, loki, whodunit, as_member):
    wipe = games.commit("DELETE FROM public.game")
    games.seal()
    as_member("vault_reader")
    report = json.loads(whodunit("last", "--json"))
    assert report["incident"] == wipe and report["samples"] == []
    assert report["sources"][0]["detail"] == "before-images are not for this role"
    assert "permission denied" in whodunit("undo", wipe, fails=True)
