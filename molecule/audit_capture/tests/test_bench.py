"""A short form of `make bench BENCH=audit`: a change that makes the audit much dearer is stopped here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["docker://tovplay-audit-capture"]

BENCH = Path(__file__).resolve().parents[3] / "bench/audit/run"
SHORT = {
    "BENCH_HOST": "tovplay-audit-capture",
    "BENCH_WAYS": "unaudited,ours",
    "BENCH_PLACES": "two_cores",
    "BENCH_ROUNDS": "3",
    "BENCH_SECONDS": "2",
    "BENCH_SCALE": "2",
    "BENCH_MARGIN": "3.0",  # four times as dear: others run at the same time; a row trigger is nine times
}


@pytest.mark.long
def test_the_audit_costs_about_what_was_published():
    done = subprocess.run(
        [str(BENCH)], env=os.environ | SHORT, capture_output=True, text=True, check=False, timeout=600
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
