"""What is laid into a build context besides its folder: a base system, Go commands, wheels, an archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import requests

from . import go
from .catalog import Catalog, Image
from .errors import BuildError
from .keys import files_of
from .progress import Step

MIRROR = "http://deb.debian.org/debian"

# What is this machine's, apt's downloads, and what nobody reads in a container (licences stay, as Debian asks).
LEFT_OUT = (
    *("./dev/*", "./etc/hostname", "./etc/resolv.conf", "./var/log/*.log"),
    *("./var/cache/apt/*", "./var/lib/apt/lists/*"),
    *("./usr/share/locale/*", "./usr/share/man/*", "./usr/share/info/*", "./usr/share/doc/*/changelog*"),
)


def lay(step: Step, catalog: Catalog, image: Image, cache: Path, context: Path) -> None:
    """Fill an empty folder with all that the image's Dockerfile copies."""
    for source in files_of(image.context):
        target = context / source.relative_to(image.context)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    if image.debootstrap:
        _rootfs(step, image.debootstrap, context / "rootfs.tar")
    if image.go_module:
        compiled = go.ensure(step, catalog, catalog.modules[image.go_module], cache)
        (context / "bin").mkdir()
        for name in image.go_binaries:
            shutil.copy2(compiled / name, context / "bin" / name)
    if image.archive:
        target = context / Path(image.archive["url"]).name
        shutil.copy2(_archive(step, image.archive["url"], image.archive["sha256"], cache / "archives"), target)
    if image.npm:
        _scripts(step, image.npm, context / "static")
    if image.wheels:
        fetched = _wheels(step, image.context / image.wheels, cache / "wheels" / image.name, pure=image.pure_wheels)
        shutil.copytree(fetched, context / "wheels")


def _rootfs(step: Step, suite: str, target: Path) -> None:
    if not shutil.which("debootstrap"):
        raise BuildError("there is no debootstrap here; install Debian's package debootstrap")
    if os.geteuid() != 0:
        raise BuildError("a Debian base system can only be made by root; run images/build.py as root")
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".rootfs-") as name:
        # Its own mount namespace: what debootstrap mounts inside is gone with it, however it ends.
        step.run(
            f"fetching Debian {suite}",
            [
                *("unshare", "--mount", "debootstrap", "--variant=minbase", "--include=ca-certificates"),
                *(suite, name, MIRROR),
            ],
        )
        step.run(
            "packing it",
            [
                *("tar", "--numeric-owner", f"--directory={name}", *(f"--exclude={path}" for path in LEFT_OUT)),
                *("--create", f"--file={target}", "."),
            ],
        )


def _scripts(step: Step, folder: Path, target: Path) -> None:
    """What `npm run build` makes of a folder, in a copy of it: its lock alone decides which packages are used."""
    npm = Path(sys.executable).parent / "npm"
    if not npm.is_file():
        raise BuildError(f"there is no npm beside {sys.executable}; requirements.lock brings it (make bootstrap)")
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".npm-") as name:
        for source in files_of(folder):
            copy = Path(name) / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
        environment = {"PATH": f"{npm.parent}:{os.environ['PATH']}"}
        step.run("fetching npm packages", [str(npm), "--prefix", name, "ci"], env=environment)
        step.run("bundling scripts", [str(npm), "--prefix", name, "run", "build"], env=environment)
        shutil.copytree(Path(name, "dist"), target)


def _archive(step: Step, url: str, sha256: str, folder: Path) -> Path:
    """A file from a package registry, fetched once and kept under its checksum; any other content is refused."""
    kept = folder / sha256
    if not kept.is_file():
        step.say(f"fetching {url}")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            answer = requests.get(url, timeout=(10, 120))
            answer.raise_for_status()
        except requests.RequestException as error:
            raise BuildError(f"{url} cannot be fetched: {error}") from error
        found = hashlib.sha256(answer.content).hexdigest()
        if found != sha256:
            raise BuildError(
                f"{url} has the checksum {found}, images.yml expects {sha256}; find out why before you change it"
            )
        temporary = kept.with_name(f".{sha256}.{os.getpid()}")
        temporary.write_bytes(answer.content)
        temporary.replace(kept)
    return kept


def _wheels(step: Step, lock: Path, folder: Path, *, pure: bool) -> Path:
    """The wheels of a lock file, fetched once per content of the lock; `pure` ones run on any Python and libc."""
    if not lock.is_file():
        raise BuildError(f"{lock} is missing; it must list the packages with hashes")
    done = folder / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not done.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as name:
            # The interpreter is Debian 12's inside the image, whatever runs this program; or nobody knows which.
            pip = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary=:all:"]
            pip += ["--platform=any", "--implementation=py", "--abi=none"] if pure else []
            step.run(
                "fetching wheels", [*pip, "--python-version=3.11", f"--dest={name}/wheels", f"--requirement={lock}"]
            )
            Path(name, "wheels").rename(done)
        for other in folder.iterdir():
            if other != done:
                shutil.rmtree(other)
    return done
