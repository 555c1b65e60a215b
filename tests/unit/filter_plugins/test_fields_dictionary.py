"""docs/fields.md is what the renderers emit: nothing more, nothing less, and filled by whom it says."""

from __future__ import annotations

import re

from platform_flows import GOLDEN, ROLE_FORMATS, ROOT, SHIPPER_VARS, SOURCES, load

from filter_plugins import telemetry_ottl, telemetry_promtail, telemetry_stages, telemetry_vector, telemetry_vrl

TEXT = (ROOT / "docs/fields.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|", TEXT, re.MULTILINE))
LABELS = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", TEXT, re.MULTILINE))


def test_dictionary_is_what_formats_and_envelopes_fill(formats):
    filled: dict[str, set[str]] = {mark: {"mark"} for mark in [*SHIPPER_VARS["__loki_stack_marks"], "filename"]}
    for name, form in formats.items():
        for field in form["names"]:
            filled.setdefault(field, set()).add(name)
    for name, fields in ROLE_FORMATS["__loki_stack_envelopes"].items():
        for field in fields:
            filled.setdefault(field, set()).add(name)
    documented = {field: set(names.strip().split(", ")) for field, names in ROWS.items()}
    assert documented == filled


def test_every_shipper_emits_the_same_names(flows, formats, settings):
    bounds = telemetry_ottl.ottl_statements(flows, formats, settings)[-1]["statements"]
    otelcol = set(re.findall(r'"(\w+)"', next(line for line in bounds if line.startswith("keep_keys"))))
    stages = telemetry_stages.promtail_stages(formats)
    scrapes = telemetry_promtail.promtail_config(flows, formats, stages, settings)["scrape_configs"]
    promtail = {
        name
        for scrape in scrapes
        for stage in scrape["pipeline_stages"]
        for name in stage.get("structured_metadata", {})
    }
    programs = telemetry_vrl.vrl_programs(flows, formats, settings)
    sink = telemetry_vector.vector_config(flows, programs, formats, settings)["sinks"]["loki"]
    assert otelcol == promtail == set(sink["structured_metadata"]) == set(ROWS)


def test_labels_are_documented():
    routes = [route for source in SOURCES for route in [source, *source.get("routes", [])]]
    jobs, classes = (set(re.findall(r"`([\w-]+)`", LABELS[label])) for label in ("job", "log_class"))
    assert jobs == {route["job"] for route in routes}
    assert {route["log_class"] for route in routes} <= classes
    retention = load(ROOT / "roles/loki_stack/defaults/main/store.yml")["loki_stack_retention"]
    assert classes == set(retention)


def test_long_fields_exist():
    assert set(ROLE_FORMATS["__loki_stack_limits"]["long_fields"]) <= set(ROWS)


def test_metadata_cannot_reach_the_limit_of_loki(flows, formats):
    """64 kB a line: all fields of any one line, all as long as they may be, name included."""
    limits = ROLE_FORMATS["__loki_stack_limits"]
    marks = SHIPPER_VARS["__loki_stack_marks"]
    for flow in flows:
        for route in flow["routes"]:
            names = {*formats[route["format"]]["names"], *flow["envelope_fields"], *marks, "filename"}
            size = sum(len(name) + limits["long" if name in limits["long_fields"] else "short"] for name in names)
            assert size < 65536 and len(names) < 128, (flow["name"], route["format"], size)


def test_golden_lines_cover_every_format_and_use_documented_names():
    used = {route["format"] for source in SOURCES for route in [source, *source.get("routes", [])]}
    assert used == set(ROLE_FORMATS["__loki_stack_formats"])
    assert {name for line in GOLDEN for name in line["metadata"]} <= set(ROWS)
