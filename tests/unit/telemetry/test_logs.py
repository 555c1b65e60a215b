"""Lines of a served application that has no code of ours: names, ids, context, and what hostile input cannot do."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def served(serve):
    with serve("sample:app", TOVPLAY_TRUSTED_PROXIES="127.0.0.0/8") as found:
        yield found


def test_a_request_is_three_kinds_of_records_with_one_id(served):
    answer = requests.get(
        f"{served.url}/echo/7?target=9",
        headers={
            "X-Correlation-ID": ID,
            "X-Login": "42",
            "User-Agent": "tester",
            "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
        },
        timeout=10,
    )
    assert answer.headers["X-Correlation-ID"] == ID
    served.wait_for(lambda line: line.get("correlation_id") == ID and line["message"] == "response")
    lines = [line for line in served.lines() if line.get("correlation_id") == ID]
    assert [line["message"] for line in lines] == ["request", "one of 7", "two of 7", "response"]
    for line in lines:
        assert line["ip_address"] == "203.0.113.9" and line["method"] == "GET" and line["path"] == "/echo/7"
        assert line["route"] == "/echo/<int:number>" and line["user_agent"] == "tester" and line["level"] == "INFO"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert all(line["user_id"] == 42 and line["email"] == "user42@tovtech.org" for line in lines[1:])
    assert lines[1]["action"] == "ECHO" and lines[1]["number"] == 7 and lines[2]["target_user"] == "9"
    assert lines[3]["http_status"] == 200 and lines[3]["request_duration_ms"] > 0


@pytest.mark.parametrize(
    "sent",
    ["x" * 32, ID.upper(), ID + "0", ID[:-1], "' OR 1=1 --", "a" * 4000, "{" + ID + "}"],
    ids=["no hex", "upper case", "long", "short", "sql", "huge", "braces"],
)
def test_a_malformed_id_is_replaced_and_kept_as_untrusted(served, sent):
    answer = requests.get(f"{served.url}/echo/1", headers={"X-Correlation-ID": sent}, timeout=10)
    made = answer.headers["X-Correlation-ID"]
    assert re.fullmatch("[0-9a-f]{32}", made) and made not in sent
    found = served.wait_for(lambda line: line.get("correlation_id") == made and line["message"] == "response")
    assert found[0]["correlation_id_untrusted"] == sent[:128]


def test_a_uuid_loses_its_hyphens(served):
    answer = requests.get(
        f"{served.url}/echo/1", headers={"X-Correlation-ID": "01234567-89ab-cdef-0123-456789abcdef"}, timeout=10
    )
    assert answer.headers["X-Correlation-ID"] == ID


@pytest.mark.parametrize(
    "message",
    [
        'a\r\n{"level":"ERROR","message":"forged","user_id":1}\n',
        "\x1b[2J\x1b]0;owned\x07\x7f\x9b31m",
        "\u2028\u2029\ud7ff\U0001f600",
        "x" * 1_000_000,
        '"}\n{"a":"b',
    ],
    ids=["crlf", "terminal", "separators", "a megabyte", "fake json"],
)
def test_a_hostile_message_stays_one_harmless_record(served, message):
    answer = requests.post(f"{served.url}/say?k={message[:50]}", data=message.encode(), timeout=10)
    made = answer.headers["X-Correlation-ID"]
    found = served.wait_for(lambda line: line.get("correlation_id") == made, 3)
    assert [line["message"] for line in found if line["message"] != message[:32768]][:1] == ["request"]
    said = found[1]["message"]
    assert said == message or (said.startswith(message[:30000]) and said.endswith("more characters]"))
    assert not any(line["message"] == "forged" for line in served.lines())


def test_an_exception_is_fields(served):
    made = requests.get(f"{served.url}/broken", timeout=10).headers["X-Correlation-ID"]
    found = served.wait_for(lambda line: line.get("correlation_id") == made and line.get("error_type"), 2)
    assert {line["error_type"] for line in found} == {"RuntimeError"}
    assert all(line["error"] == "no good" and "RuntimeError: no good" in line["stack_trace"] for line in found)
    assert found[-1]["http_status"] == 500 and found[-1]["level"] == "ERROR"


def test_a_streamed_answer_belongs_to_its_request_until_its_last_byte(served):
    made = requests.get(f"{served.url}/stream", timeout=10).headers["X-Correlation-ID"]
    served.wait_for(lambda line: line.get("correlation_id") == made and line["message"] == "response")
    lines = [line["message"] for line in served.lines() if line.get("correlation_id") == made]
    assert lines == ["request", "in the stream", "response"]


def test_two_hundred_requests_of_fifty_users_at_once_are_never_mixed(served):
    def ask(number: int) -> tuple[str, int]:
        user = number % 50
        answer = requests.get(
            f"{served.url}/echo/{user}",
            headers={"X-Login": str(user), "X-Forwarded-For": f"198.51.100.{user}", "User-Agent": f"agent {user}"},
            timeout=30,
        )
        return answer.headers["X-Correlation-ID"], user

    with ThreadPoolExecutor(40) as pool:
        asked = dict(pool.map(ask, range(200)))
    assert len(asked) == 200
    lines = served.wait_for(lambda line: line.get("correlation_id") in asked, 800)
    assert len(lines) == 800
    for line in lines:
        user = asked[line["correlation_id"]]
        assert (line["path"], line["ip_address"], line["user_agent"]) == (
            f"/echo/{user}",
            f"198.51.100.{user}",
            f"agent {user}",
        )
        assert line["message"] == "request" or line["user_id"] == user
