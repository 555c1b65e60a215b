"""Loki's door: certificates push, passwords read, everything else is refused and remembered."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.x509.oid import NameOID
from wire import NAME, SECRETS, new_certificate, request

testinfra_hosts = [f"docker://{NAME}"]

PORT = 3443
PUSHES = ["/loki/api/v1/push", "/otlp/v1/logs"]
READS = [
    "/loki/api/v1/query",
    "/loki/api/v1/query_range",
    "/loki/api/v1/labels",
    "/loki/api/v1/label/job/values",
    "/loki/api/v1/series",
    "/loki/api/v1/index/stats",
    "/loki/api/v1/rules",
    "/ready",
]
NEVER = [
    ("POST", "/loki/api/v1/delete"),
    ("GET", "/loki/api/v1/delete"),
    ("DELETE", "/loki/api/v1/delete"),
    ("PUT", "/loki/api/v1/delete"),
    ("POST", "/loki/api/v1/rules/x"),
    ("DELETE", "/loki/api/v1/rules/x"),
    ("DELETE", "/loki/api/v1/rules/x/y"),
    ("POST", "/api/prom/rules/x"),
    ("POST", "/api/prom/push"),
    ("POST", "/flush"),
    ("POST", "/ingester/shutdown"),
    ("GET", "/config"),
    ("GET", "/metrics"),
    ("GET", "/services"),
    ("POST", "/log_level"),
    ("GET", "/"),
    ("POST", "/loki/api/v1/query/../delete"),
    ("POST", "/loki/api/v1/push/../delete"),
    ("POST", "/loki/api/v1/push/%2e%2e/delete"),
    ("POST", "//loki/api/v1/delete"),
    ("POST", "/loki/api/v1/push/"),
    ("DELETE", "/loki/api/v1/push"),
    ("GET", "/loki/api/v1/push"),
    ("DELETE", "/loki/api/v1/query"),
]


def basic(name: str = "loki-reader", secret: str = SECRETS["vault_loki_reader_password"]) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


@pytest.fixture
def knock(logged):
    def run(method, path, headers=(), body=b"", certificate=None):
        return logged(request(method, path, headers, body), port=PORT, certificate=certificate)

    return run


@pytest.mark.parametrize("path", PUSHES)
def test_a_host_of_the_platform_pushes(host, ask, our_certificate, path):
    before = host.check_output("stat -c %s /var/log/nginx/gateway.json.log")
    answer = ask("POST", path, body=b"{}" * 10, port=PORT, certificate=our_certificate)
    seen = json.loads(answer.body)
    assert (answer.status, seen["port"], seen["path"], seen["body"]) == (200, 3100, path, 20)
    assert host.check_output("stat -c %s /var/log/nginx/gateway.json.log") == before, "pushes would breed pushes"


def test_large_pushes_pass_and_larger_ones_do_not(ask, our_certificate):
    assert ask("POST", PUSHES[0], body=b"x" * (19 << 20), port=PORT, certificate=our_certificate).status == 200
    assert ask("POST", PUSHES[0], body=b"x" * (21 << 20), port=PORT, certificate=our_certificate).status == 413


def test_a_push_that_loki_refuses_is_remembered(knock, our_certificate):
    answer, line = knock("POST", PUSHES[0] + "?status=429", certificate=our_certificate)
    assert (answer.status, line["http_status"], line["action"]) == (429, 429, "LOG_PUSH")
    assert line["client_certificate"] == f"CN={NAME}"


@pytest.mark.parametrize("path", PUSHES)
@pytest.mark.parametrize("headers", [{}, basic()], ids=["nobody", "a reader"])
def test_nobody_pushes_without_a_certificate(knock, path, headers):
    answer, line = knock("POST", path, headers, b"{}")
    assert (answer.status, line["action"], line["client_verify"]) == (403, "LOG_ACCESS_REFUSED", "NONE")
    assert (line["upstream_addr"], line["user_id"]) == ("", "")


CN, ORG = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
STRANGERS = {
    "another name": ([(CN, "tovplay-stranger")], {}, 403),
    "a longer name": ([(CN, NAME + "x")], {}, 403),
    "a name after a comma": ([(CN, f"{NAME},x")], {}, 403),
    "a name hidden in the organisation": ([(ORG, f"x,CN={NAME}"), (CN, "x")], {}, 403),
    "a second name": ([(CN, NAME), (CN, "x")], {}, 403),
    "expired": ([(CN, NAME)], {"days": -1}, 400),
    "of another authority": ([(CN, NAME)], {"own_authority": True}, 400),
}


@pytest.mark.parametrize(("names", "options", "status"), STRANGERS.values(), ids=STRANGERS.keys())
@pytest.mark.parametrize("path", [PUSHES[0], READS[0]], ids=["push", "read"])
def test_other_certificates_open_nothing(knock, tmp_path, names, options, status, path):
    certificate = new_certificate(tmp_path, names, **options)
    answer, line = knock("POST", path, basic() if path == READS[0] and status == 400 else {}, b"{}", certificate)
    assert answer.status == (status if path == PUSHES[0] or status == 400 else 401)
    assert (line["action"], line["upstream_addr"]) == ("LOG_ACCESS_REFUSED", "")


def test_a_refused_certificate_is_named_in_the_log(knock, tmp_path):
    _, line = knock("POST", PUSHES[0], (), b"", new_certificate(tmp_path, [(CN, NAME)], days=-1))
    assert (line["client_certificate"], line["client_verify"]) == (f"CN={NAME}", "FAILED:certificate has expired")


@pytest.mark.parametrize("path", READS)
def test_a_reader_reads(knock, path):
    answer, line = knock("GET", f"{path}?x=%7Bjob%3D%22nginx%22%7D", basic())
    seen = json.loads(answer.body)
    assert (answer.status, seen["port"], seen["path"]) == (200, 3100, f"{path}?x=%7Bjob%3D%22nginx%22%7D")
    assert (line["action"], line["user_id"], line["http_status"]) == ("LOG_READ", "loki-reader", 200)
    assert not {"authorization", "x-scope-orgid"} & {name for name, _ in seen["headers"]}


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "headers",
    [{}, basic(secret="wrong"), basic(name="admin"), basic(secret=""), {"Authorization": "Bearer x"}],
    ids=["nobody", "wrong password", "wrong name", "no password", "bearer"],
)
def test_nobody_reads_without_a_password(knock, path, headers):
    answer, line = knock("GET", path, headers)
    assert (answer.status, line["action"], line["user_id"]) == (401, "LOG_ACCESS_REFUSED", "")


def test_a_hosts_certificate_does_not_read(knock, our_certificate):
    answer, _ = knock("GET", READS[0], certificate=our_certificate)
    assert answer.status == 401


@pytest.mark.parametrize(("method", "path"), NEVER, ids=[f"{method} {path}" for method, path in NEVER])
@pytest.mark.parametrize("known", [False, True], ids=["nobody", "everything at hand"])
def test_what_is_never_allowed(knock, our_certificate, method, path, known):
    answer, line = knock(method, path, basic() if known else {}, b"{}", our_certificate if known else None)
    assert (answer.status, line["action"], line["upstream_addr"]) == (403, "LOG_ACCESS_REFUSED", "")


def test_another_spelling_of_an_allowed_path_reaches_loki_as_it_was_judged(ask):
    answer = ask("GET", "/loki/api/v1/delete/..%2fquery?query=1", basic(), port=PORT)
    assert json.loads(answer.body)["path"] == "/loki/api/v1/query?query=1"


def test_a_tail_is_a_websocket(ask):
    headers = [("Upgrade", "websocket"), *basic().items()]
    answer = ask("GET", "/loki/api/v1/tail?query=1", headers, port=PORT)
    assert (answer.status, answer.body) == (101, b"tailed")
    assert ask("GET", "/loki/api/v1/tail?query=1", headers[:1], port=PORT).status == 401


def test_a_client_cannot_choose_a_tenant(ask, our_certificate):
    answer = ask("POST", PUSHES[0], {"X-Scope-OrgID": "other"}, port=PORT, certificate=our_certificate)
    assert "other" not in answer.body.decode()


def test_hosts_keep_no_password_in_clear(host):
    line = host.file("/etc/tovplay/nginx/loki-gateway.htpasswd")
    assert SECRETS["vault_loki_reader_password"] not in line.content_string
    assert line.content_string.startswith("loki-reader:$6$")
    assert (line.mode, line.group) == (0o640, "www-data")
