"""Compile a Go module's commands once per content of its folder; modules share downloads and compiled packages."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess  # nosec B404
import tempfile
from pathlib import Path

from .catalog import Catalog, GoModule
from .errors import BuildError
from .keys import module_key
from .progress import Step

# Sources of all modules and the compiled packages of the three biggest, as measured, with room for the archives.
_ROOM_GB = 12


def compiled(catalog: Catalog, module: GoModule, cache: Path) -> Path:
    """Where the module's binaries of this content are, or will be."""
    return cache / "go/out" / f"{module.name}-{module_key(catalog, module)}"


def at_hand(catalog: Catalog, module: GoModule, cache: Path) -> bool:
    """Whether nothing needs compiling: the binaries are there and linked into the cache's bin/."""
    out = compiled(catalog, module, cache)
    return all((out / name).is_file() and _same(out / name, cache / "bin" / name) for name in module.binaries)


def ensure(step: Step, catalog: Catalog, module: GoModule, cache: Path) -> Path:
    """Compile if needed; return the folder of binaries."""
    out = compiled(catalog, module, cache)
    if not out.is_dir():
        _refuse_what_cannot_work(catalog, module, cache)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{module.name}-") as name:
            _compile(step, module, cache, Path(name))
            Path(name, "out").rename(out)
    for old in out.parent.glob(f"{module.name}-*"):
        if old != out:
            shutil.rmtree(old)
    _link(out, cache / "bin")
    return out


def _compile(step: Step, module: GoModule, cache: Path, work: Path) -> None:
    environment = {
        "GOMODCACHE": str(cache / "go/mod"),
        "GOCACHE": str(cache / "go/build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    source = shutil.copytree(module.folder, work / "source")
    if module.generate:
        step.run("generating sources", module.generate, cwd=source, env=environment)
    out = work / "out"
    out.mkdir()
    # The values that a build sets are the same for all commands of a module; a command without them ignores them.
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in module.set.items())])
    for name, package in module.binaries.items():
        step.run(
            f"compiling {name}",
            [
                *("nice", "-n", "5", "go", "build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false"),
                *(f"-tags={','.join(['timetzdata', *module.tags])}", f"-ldflags={flags}", f"-o={out / name}", package),
            ],
            cwd=source,
            env=environment,
            describe=_packages,
        )


def _packages(log: Path) -> str:
    """`go build -v` names each package it has compiled on a line of its own; other lines have spaces."""
    lines = log.read_text(errors="replace").splitlines()
    fetched = sum(line.startswith("go: downloading ") for line in lines)
    done = sum(bool(line) and " " not in line for line in lines)
    return f", {fetched} modules fetched, {done} packages compiled"


def _refuse_what_cannot_work(catalog: Catalog, module: GoModule, cache: Path) -> None:
    required = set(itertools.pairwise((module.folder / "go.mod").read_text().split()))
    for name, version in module.requirements:
        if (name, version) not in required:
            raise BuildError(
                f"images/go/{module.name}/go.mod does not require {name} {version}, which group_vars/all/versions.yml "
                f"asks for; change one of them (images/README.md, 'A new version')"
            )
    if not shutil.which("go"):
        raise BuildError("there is no go here; run images/build.py inside the environment of requirements.lock")
    found = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True)  # noqa: S607  # nosec
    if found.stdout.strip() != f"go{catalog.go_version}":
        raise BuildError(
            f"{shutil.which('go')} is {found.stdout.strip()}, requirements.lock asks for go{catalog.go_version}; "
            "run images/build.py inside its environment"
        )
    free = shutil.disk_usage(cache).free / 1e9
    if free < _ROOM_GB:
        raise BuildError(f"compiling {module.name} needs {_ROOM_GB} GB in {cache}, {free:.1f} are free")


def _link(out: Path, folder: Path) -> None:
    """Show the binaries under a fixed path; hard links, so that no reader ever meets a missing file."""
    folder.mkdir(parents=True, exist_ok=True)
    for binary in out.iterdir():
        if not _same(binary, folder / binary.name):
            temporary = folder / f".{binary.name}.{os.getpid()}"
            temporary.hardlink_to(binary)
            temporary.replace(folder / binary.name)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.samefile(other)
