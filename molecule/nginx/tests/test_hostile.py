"""One request, one line of JSON, without a secret in it: whatever the bytes."""

from __future__ import annotations

from hashlib import sha256

import pytest
from wire import NAME, request

testinfra_hosts = [f"docker://{NAME}"]

CANARY = "c4n4ryc4n4ry"


@pytest.mark.parametrize(
    "agent",
    [
        b'"}\\n{"user_id":"1"',
        b"\\",
        b"a\tb",
        b"\x1b]0;owned\x07\x1b[2J",
        b"\x1b]8;;http://evil\x1b\\",
        b"<img onerror=alert(1)>",
        "נודד\u0085\u2028\u2029".encode(),
        b"\xff\xfe\xc0\x80",
        b"ok\xc3",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"x" * 8000,
        b"\xf0\x9f\x8e\xb2" * 1990,
        b"\x01\x02\x1f\x7f",
    ],
    ids=[
        "quote",
        "backslash",
        "tab",
        "ESC",
        "OSC 8",
        "HTML",
        "unicode line ends",
        "binary",
        "half",
        "surrogate",
        "F5",
        "8 kB",
        "8 kB UTF-8",
        "controls",
    ],
)
def test_a_hostile_user_agent(logged, agent):
    _, line = logged(request("GET", "/", {"User-Agent": agent}))
    assert line["user_id"] == ""
    try:
        assert line["user_agent"] == agent.decode()
    except UnicodeDecodeError:
        assert (
            line["user_agent"]
            == agent.decode(errors="ignore")[: len(line["user_agent"]) - 11].rstrip("\ufffd") + "[not UTF-8]"
        )


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b'/a"b\\c', '/a"b\\c', ""),
        ("/שלום".encode(), "/שלום", ""),
        (b"/\xff\xfe", "/[not UTF-8]", ""),
        (b"/a?\xff", "/a", "[not UTF-8]"),
        (b"/%0d%0a%22?x=%00", "/%0d%0a%22", "x=%00"),
        (b"/a/../b//c?d", "/a/../b//c", "d"),
        (b"/" + b"a" * 8000, "/" + "a" * 8000, ""),
        (b"/?q=" + b"b" * 8000, "/", "q=" + "b" * 8000),
    ],
    ids=["quote", "Hebrew", "binary path", "binary query", "encoded CR LF", "dots", "8 kB path", "8 kB query"],
)
def test_a_hostile_target(logged, target, path, query):
    _, line = logged(request("GET", target))
    assert (line["path"], line["query"]) == (path, query)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01 garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'GET / HTTP/1.1\r\nHost: "}\r\nConnection: close\r\n\r\n',
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"G\xff\xfe / HTTP/1.1\r\n\r\n",
        b"GET " + b"/" * 40000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
        b"GET /\r\n",
        b"GET /?sleep=1 HTTP/1.1\r\nHost: x\r\nX-A: b\nX-User-Id: 1\r\nConnection: close\r\n\r\n",
    ],
    ids=[
        "TLS in TLS",
        "version",
        "NUL",
        "no host",
        "quoted host",
        "binary host",
        "binary method",
        "40 kB path",
        "40 kB header",
        "HTTP/0.9",
        "bare LF",
    ],
)
def test_a_request_that_is_none(logged, raw):
    _, line = logged(raw)
    assert line["user_id"] == ""
    assert line["http_status"] in (200, 400, 404, 405, 414, 494, 505)


def test_plain_http_on_the_tls_port(logged):
    _, line = logged(request("GET", "/?token=" + CANARY), tls=False)
    assert line["http_status"] == 400
    assert CANARY not in str(line)


def test_random_bytes(logged):
    for number in range(40):
        noise = b"".join(sha256(b"%d %d" % (number, part)).digest() for part in range(1 + number % 9))
        noise = noise.translate(None, delete=b"\0\r\n")
        _, line = logged(request("GET", "/", {"User-Agent": noise, "Referer": noise, "X-Correlation-ID": noise}))
        assert line["user_id"] == ""


