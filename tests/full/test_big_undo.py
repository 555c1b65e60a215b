"""One incident of many rows: report, page and undo in bounded memory. ROWS=10000000 by default; about ten minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.unit.whodunit.conftest import cluster, config, world  # noqa: F401

ROWS = int(os.environ.get("ROWS", "10000000"))
MOST_MB = 300
PROGRAM = """
import atexit, sys
from pathlib import Path
from whodunit.cli import main
atexit.register(lambda: print(Path("/proc/self/status").read_text()))
main(sys.argv[1:])
"""
TABLE = "CREATE TABLE public.big (id bigint PRIMARY KEY, name text, amount numeric(12, 2), at timestamptz, note text)"
# What the apply worker would have written for one DELETE; committed in one go, as the vault does.
HISTORY = """
INSERT INTO vault.history (relation, op, key, old)
SELECT r.id, 'D', '["' || n || '"]', jsonb_build_object('id', n::text, 'name', 'player ' || n,
  'amount', (mod(n, 1000)) || '.25', 'at', '2026-01-01 00:00:00+00', 'note', 'x' || mod(n, 7))
FROM vault.relation r, generate_series(1, %s) n WHERE r.table_name = 'big'
"""


def measured(what: str, *arguments: str) -> float:
    """Seconds of a run of the command in a process of its own, which tells the most memory that it had (VmHWM)."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    seconds, megabytes = time.monotonic() - began, int(done.stdout.rsplit("VmHWM:", 1)[1].split()[0]) / 1024
    print(f"{what:<8} {seconds:7.1f} s  {ROWS / seconds:>10,.0f} rows/s  {megabytes:5.0f} MB")
    assert done.returncode == 0, done.stdout
    assert megabytes < MOST_MB
    return seconds


def test_an_incident_of_many_rows_stays_in_memory(world, config, tmp_path):  # noqa: F811
    world.production.execute(TABLE)
    world.production.commit()
    world.track("big")
    identifier = world.commit("SELECT 1", replay=[HISTORY % ROWS], command="DELETE", shown="DELETE FROM big")
    world.seal()
    print(f"\n{ROWS:,} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}")
    given = ("--config", str(config))
    measured("report", *given, "trace", identifier)
    measured("page", *given, "trace", identifier, "--html", str(tmp_path / "incident.html"))
    measured("plan", *given, "undo", identifier)
    measured("undo", *given, "undo", identifier, "--apply")
    assert world._value(world.production, "SELECT count(*) FROM public.big") == ROWS
