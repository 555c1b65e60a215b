"""The parts that need no server: ids, addresses, secrets, records, settings."""

from __future__ import annotations

import json
import logging
import re
import string

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tovplay_telemetry import ids, redact, settings
from tovplay_telemetry.address import client_address
from tovplay_telemetry.records import Lines, email_hash
from tovplay_telemetry.request import Request, enter, leave

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(st.text() | st.text(string.hexdigits + "-", max_size=40))
def test_an_id_is_hex_or_nothing(text):
    found = ids.strict(text)
    assert found is None or (re.fullmatch("[0-9a-f]{32}", found) and text.replace("-", "") == found)


@given(HEX)
def test_an_id_and_its_uuid_are_the_same(digits):
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    assert ids.strict(digits) == ids.strict(uuid) == digits
    assert ids.strict(digits + "\n") is None and ids.strict(uuid.upper()) in (None, digits)


@given(st.text() | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_a_trace_is_w3c_or_nothing(text):
    found = ids.trace_of(text)
    assert found is None or text.startswith(f"00-{found[0]}-{found[1]}-")
    assert ids.trace_of(f"00-{'0' * 32}-{'1' * 16}-01") is None and ids.trace_of(f"ff-{'1' * 32}-{'1' * 16}-01") is None


TRUST = settings.from_environment({"TOVPLAY_TRUSTED_PROXIES": "10.0.0.0/8, unix, fd00::/8"})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", "6.6.6.6", "203.0.113.1"),  # an outsider is not believed about itself
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client sent stands on the left
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9\n<script>", "10.0.0.1"),
        ("", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:db8::9", "2001:db8::9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("nonsense", "203.0.113.9", "nonsense"),
    ],
)
def test_only_trusted_proxies_are_believed(peer, forwarded, expected):
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(environ, TRUST.trusted_proxies, TRUST.trust_unix_socket) == expected


def test_what_proxyfix_has_replaced_is_not_the_peer():
    environ = {"REMOTE_ADDR": "6.6.6.6", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "203.0.113.1"}}
    assert client_address(environ, TRUST.trusted_proxies, True) == "203.0.113.1"


SECRETS = [
    ("postgresql://app:hunter2@host/db", "hunter2"),
    ("Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
    ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl from cookie", "c2lnbmF0dXJl"),
    ("password=hunter2&x=1", "hunter2"),
    ('{"password": "hunter 2"}', "hunter 2"),
    ("api_key: 's3cr3t'", "s3cr3t"),
    ("ALTER ROLE a PASSWORD 'it''s hunter2'", "hunter2"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_known_by_their_shape(text, secret):
    assert secret not in line(text)["message"] and redact.REDACTED in line(text)["message"]


@pytest.mark.parametrize(
    "key", ["password", "new_password", "access_token", "Authorization", "set_cookie", "apiKey", "csrf"]
)
def test_secrets_are_known_by_their_key(key):
    found = line("x", {key: "hunter2", "form": {"inner": [{key: "hunter2"}]}, "other": "kept"})
    assert "hunter2" not in json.dumps(found) and found["other"] == "kept" and found[key] == redact.REDACTED


@pytest.mark.parametrize(
    "text", ["user 7 deleted 3 tokens", "see http://host/path", "the key of the door", "basic maths"]
)
def test_ordinary_words_stay(text):
    assert line(text)["message"] == text


def line(message, extra=None, lines=None, error=None):
    record = logging.getLogger("test").makeRecord(
        "test", logging.INFO, __file__, 1, message, (), (type(error), error, None) if error else None, extra=extra
    )
    written = (lines or Lines(settings.Settings())).line(record)
    assert written.isascii() and written.endswith(b"\n") and written.count(b"\n") == 1 and len(written) <= 200_001
    assert not set(written[:-1]) & {*range(32), 127}
    return json.loads(written)


class Awkward:
    def __str__(self):
        raise RuntimeError("no text")


CIRCLE: list = []
CIRCLE.append(CIRCLE)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(Awkward()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@hypothesis.settings(max_examples=40)
@given(st.text(), st.dictionaries(st.text(), ANYTHING))
def test_any_record_is_one_line_of_json(message, extra):
    reserved = set(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}
    line(message, {name: value for name, value in extra.items() if name not in reserved})


@pytest.mark.parametrize("value", [CIRCLE, Awkward(), {1, 2}, b"\xff", float("nan"), 10**400, {(1, 2): 3}, object()])
def test_values_that_json_does_not_know(value):
    assert "value" in line("x", {"value": value})


def test_arguments_that_do_not_fit_their_message():
    record = logging.getLogger("test").makeRecord("test", logging.INFO, __file__, 1, "a %d", ("b",), None)
    assert json.loads(Lines(settings.Settings()).line(record))["message"].startswith("a %d [arguments do not fit")


def test_extra_passes_unchanged_and_ours_stands_beside_it_where_they_differ():
    request = Request("0" * 32)
    request.user = request.user._replace(id=7)
    token = enter(request)
    try:
        found = line("x", {"user_id": 9, "correlation_id": "mine", "level": "odd", "list": [1, {"a": None}]})
    finally:
        leave(token)
    assert (found["user_id"], found["correlation_id"], found["level"], found["list"]) == (
        9,
        "mine",
        "odd",
        [1, {"a": None}],
    )
    assert found["context"] == {"user_id": 7, "correlation_id": "0" * 32}


def test_outside_requests_there_is_one_id_per_process():
    assert line("a")["correlation_id"] == line("b")["correlation_id"]


def test_a_huge_record_keeps_who_and_when():
    found = line("x" * 10**6, {f"key{number}": "y" * 10**5 for number in range(100)})
    assert found["message"].startswith("xxx") and "more characters]" in found["message"] and found["timestamp"]


def test_email_addresses_can_be_hashed_everywhere():
    hashing = Lines(settings.Settings(log_email="hash", key=b"k"))
    found = line("mail to Raz@tovtech.org", {"email": "raz@tovtech.org", "to": ["raz@tovtech.org"]}, hashing)
    assert "@" not in json.dumps(found) and found["email"] == email_hash("RAZ@tovtech.org ", b"k")
    assert email_hash("raz@tovtech.org", b"k") != email_hash("raz@tovtech.org", b"another")


def test_an_exception_is_fields():
    found = line("x", error=ValueError("password=hunter2"))
    assert found["error_type"] == "ValueError" and found["error"] == f"password={redact.REDACTED}"


def test_settings_without_sense_give_way_and_are_named():
    found = settings.from_environment(
        {
            "TOVPLAY_LOGS": "xml",
            "TOVPLAY_LOG_LEVEL": "loud",
            "TOVPLAY_LOG_MAX_VALUE": "-1",
            "TOVPLAY_TRUSTED_PROXIES": "everyone",
            "TOVPLAY_AUDIT_CONTEXT_KEY_FILE": "/nowhere",
            "TOVPLAY_USER_FINDER": "nothing",
        }
    )
    assert (found.logs, found.log_level, found.log_max_value, found.trusted_proxies) == ("json", None, 32768, ())
    assert found.key is None and len(found.complaints) == 6
    assert settings.from_environment({}).complaints == ()
