"""Documents that people wrote: their links lead somewhere, and the firewall's table opens what others must reach."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def dead_links(document: Path, text: str) -> list[str]:
    paths = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    return [path for path in paths if not (document.parent / path).exists()]


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    assert dead_links(document, document.read_text(encoding="utf-8")) == []


def test_a_dead_link_is_noticed() -> None:
    assert dead_links(ROOT / "README.md", "[a](docs/gone.md) [b](README.md#x) [c](https://example.org/)") == [
        "docs/gone.md"
    ]


def test_the_firewalls_table_has_every_port_that_other_hosts_reach() -> None:
    network = yaml.safe_load((ROOT / "group_vars/all/network.yml").read_text(encoding="utf-8"))
    local = ("127.0.0.1", network["platform_bridge_address"])
    wanted = {
        jinja2.Template(str(one["port"])).render(network)
        for one in network["platform_listeners"]
        if jinja2.Template(one["address"]).render(network) not in local
    }
    text = (ROOT / "docs/production.md").read_text(encoding="utf-8")
    table = text.partition("## Firewall")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")]
    assert wanted <= {port.strip() for row in rows for port in row.split(",")}
