"""The golden log is read as the shippers read: on the lines that scenario loki_stack sends through the real ones."""

from __future__ import annotations

import pytest
import yaml

from tests.golden.reader import ROOT, entries, read, redacted

# What an envelope says, and marks of the shipper: neither is in the line itself.
AROUND = {"container", "stream", "filename"}
CASES = {
    case["id"]: case
    for case in yaml.safe_load((ROOT / "molecule/loki_stack/files/golden.yml").read_text(encoding="utf-8"))
    if case["source"] in ("nginx_access", "nginx_error", "postgres", "containers") and "metadata" in case
}
# The shippers refuse these; no golden line is like them.
BROKEN = {"pgaudit-broken-csv", "huge-number"}


@pytest.mark.parametrize("name", sorted(set(CASES) - BROKEN))
def test_a_line_gets_the_metadata_that_real_shippers_give_it(name: str) -> None:
    case = CASES[name]
    line = case["line"].replace("NOW_UNIX", "1768471500.200")
    route, found = read(case["source"], case.get("container", ""), line, case.get("stream", "stdout"))
    assert {"job": route["job"], "log_class": route["log_class"]} == case["labels"]
    assert found == {name: value for name, value in case["metadata"].items() if name not in AROUND}


@pytest.mark.parametrize("name", sorted(name for name in CASES if "[redacted]" in str(CASES[name].get("body"))))
def test_a_line_loses_what_real_shippers_take_out(name: str) -> None:
    assert redacted(CASES[name]["line"]) == CASES[name]["body"]


def test_the_golden_log_covers_its_sources() -> None:
    golden = entries()
    assert {entry.labels["job"] for entry in golden} == {
        "nginx",
        "flask-api",
        "postgres",
        "postgres-audit",
        "pgbouncer",
    }
    assert len({entry.line for entry in golden}) == len(golden)
