"""Run long commands: output into a log, a sign of life on the terminal, the log's end when it fails."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BuildError

SIGN_OF_LIFE_SECONDS = 15.0


def say(text: str) -> None:
    print(text, flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else f"{int(seconds // 60)}m {int(seconds % 60):02d}s"


@dataclass
class Step:
    """One image's turn: where it stands among the others, since when, and its log."""

    label: str
    log: Path
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        say(f"{self.label}: {text}")

    @property
    def elapsed(self) -> str:
        return duration(time.monotonic() - self.started)

    def run(
        self,
        doing: str,
        command: list[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        describe: Callable[[Path], str] | None = None,
    ) -> None:
        """Run a command and wait for it; every few seconds say how far it is (`describe` reads the log)."""
        self.say(doing)
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            offset = log.tell()
            process = subprocess.Popen(  # noqa: S603  # nosec B603
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                self._wait(process, describe)
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        if process.returncode != 0:
            with self.log.open(errors="replace") as log:
                log.seek(offset)
                tail = "".join(f"    {line}\n" for line in log.read().splitlines()[-20:])
            raise BuildError(
                f"{self.label}: {command[0]} failed ({process.returncode}) after {self.elapsed}; "
                f"the end of {self.log}:\n{tail}"
            )

    def _wait(self, process: subprocess.Popen[bytes], describe: Callable[[Path], str] | None) -> None:
        while True:
            try:
                process.wait(SIGN_OF_LIFE_SECONDS)
                return
            except subprocess.TimeoutExpired:
                self.say(f"{self.elapsed} so far{describe(self.log) if describe else ''}")
