"""What docs/generate.py writes is checked in as it would write it now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path, _ in generate.documents(ROOT)])
def test_a_generated_document_is_current(path: str) -> None:
    expected = dict(generate.documents(ROOT))[ROOT / path]
    assert (ROOT / path).read_text(encoding="utf-8") == expected, f"{path} is out of date; run docs/generate.py"


def test_every_listener_is_a_row() -> None:
    network = {
        "platform_bridge_address": "172.17.0.1",
        "platform_listeners": [
            {"name": "b", "groups": ["app"], "address": "127.0.0.1", "port": "200", "reach": "x|y", "protection": "p"},
            {
                "name": "a",
                "groups": ["app", "watch"],
                "address": "192.0.2.1",
                "port": 3,
                "reach": "r",
                "protection": "q",
            },
        ],
    }
    rows = [line for line in generate.ports(network).splitlines() if line.startswith("| ")][2:]
    assert rows == ["| 3 | 192.0.2.1 | a | app, watch | r | q |", "| 200 | 127.0.0.1 | b | app | x\\|y | p |"]


def test_an_input_is_a_row() -> None:
    options = {
        "x_list": {"type": "list", "elements": "str", "description": "Names."},
        "x_name": {"type": "str", "required": True, "description": ["One.", "Two."]},
        "x_path": {"type": "str", "description": "Where."},
        "x_none": {"type": "str", "description": "Empty."},
    }
    table = generate.inputs(options, {"x_list": ["a"], "x_path": "{{ y }}", "x_none": ""})
    assert table.splitlines()[2:] == [
        '| `x_list` | list of str | `["a"]` | Names. |',
        "| `x_name` | str | **required** | One. Two. |",
        "| `x_path` | str | see defaults | Where. |",
        '| `x_none` | str | `""` | Empty. |',
    ]


def test_every_role_is_a_section() -> None:
    text = dict(generate.documents(ROOT))[ROOT / "docs" / "inputs.md"]
    roles = {path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    assert {f"## [{role}](../roles/{role})" for role in roles} <= set(text.splitlines())


def test_a_stale_document_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "documents", lambda root: [(root / "docs" / "ports.md", "other")])
    assert generate.main(["--check"]) == 1
    assert "docs/ports.md is out of date; run docs/generate.py" in capsys.readouterr().out
