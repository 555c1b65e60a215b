"""An archive of a package registry: fetched once, and only with the content that images.yml names."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder.errors import BuildError
from images.builder.inputs import _archive
from images.builder.progress import Step

CONTENT = b"a distribution"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/search.zip").write_bytes(CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "registry"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_is_fetched_once(registry: str, tmp_path: Path) -> None:
    step = Step("search", tmp_path / "log")
    kept = _archive(step, f"{registry}/search.zip", SHA256, tmp_path / "archives")
    assert kept.read_bytes() == CONTENT
    (tmp_path / "registry/search.zip").unlink()
    assert _archive(step, f"{registry}/search.zip", SHA256, tmp_path / "archives") == kept


@pytest.mark.parametrize(
    ("name", "sha256", "said"),
    [("search.zip", "0" * 64, f"has the checksum {SHA256}"), ("gone.zip", SHA256, "cannot be fetched: 404")],
)
def test_anything_else_is_refused_and_not_kept(
    registry: str, tmp_path: Path, name: str, sha256: str, said: str
) -> None:
    with pytest.raises(BuildError, match=said):
        _archive(Step("search", tmp_path / "log"), f"{registry}/{name}", sha256, tmp_path / "archives")
    assert list((tmp_path / "archives").iterdir()) == []
