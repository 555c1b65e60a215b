"""The platform's own sources and formats, rendered as the role loki_stack renders them."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/loki_stack"


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ROLE_FORMATS = load(ROLE / "vars/main/formats.yml")
SHIPPER_VARS = load(ROLE / "vars/main/shipper.yml")
REDACTIONS = load(ROLE / "defaults/main/shipper.yml")["loki_stack_redactions"]
SOURCES = load(ROOT / "group_vars/all/flows.yml")["telemetry_log_sources"]
GOLDEN = load(ROOT / "molecule/loki_stack/files/golden.yml")


def at(line: str, moment: float) -> str:
    """A golden line, written at this moment."""
    utc = time.gmtime(moment)
    stamps = {
        "NOW_ISO": time.strftime("%Y-%m-%dT%H:%M:%SZ", utc),
        "NOW_PG": time.strftime("%Y-%m-%d %H:%M:%S", utc) + f".{int(moment * 1000) % 1000:03d} UTC",
        "NOW_UNIX": f"{moment:.3f}",
        "NOW_MICRO": str(int(moment * 1_000_000)),
    }
    for word, stamp in stamps.items():
        line = line.replace(word, stamp)
    return line
