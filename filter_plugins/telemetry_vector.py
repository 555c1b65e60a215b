"""Flows -> configuration of Vector; its programs come from telemetry_vrl.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]

PIECE_ENDS = '.metadata.parse_error == "docker" || ends_with(string!(.message), "\\n")'
TRIM = ".message = replace(string!(.message), r'\\r?\\n$', \"\")"


def vector_config(
    flows: Iterable[JSON], programs: Mapping[str, Mapping[str, str]], formats: JSON, settings: JSON
) -> dict[str, Any]:
    """The whole configuration; `programs` are VRL by flow and step, `settings` is __loki_stack_shipper_settings."""
    flows = list(flows)
    transforms: dict[str, Any] = {}
    for flow in flows:
        transforms |= _transforms(flow, **programs[flow["name"]])
    return {
        "data_dir": settings["data_directory"],
        "api": {"enabled": True, "address": settings["vector_api"]},
        "sources": {flow["name"]: _source(flow, settings) for flow in flows},
        "transforms": transforms,
        "sinks": {"loki": _sink(flows, formats, settings)},
    }


def _source(flow: JSON, settings: JSON) -> dict[str, Any]:
    return {
        "type": "file",
        "include": [*flow["paths"], *flow["rotated"]],
        "read_from": "beginning",
        "glob_minimum_cooldown_ms": 1000,
        "max_line_bytes": settings["max_line_bytes"],
        "oldest_first": True,
    }


def _transforms(flow: JSON, unwrap: str, fields: str) -> dict[str, Any]:
    """[unwrap -> [join docker's 16 kB pieces -> trim ->]] fields."""
    name = flow["name"]
    chain: list[tuple[str, dict[str, Any]]] = []
    if unwrap:
        chain.append(("unwrap", {"type": "remap", "source": unwrap}))
    if flow["envelope"] == "docker":
        join = {
            "type": "reduce",
            "group_by": ["file", "metadata.container", "metadata.stream"],
            "merge_strategies": {"message": "concat_raw", "metadata": "retain"},
            "ends_when": PIECE_ENDS,
            "expire_after_ms": 5000,
        }
        chain += [("join", join), ("trim", {"type": "remap", "source": TRIM})]
    filename = ".metadata.filename = .file\n" if flow["filename"] else ""
    chain.append(("fields", {"type": "remap", "source": filename + fields}))
    inputs = [name, *(f"{name}_{step}" for step, _ in chain)]
    return {f"{name}_{step}": {"inputs": [inputs[at]], **transform} for at, (step, transform) in enumerate(chain)}


def _sink(flows: list[JSON], formats: JSON, settings: JSON) -> dict[str, Any]:
    names = {name for flow in flows for route in flow["routes"] for name in formats[route["format"]]["names"]}
    names |= {field for flow in flows for field in flow["envelope_fields"]} | {"filename", *settings["marks"]}
    sink: dict[str, Any] = {
        "type": "loki",
        "inputs": [f"{flow['name']}_fields" for flow in flows],
        "endpoint": settings["push_url"],
        "encoding": {"codec": "text"},
        "compression": "snappy",
        "labels": {label: f"{{{{ labels.{label} }}}}" for label in ("job", "host", "log_class")},
        "structured_metadata": {name: f"{{{{ metadata.{name} }}}}" for name in sorted(names)},
        # The templates above are fields that only our programs write, from a fixed list.
        "dangerously_allow_unconfined_template_resolution": True,
        "out_of_order_action": "accept",
        "acknowledgements": {"enabled": True},
        "batch": {"timeout_secs": 0.2, "max_bytes": settings["max_line_bytes"]},
        "buffer": {"type": "disk", "max_size": settings["queue_bytes"], "when_full": "block"},
        "request": {"retry_max_duration_secs": 5},
        "healthcheck": {"enabled": False},  # a shipper starts before its store, too
    }
    if settings["push_url"].startswith("https:"):
        own = {"ca": "ca_file", "cert": "crt_file", "key": "key_file"}
        files = {own[key]: path for key, path in settings["tls"].items()}
        sink["tls"] = {**files, "verify_certificate": True, "verify_hostname": True}
    return sink


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"vector_config": vector_config}
