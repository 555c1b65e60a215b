"""Every Molecule scenario, whole: create, check on the bare host, converge, idempotence, verify, destroy.

Run two at a time with pytest-xdist (`-n 2`); each has a host of its own. The full output of a scenario is in
`$TOVPLAY_CACHE/log/molecule-NAME.log`; a failure prints what Molecule said about it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path(os.environ.get("TOVPLAY_CACHE", Path.home() / ".cache/tovplay")) / "log"
# The slowest first, so that the last minutes are not one long scenario alone on two cores.
SLOW_FIRST = ["single", "pgbouncer", "loki_stack", "sample_app", "postgresql"]
TELLING = re.compile(r"fatal:|FAILED|failed=[1-9]|msg:|^E  |ERROR|CRITICAL|AssertionError|idempotence", re.IGNORECASE)


def scenarios() -> list[str]:
    found = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    return [name for name in SLOW_FIRST if name in found] + sorted(found - set(SLOW_FIRST))


@pytest.mark.parametrize("scenario", scenarios())
def test_scenario(scenario):
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"molecule-{scenario}.log"
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            ["molecule", "test", "--scenario-name", scenario],
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line for line in lines if TELLING.search(line)][-40:]
        said = "\n".join([*telling, "--- last lines ---", *lines[-40:]])
        pytest.fail(f"scenario {scenario} failed (exit {code}); all of it: {log}\n{said}", pytrace=False)