SECRET_QUERIES = [
    ("token={}", "token=[redacted]"),
    ("a=1&password={}&b=2", "a=1&password=[redacted]&b=2"),
    ("reset_token={}", "reset_token=[redacted]"),
    ("X-Amz-Signature={}", "X-Amz-Signature=[redacted]"),
    ("ACCESS_TOKEN={}", "ACCESS_TOKEN=[redacted]"),
    ("code={}&state={}", "code=[redacted]&state=[redacted]"),
    ("key={};x=1", "key=[redacted];x=1"),
    ("token={}&secret={}&session={}", "token=[redacted]&secret=[redacted]&session=[redacted]"),
    ("token={}&secret={}&session={}&pwd={}", "[redacted]"),
    ("token={}&token={}&token={}&token={}&token={}", "[redacted]"),
    ("%74oken={}", "[redacted]"),
    ("to%6Ben={}", "[redacted]"),
    ("next=postgresql://raz%40tovtech.org:{}@db/TovPlay", "[redacted]"),
    ("next=https%3A%2F%2Fu%3A{}%40db", "[redacted]"),
    ("x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{}", "[redacted]"),
    ("h=Bearer%20{}", "[redacted]"),
    ("&&token={}", "&&token=[redacted]"),
    ("token=a{}=b", "token=[redacted]"),
    ("token=[redacted]{}", "token=[redacted]"),
    ("token=[redacted]&secret=[redacted]{}", "token=[redacted]&secret=[redacted]"),
    ("a=1&token=[redacted]{}&b&pwd=[redacted]{}", "a=1&token=[redacted]&b&pwd=[redacted]"),
]


@pytest.mark.parametrize(("query", "expected"), SECRET_QUERIES, ids=[query for query, _ in SECRET_QUERIES])
def test_secrets_in_the_query_are_taken_out(logged, query, expected):
    _, line = logged(request("GET", "/login?" + query.replace("{}", CANARY)))
    assert line["query"] == expected
    assert CANARY not in str(line)


@pytest.mark.parametrize(
    "query",
    [
        "reason=GDPR&limit=5",
        "encoded=%22",
        "filter%5Bname%5D=x",
        "decode=1",
        "monkey=1",
        "keyboard=1",
        "%D7%A9=1",
        "token=",
        "author=me",
    ],
)
def test_what_is_no_secret_stays(logged, query):
    _, line = logged(request("GET", "/?" + query))
    assert line["query"] == query


@pytest.mark.parametrize(
    ("referer", "expected"),
    [
        ("https://t.org/reset?token={}", "https://t.org/reset?[redacted]"),
        ("https://t.org/cb#access_token={}&x=1", "https://t.org/cb?[redacted]"),
        ("https://t.org/?a=1&code={}", "https://t.org/?[redacted]"),
        ("https://t.org/?a=1&c%6Fde={}", "https://t.org/?[redacted]"),
        ("https://u:{}@t.org/", "[redacted]"),
        ("https://{}@t.org/", "[redacted]"),
        ("https://t.org/?page=2", "https://t.org/?page=2"),
    ],
)
def test_secrets_in_the_referer_are_taken_out(logged, referer, expected):
    _, line = logged(request("GET", "/", {"Referer": referer.replace("{}", CANARY)}))
    assert line["referer"] == expected
    assert CANARY not in str(line)


def test_secrets_in_headers_and_bodies_are_never_logged(logged):
    headers = {"Authorization": f"Bearer {CANARY}", "Cookie": f"session={CANARY}", "X-Api-Key": CANARY}
    _, line = logged(request("POST", "/api/login", headers, f'{{"password": "{CANARY}"}}'.encode()))
    assert CANARY not in str(line)


@pytest.mark.parametrize("port", [443, 3443])
def test_what_nginx_says_about_a_failed_request_stays_on_the_host(host, ask, port):
    ask("POST", f"/loki/api/v1/push?close=1&token={CANARY}", {"Authorization": "x"}, port=port)
    ask("GET", f"/?close=1&token={CANARY}", {"Referer": f"https://t.org/?code={CANARY}"}, port=443)
    assert CANARY in host.file("/var/log/nginx/error-requests.log").content_string
    for shipped in ("error.log", "access.json.log", "gateway.json.log"):
        assert CANARY not in host.file(f"/var/log/nginx/{shipped}").content_string
