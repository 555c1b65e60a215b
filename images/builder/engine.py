"""What the builder asks of the local Docker engine. The key travels as a label, so any engine can be asked for it."""

from __future__ import annotations

import os
import shutil
import subprocess  # nosec B404
from pathlib import Path

from .errors import BuildError
from .progress import Step

LABEL = "tovplay.key"

# The classic builder is in every engine; BuildKit needs a plugin that Debian's docker.io does not bring.
_ENVIRONMENT = {"DOCKER_BUILDKIT": "0"}


def check() -> None:
    """Refuse early, in a sentence, when no engine answers."""
    if not shutil.which("docker"):
        raise BuildError("there is no docker command here; install Debian's docker.io")
    answer = _docker("version", "--format", "{{.Server.Version}}")
    if answer.returncode != 0:
        raise BuildError(f"the Docker engine does not answer: {answer.stderr.strip()}")


def key_of(ref: str) -> str | None:
    """The content key of an image in the engine, or None when it is not there or not ours."""
    answer = _docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', ref)
    return answer.stdout.strip() if answer.returncode == 0 else None


def build(step: Step, ref: str, key: str, context: Path, build_args: dict[str, str], fresh: bool) -> None:
    """Build a context into an image with its key; `fresh` ignores the engine's layer cache."""
    arguments = [f"--build-arg={name}={value}" for name, value in build_args.items()]
    arguments += ["--no-cache"] if fresh else []
    step.run(
        "building the image",
        ["docker", "build", f"--tag={ref}", f"--label={LABEL}={key}", *arguments, str(context)],
        env=_ENVIRONMENT,
    )
    _forget_nameless(step)


def save(step: Step, ref: str, archive: Path) -> None:
    """Write an image to a file that appears only when it is complete."""
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        step.run("saving the archive", ["docker", "save", f"--output={temporary}", ref])
        temporary.chmod(0o644)
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)


def load(step: Step, ref: str, key: str, archive: Path) -> None:
    """Make sure that the engine has exactly this image."""
    if key_of(ref) != key:
        step.run("loading it into the engine", ["docker", "load", f"--input={archive}"])


def _forget_nameless(step: Step) -> None:
    """Remove what lost its name to the new image, and stages of its Dockerfile; what a container uses stays."""
    answer = _docker("image", "prune", "--force", f"--filter=label={LABEL}")
    with step.log.open("a") as log:
        log.write(answer.stdout + answer.stderr)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # nosec B603 B607
        ["docker", *arguments],  # noqa: S607 (found on PATH, like every tool of the platform)
        capture_output=True,
        text=True,
        check=False,
    )
