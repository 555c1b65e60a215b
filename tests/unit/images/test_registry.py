"""Where a registry answers, only our own images are built."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from images.builder import catalog, registry

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def images():
    return catalog.load(ROOT)


def test_with_a_registry_only_our_own_are_built(images):
    names = registry.names_to_build(images, "registry")
    assert "pgbouncer_bookworm" in names
    assert not {"loki", "otelcol", "promtail"} & set(names)


def test_without_one_everything_is(images):
    assert registry.names_to_build(images, "local") == []


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, True), (404, False), (503, False)])
def test_a_registry_is_what_speaks_its_api(status, answers):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Keep the test's output clean."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert registry.answers(f"http://127.0.0.1:{server.server_port}/v2/") is answers
    finally:
        server.shutdown()


def test_nothing_there_is_no_registry():
    assert not registry.answers("http://127.0.0.1:9/v2/", seconds=1)
