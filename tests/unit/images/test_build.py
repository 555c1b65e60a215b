"""images/build.py as a command: builds once, keeps an index that never lies, says what goes wrong."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from images.builder import progress
from images.builder.errors import BuildError
from images.builder.store import image_id

Build = Callable[..., subprocess.Popen[str]]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def calls(tmp_path: Path, verb: str) -> list[str]:
    path = tmp_path / "engine/calls"
    return [line for line in path.read_text().splitlines() if line.startswith(verb)] if path.exists() else []


def index(tmp_path: Path) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = json.loads((tmp_path / "cache/images/index.json").read_text())
    return result


def leftovers(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache/images").glob(".*") if path.name != ".lock"]


def test_builds_once_and_indexes(build: Build, tmp_path: Path) -> None:
    code, out, err = finish(build())
    assert (code, err) == (0, "")
    assert "[2/3] app 1.2.3: to build (first time about 2 min)" in out
    assert set(index(tmp_path)) == {"example/base:1", "example/app:1.2.3", "example/app-tools:1"}
    for entry in index(tmp_path).values():
        archive = tmp_path / "cache/images" / entry["archive"]
        assert entry["image_id"] == image_id(archive)
        assert entry["key"] in archive.name
    assert leftovers(tmp_path) == []

    code, out, err = finish(build())
    assert (code, out.count("at hand"), len(calls(tmp_path, "build"))) == (0, 3, 3)


def test_a_change_rebuilds_and_removes_the_old_archive(build: Build, checkout: Path, tmp_path: Path) -> None:
    assert finish(build())[0] == 0
    before = index(tmp_path)
    (checkout / "images/app/etc/app.conf").write_text("listen 2\n")
    assert finish(build("app"))[0] == 0
    after = index(tmp_path)
    assert {ref for ref in after if after[ref] != before[ref]} == {"example/app:1.2.3"}
    archives = {path.name for path in (tmp_path / "cache/images").glob("*.tar")}
    assert archives == {entry["archive"] for entry in after.values()}  # app-tools-* is not app-*


def test_an_archive_that_is_gone_leaves_the_index(build: Build, checkout: Path, tmp_path: Path) -> None:
    assert finish(build())[0] == 0
    (tmp_path / "cache/images" / index(tmp_path)["example/app-tools:1"]["archive"]).unlink()
    assert finish(build("base"))[0] == 0
    assert set(index(tmp_path)) == {"example/base:1", "example/app:1.2.3"}


def test_a_failure_shows_the_end_of_the_log_and_leaves_nothing(build: Build, tmp_path: Path) -> None:
    code, _, err = finish(build("app", FAIL="yes"))
    assert code == 1
    assert "[1/2] base 1: docker failed (1)" in err
    assert str(tmp_path / "cache/images/logs/base.log") in err
    assert "E: Unable to locate package nonsense" in err
    assert list((tmp_path / "cache/images").glob("*.tar")) == []
    assert leftovers(tmp_path) == []
    assert finish(build("app"))[0] == 0


def test_a_killed_build_is_finished_by_the_next(build: Build, tmp_path: Path) -> None:
    process = build("app", SLOW="30")
    while not calls(tmp_path, "build"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert (code, err) == (1, "terminated\n")
    assert leftovers(tmp_path) == []
    assert finish(build("app"))[0] == 0
    assert set(index(tmp_path)) == {"example/base:1", "example/app:1.2.3"}


def test_two_at_once_build_everything_once(build: Build, tmp_path: Path) -> None:
    first = build(SLOW="0.5")
    while not calls(tmp_path, "build"):
        time.sleep(0.05)
    second = build(SLOW="0.5")
    codes = [finish(first)[0]]
    code, out, _ = finish(second)
    assert [*codes, code] == [0, 0]
    assert "another build is using this cache; waiting for it" in out
    assert out.count("at hand") == 3
    assert len(calls(tmp_path, "build")) == 3


def test_refresh_builds_what_is_at_hand_without_the_layer_cache(build: Build, tmp_path: Path) -> None:
    assert finish(build("base"))[0] == 0
    assert finish(build("base", "--refresh"))[0] == 0
    assert ["--no-cache" in call for call in calls(tmp_path, "build")] == [False, True]


def test_load_brings_an_image_back_into_the_engine(build: Build, tmp_path: Path) -> None:
    assert finish(build("base", "--load"))[0] == 0
    assert calls(tmp_path, "load") == []
    (tmp_path / "engine/example_base:1").unlink()
    assert finish(build("base", "--load", LOADS="example/base:1"))[0] == 0
    assert finish(build("base", "--load", LOADS="example/base:1"))[0] == 0
    assert len(calls(tmp_path, "load")) == 1


@pytest.mark.parametrize("arguments", [["nosuch"], ["nosuch", "--list"], ["base", "nosuch"]])
def test_an_unknown_name_is_refused_in_a_sentence(build: Build, tmp_path: Path, arguments: list[str]) -> None:
    code, out, err = finish(build(*arguments))
    assert (code, out) == (1, "")
    assert err == "images: there is no image 'nosuch'; images.yml has: base, app, app-tools\n"
    assert calls(tmp_path, "build") == []


def test_no_engine_is_said_before_anything_is_done(build: Build, tmp_path: Path) -> None:
    (tmp_path / "tools/docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    code, _, err = finish(build("base"))
    assert code == 1
    assert err == "images: the Docker engine does not answer: Cannot connect to the Docker daemon\n"


def test_list_tells_what_is_at_hand(build: Build) -> None:
    assert finish(build("base"))[0] == 0
    code, out, _ = finish(build("--list"))
    assert code == 0
    assert [line.split(maxsplit=2) for line in out.splitlines()] == [
        ["base", "example/base:1", "at hand"],
        ["app", "example/app:1.2.3", "to build, first time about 2 min"],
        ["app-tools", "example/app-tools:1", "to build, first time about 1 min"],
    ]


@pytest.mark.parametrize(
    "config",
    ["ab12.json", "blobs/sha256/ab12"],
    ids=["archive of engine 20.10", "archive of engine 25 and later"],
)
def test_image_id_of_both_archive_layouts(tmp_path: Path, config: str) -> None:
    manifest = json.dumps([{"Config": config, "RepoTags": ["x:1"], "Layers": []}]).encode()
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        tar.addfile(member, io.BytesIO(manifest))
    assert image_id(tmp_path / "x.tar") == "sha256:ab12"


def test_a_long_command_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SIGN_OF_LIFE_SECONDS", 0.1)
    step = progress.Step("[1/1] x", tmp_path / "log")
    step.run("waiting", ["sh", "-c", "echo one; sleep 0.35"], describe=lambda log: f", {log.read_text().count('one')}")
    assert capsys.readouterr().out.count("so far, ") >= 2


def test_a_failure_tells_its_own_lines_only(tmp_path: Path) -> None:
    step = progress.Step("[1/1] x", tmp_path / "log")
    step.run("first", ["sh", "-c", "echo early"])
    with pytest.raises(BuildError) as caught:
        step.run("second", ["sh", "-c", "seq 100; exit 3"])
    assert "sh failed (3)" in str(caught.value)
    assert "early" not in str(caught.value)
    assert str(caught.value).splitlines()[1:3] == ["    81", "    82"]
