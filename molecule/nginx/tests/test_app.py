"""The application's door: who came, when, what for, under which id; and what a client may not decide."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from wire import NAME, request, session

testinfra_hosts = [f"docker://{NAME}"]

ID = "0123456789abcdef0123456789abcdef"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def seen_by_upstream(answer) -> list[list[str]]:
    return json.loads(answer.body)["headers"]


def header(answer, name: str) -> list[str]:
    return [value for key, value in seen_by_upstream(answer) if key == name]


def test_a_request_is_one_line_with_typed_fields(logged):
    answer, line = logged(
        request(
            "GET",
            "/api/users?limit=5",
            {"User-Agent": "test/1", "Referer": "https://tovplay.org/a", "X-Test-User": "42"},
        )
    )
    assert answer.status == 200
    assert (line["method"], line["path"], line["query"]) == ("GET", "/api/users", "limit=5")
    assert (line["http_status"], line["user_id"], line["server_name"]) == (200, "42", NAME)
    assert (line["user_agent"], line["referer"]) == ("test/1", "https://tovplay.org/a")
    assert (line["upstream_addr"], line["upstream_status"], line["protocol"]) == ("127.0.0.1:8000", "200", "HTTP/1.1")
    for name in ("request_duration_ms", "upstream_duration_ms", "bytes_sent", "bytes_received", "client_port"):
        assert isinstance(line[name], int), name
    moment = datetime.fromisoformat(line["timestamp"])
    assert moment.tzinfo is not None
    assert abs(moment.timestamp() - line["msec"]) < 0.0005


@pytest.mark.parametrize("seconds", [0.007, 0.08, 1.23], ids=str)
def test_durations_are_milliseconds(logged, seconds):
    _, line = logged(request("GET", f"/?sleep={seconds}"))
    for name in ("request_duration_ms", "upstream_duration_ms"):
        assert seconds * 1000 - 2 <= line[name] < seconds * 1000 + 150, line


def test_a_request_that_the_application_never_answers(logged):
    answer, line = logged(request("GET", "/?close=1"))
    assert answer.status == line["http_status"] == 502
    assert answer.all("x-correlation-id") == [line["correlation_id"]]


def test_a_request_that_never_reaches_the_application(logged):
    _, line = logged(request("POST", "/", body=b"x" * (2 << 20)))
    assert (line["http_status"], line["upstream_duration_ms"], line["upstream_addr"]) == (413, None, "")


@pytest.mark.parametrize(
    ("sent", "used"),
    [(ID, ID), ("01234567-89ab-cdef-0123-456789abcdef", ID)],
    ids=["32 hex digits", "UUID"],
)
def test_a_strict_correlation_id_is_taken_over(logged, sent, used):
    answer, line = logged(request("GET", "/", {"X-Correlation-ID": sent}))
    assert header(answer, "x-correlation-id") == answer.all("x-correlation-id") == [line["correlation_id"]] == [used]
    assert line["correlation_id_untrusted"] == ""
    assert line["request_id"] != used and re.fullmatch("[0-9a-f]{32}", line["request_id"])


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        ("ABCDEF6789abcdef0123456789abcdef", "ABCDEF6789abcdef0123456789abcdef"),
        ("0123456789ABCDEF-0123", "0123456789ABCDEF-0123"),
        ("01234567-89AB-cdef-0123-456789abcdef", "01234567-89AB-cdef-0123-456789abcdef"),
        (ID + "0", ID + "0"),
        (ID[:-1], ID[:-1]),
        (f"{ID} {ID}", f"{ID} {ID}"),
        ('\'; DROP TABLE "User"; --', '\'; DROP TABLE "User"; --'),
        ('\\u0000{}"', '\\u0000{}"'),
        ("x" * 7000, "x" * 128),
        (b"\xff\xfe", "[unprintable]"),
        (b"abc\x1b]0;owned\x07", "abc"),
        (ID.encode() + b"\t" + b"x", ID),
    ],
    ids=["upper case", "short", "upper UUID", "33", "31", "two", "SQL", "JSON", "7 kB", "not UTF-8", "escape", "tab"],
)
def test_any_other_correlation_id_is_replaced_and_kept_as_untrusted(logged, sent, recorded):
    answer, line = logged(request("GET", "/", {"X-Correlation-ID": sent}))
    assert re.fullmatch("[0-9a-f]{32}", line["correlation_id"])
    assert line["correlation_id"] == line["request_id"]
    assert line["correlation_id_untrusted"] == recorded
    assert header(answer, "x-correlation-id") == answer.all("x-correlation-id") == [line["correlation_id"]]


def test_two_correlation_ids_do_not_both_pass(logged):
    answer, line = logged(request("GET", "/", [("X-Correlation-ID", "evil"), ("X-Correlation-ID", ID)]))
    assert header(answer, "x-correlation-id") == [line["correlation_id"]]
    assert "evil" not in json.dumps(seen_by_upstream(answer))


def test_ids_are_new_for_every_request_of_a_connection(address):
    connection, ids = session(address, 443), set()
    for _ in range(5):
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        ids.add(answer.headers["X-Correlation-ID"])
    assert len(ids) == 5


def test_a_strict_traceparent_is_continued(logged):
    answer, line = logged(request("GET", "/", {"traceparent": PARENT, "tracestate": "vendor=1"}))
    assert header(answer, "traceparent") == [PARENT]
    assert header(answer, "tracestate") == ["vendor=1"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, "00f067aa0ba902b7")


@pytest.mark.parametrize(
    "sent",
    [
        None,
        PARENT.upper(),
        PARENT + "-00",
        "01" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-00f067aa0ba902b7-1",
        "' OR 1=1 --",
    ],
    ids=["none", "upper case", "too long", "version 01", "zero trace", "zero span", "short flags", "SQL"],
)
def test_any_other_traceparent_is_replaced(logged, sent):
    headers = {"tracestate": "vendor=1"} | ({"traceparent": sent} if sent else {})
    answer, line = logged(request("GET", "/", headers))
    (parent,) = header(answer, "traceparent")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    assert parent == f"00-{line['trace_id']}-{line['span_id']}-01"
    assert TRACE not in parent
    assert header(answer, "tracestate") == []


def test_the_user_comes_from_the_application_alone(logged):
    answer, line = logged(request("GET", "/", {"X-User-Id": "1"}))
    assert header(answer, "x-user-id") == []
    assert (line["user_id"], line["query"], line["referer"], line["user_agent"]) == ("", "", "", "")
    answer, line = logged(request("GET", "/", {"X-User-Id": "1", "X-Test-User": "42"}))
    assert line["user_id"] == "42"
    assert answer.all("x-user-id") == []


def test_a_clients_word_about_itself_is_overwritten(logged):
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6",
    }
    answer, line = logged(request("GET", "/", forged))
    assert "6.6.6.6" not in json.dumps(seen_by_upstream(answer)) + json.dumps(line)
    assert header(answer, "x-forwarded-for") == header(answer, "x-real-ip") == [line["ip_address"]]
    assert header(answer, "x-forwarded-proto") == ["https"]
    assert header(answer, "x-forwarded-host") == [NAME]


def test_the_plain_port_only_redirects(logged, host):
    answer, line = logged(request("GET", "/a?b=1"), port=80, tls=False)
    assert (answer.status, answer.all("location")) == (301, [f"https://{NAME}/a?b=1"])
    assert (line["http_status"], line["scheme"], line["upstream_addr"]) == (301, "http", "")
    assert answer.all("x-correlation-id") == [line["correlation_id"]]


def test_the_version_is_not_told(ask):
    assert ask("GET", "/?close=1").all("server") == ["nginx"]
    assert b"1.22" not in ask("GET", "/?close=1").body
