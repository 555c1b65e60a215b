"""Vector is not built here, but its language is: its programs run on the golden lines, as the other shippers do."""

from __future__ import annotations

import json
import time

import pytest
from platform_flows import GOLDEN, at

from filter_plugins.telemetry_vrl import vrl_programs

pyvrl = pytest.importorskip("pyvrl", reason="PyPI's pyvrl runs Vector's language; it is not installed")


@pytest.fixture(scope="module")
def programs(flows, formats, settings):
    return {
        name: {step: pyvrl.Transform(text + "\n.") for step, text in steps.items() if text}
        for name, steps in vrl_programs(flows, formats, settings).items()
    }


def as_file(golden: dict, line: str) -> str:
    if golden["source"] != "containers":
        return line
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime())
    envelope = {"log": line + "\n", "stream": golden.get("stream", "stdout"), "attrs": {"tag": golden["container"]}}
    return json.dumps({**envelope, "time": stamp})


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda one: one["id"])
def test_golden_lines(golden, programs):
    line = at(golden["line"], time.time())
    event = {"message": as_file(golden, line)}
    steps = programs[golden["source"]]
    if "unwrap" in steps:
        event = steps["unwrap"].remap(event)
    event["message"] = event["message"].removesuffix("\n")
    if golden["source"] == "packages":
        event["metadata"] = {"filename": "/var/log/dpkg.log"}
    event.pop("timestamp", None)
    event = steps["fields"].remap(event)
    assert event["message"] == golden.get("body", line)
    assert event["labels"] == {**golden["labels"], "host": "h1"}
    assert event["metadata"] == golden["metadata"]


def test_a_line_that_was_cut_does_not_look_whole_without_its_secrets(programs, settings):
    verifier = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy "
    line = (verifier * (settings["max_line_bytes"] // len(verifier) + 1))[: settings["max_line_bytes"]]
    event = programs["postgres_stderr"]["fields"].remap({"message": line})
    assert len(event["message"]) < settings["max_line_bytes"] and "c2VydmVy" not in event["message"]
    assert event["metadata"]["oversize"] == "true"
