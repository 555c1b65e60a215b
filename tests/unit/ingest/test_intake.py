"""What browsers send is hostile text: it becomes one harmless line, or a refusal that is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from browser_says import SESSION, body, event, recorded
from tovplay_ingest.app import create_app
from tovplay_ingest.model import lines, plain

TEXT = {"content_type": "text/plain;charset=UTF-8"}


def send(client, text, kind="events", session=SESSION, **options):
    return client.post(f"/in/{kind}?session={session}", data=text, **{**TEXT, **options}).status_code


def test_an_event_becomes_one_line_with_the_platforms_names(client, written):
    headers = {"X-Real-IP": "203.0.113.9", "User-Agent": "Browser/1"}
    assert send(client, body(event(), event(action="ERROR", stack="a\nb")), headers=headers) == 204
    click, error = written()
    assert click.items() >= {**event(), "browser_session_id": SESSION, "logger": "browser"}.items()
    assert (click["ip_address"], click["user_agent"]) == ("203.0.113.9", "Browser/1")
    assert click["event_id"] == "d" * 32 + "-0"
    assert error["stack"] == "a\nb"


@pytest.mark.parametrize(
    "text",
    [
        'x\r\n{"action":"DELETE_USER","user_id":"1"}',
        "\x1b]0;owned\x07\x1b[31m",
        "\u202edlrow\u2066",
        "\u2028\u2029\x85",
        "\x00",
    ],
    ids=["line break and fake JSON", "terminal escapes", "direction marks", "separators", "NUL"],
)
def test_hostile_text_is_one_harmless_line(client, written, text):
    assert send(client, body(event(message=text, path=text, error_type=text, stack=text))) == 204
    (line,) = written()
    assert line["action"] == "CLICK"
    for name in ("message", "path", "error_type"):
        assert line[name].isprintable() or "\ufffd" in line[name]
        assert not set(line[name]) & set("\r\n\x1b\x07\x00\u202e\u2066\u2028\u2029\x85\ud800")
    assert not set(line["stack"]) & set("\r\x1b\x07\x00\u202e\u2066\u2028\u2029\x85\ud800")


def test_plain_text_is_left_alone():
    text = "Zoë löscht 日本 👍 «42»"
    assert plain(text) == lines(text) == text
    assert lines("a\nb") == "a\nb"


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "DELETE_USER"},
        {"level": "fatal"},
        {"correlation_id": "A" * 32},
        {"correlation_id": "a" * 32 + "\n"},
        {"trace_id": "b" * 31},
        {"message": "x" * 2001},
        {"message": 5},
        {"http_status": 99},
        {"http_status": "200"},
        {"request_duration_ms": -1},
        {"method": "GET /"},
        {"timestamp": "yesterday"},
        {"path": None},
    ],
    ids=str,
)
def test_an_event_that_is_not_one_is_counted_and_costs_no_other(client, written, dropped, changes):
    assert send(client, body(event(**changes), event())) == 204
    assert len(written()) == 1
    assert dropped("events", "invalid") == 1


def test_other_keys_are_not_taken_over(client, written):
    assert send(client, body(event(user_id="1", job="nginx", ip_address="9.9.9.9", logger="root", event_id="x"))) == 204
    (line,) = written()
    assert "user_id" not in line and "job" not in line
    assert (line["ip_address"], line["logger"]) == ("", "browser")


@pytest.mark.parametrize(
    ("text", "options", "status", "reason"),
    [
        (b"\xff\xfe{}", {}, 400, "invalid"),
        (b'{"batch":"' + b"d" * 32 + b'","events":[{"message":"\xc3\x28"}]}', {}, 400, "invalid"),
        (b"", {}, 400, "invalid"),
        (b"[" * 50_000, {}, 400, "invalid"),
        (b'{"a":' * 20_000, {}, 400, "invalid"),
        (body(event(message="\ud800 half a pair")).encode(), {}, 400, "invalid"),
        (b"null", {}, 400, "invalid"),
        (body().encode(), {}, 400, "invalid"),
        (body(event(), batch="../../etc").encode(), {}, 400, "invalid"),
        (body(*[event()] * 501)[:120_000].encode(), {}, 400, "invalid"),
        (body(event()).encode(), {"content_type": "multipart/form-data"}, 415, "content_type"),
        (body(event()).encode(), {"content_type": ""}, 415, "content_type"),
        (b"x" * 200_000, {}, 413, "size"),
        (body(event()).encode(), {"session": ""}, 400, "invalid"),
        (body(event()).encode(), {"session": "../" * 10}, 400, "invalid"),
        (body(event()).encode(), {"session": "A" * 32}, 400, "invalid"),
    ],
    ids=[
        *(
            "not UTF-8",
            "not UTF-8 in a text",
            "nothing",
            "deep lists",
            "deep objects",
            "half a pair",
            "null",
            "no events",
        ),
        *("path as batch", "cut off", "form", "no type", "too large", "no session", "path as session", "upper case"),
    ],
)
def test_bodies_that_are_none_are_refused_and_counted(client, written, dropped, text, options, status, reason):
    assert send(client, text, **options) == status
    assert written() == []
    assert dropped("events", reason) == 1


def test_a_batch_that_comes_twice_is_written_once(client, written, dropped):
    assert [send(client, body(event(), event())) for _ in range(2)] == [204, 204]
    assert len(written()) == 2
    assert dropped("events", "duplicate") == 2


def test_what_the_browser_had_to_drop_is_counted(client, dropped):
    send(client, body(event(), dropped=7))
    assert dropped("events", "browser") == 7


def test_a_full_disk_is_told_to_the_browser_and_the_batch_may_come_again(settings, dropped, written):
    """/dev/full is such a disk."""
    settings.events_file.parent.mkdir()
    settings.events_file.symlink_to("/dev/full")
    client = create_app(settings).test_client()
    assert send(client, body(event())) == 503
    assert dropped("events", "unwritable") == 1
    settings.events_file.unlink()
    client = create_app(settings).test_client()
    assert send(client, body(event())) == 204
    assert len(written()) == 1


def test_events_go_on_in_a_new_file_when_one_is_full(settings, tmp_path):
    small = type(settings)(**{**vars(settings), "events_file_bytes": 2_000})
    client = create_app(small).test_client()
    for number in range(10):
        assert send(client, body(event(), batch=f"{number:032x}")) == 204
    files = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert files == ["events.json", "events.json.1", "events.json.2", "events.json.3"]
    for name in files:
        assert all(json.loads(line) for line in (tmp_path / "log" / name).read_text().splitlines())


def test_a_recording_is_kept_by_session_and_time(client, settings):
    part = body(recorded(500), recorded(20))
    assert send(client, part, kind="replay") == 204
    (file,) = (settings.replay_folder / SESSION).iterdir()
    assert file.name == f"1790000000020-1790000000500-{'d' * 32}.json.gz"
    assert json.loads(client.get(f"/replay/{SESSION}/events").data) == [json.loads(part)]


def test_a_part_that_comes_twice_is_kept_once_also_after_a_restart(client, settings, dropped):
    part = body(recorded(0))
    assert send(client, part, kind="replay") == 204
    assert send(create_app(settings).test_client(), part, kind="replay") == 204
    assert len(list((settings.replay_folder / SESSION).iterdir())) == 1
    assert dropped("replay", "duplicate") == 1


@pytest.mark.parametrize(
    "one",
    [{"type": "3"}, {"timestamp": 1}, {"timestamp": 1e300}, {"data": "x"}, {"data": None}],
    ids=str,
)
def test_a_recording_that_is_none_is_refused(client, settings, dropped, one):
    assert send(client, body({**recorded(0), **one}), kind="replay") == 400
    assert dropped("replay", "invalid") == 1
    assert list(settings.replay_folder.iterdir()) == []


def noise(number: int) -> str:
    """About 1,500 bytes that do not compress."""
    return body(recorded(number, text=os.urandom(750).hex()), batch=f"{number:032x}")


def test_a_session_has_a_quota_and_all_sessions_have_one(client, settings, dropped):
    answers = [send(client, noise(number), kind="replay") for number in range(6)]
    assert answers[0] == 204 and answers[-1] == 507
    for number in range(10, 30):
        send(client, noise(number), kind="replay", session=f"{number:032x}")
    kept = sum(path.stat().st_size for path in settings.replay_folder.glob("*/*"))
    assert 8_000 < kept <= settings.replay_total_bytes
    assert dropped("replay", "quota") >= 10
    assert (settings.replay_folder / SESSION).is_dir(), "a flood pushes nothing out"


@pytest.mark.parametrize("name", ["agent.js", "recorder-0123456789abcdef.js"])
def test_scripts(client, name):
    answer = client.get(f"/in/{name}")
    assert (answer.status_code, answer.mimetype, answer.text) == (200, "text/javascript", f"// {name}")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["secret.txt", "replay.js", "../conftest.py", "..%2fsecret.txt", "recorder-x.js", ""])
def test_nothing_else_is_given_out(client, name):
    assert client.get(f"/in/{name}").status_code == 404


def test_methods(client):
    assert client.get("/in/events").status_code == 404
    assert client.put("/in/events").status_code == 405


def test_figures(client):
    send(client, body(event()))
    text = client.get("/metrics").text
    assert 'tovplay_ingest_events_total{action="CLICK"}' in text
    assert "tovplay_ingest_replay_stored_bytes 0.0" in text
    assert client.get("/healthz").text == "ok\n"


def test_the_package_reads_its_settings_from_the_environment(tmp_path):
    from tovplay_ingest.config import Settings, from_environment

    made = from_environment({"INGEST_REPLAY_FOLDER": str(tmp_path), "INGEST_LOKI_HOURS": "5", "HOME": "/"})
    assert made == Settings(replay_folder=Path(tmp_path), loki_hours=5)
