"""One incident of many rows: report, page and undo in bounded memory. ROWS=10000000 by default; about ten minutes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

from tests.unit.whodunit.conftest import cluster, config, world  # noqa: F401

ROWS = int(os.environ.get("ROWS", "10000000"))
MOST_MB = 300
TABLE = "CREATE TABLE public.big (id bigint PRIMARY KEY, name text, amount numeric(12, 2), at timestamptz, note text)"
# What the apply worker would have written for one DELETE; committed in one go, as the vault does.
HISTORY = """
INSERT INTO vault.history (relation, op, key, old)
SELECT r.id, 'D', '["' || n || '"]', jsonb_build_object('id', n::text, 'name', 'player ' || n,
  'amount', (mod(n, 1000)) || '.25', 'at', '2026-01-01 00:00:00+00', 'note', 'x' || mod(n, 7))
FROM vault.relation r, generate_series(1, %s) n WHERE r.table_name = 'big'
"""


def measured(what: str, *arguments: str) -> float:
    """Seconds of a run of the command in a process of its own, whose memory is the operating system's word."""
    began = time.monotonic()
    program = "import sys; from whodunit.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, megabytes = time.monotonic() - began, used.ru_maxrss / 1024
    print(f"{what:<8} {seconds:7.1f} s  {ROWS / seconds:>10,.0f} rows/s  {megabytes:5.0f} MB")
    assert process.returncode == 0, said
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
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < 4 * MOST_MB
