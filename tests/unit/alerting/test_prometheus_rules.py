"""Every alert of Prometheus: fires, stays quiet, ends, and is quiet where nothing is installed (promtool)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .rules import ROOT, alerts, loki_rules, prometheus_rules

CASES: dict[str, dict[str, list[Any]]] = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
ALWAYS = {"Watchdog"}
HEALTH, SICKNESS = 20, 60  # steps of 15 s


@pytest.fixture(scope="session")
def promtool(binary: Callable[[str], str]) -> str:
    return binary("promtool")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    for name, text in prometheus_rules().items():
        (folder / name).write_text(text)
    return folder


def values(health: float | str, sickness: float | str) -> str:
    """promtool's notation of five minutes of health, fifteen of sickness, fifteen of health."""
    if str(sickness).startswith("+"):
        step = int(str(sickness))
        return f"{health}+0x{HEALTH} {health}+{step}x{SICKNESS} {int(health) + step * SICKNESS}+0x{SICKNESS}"
    return f"{health}+0x{HEALTH} {sickness}+0x{SICKNESS} {health}+0x{SICKNESS}"


def fires(alert: str, at: str, *, firing: bool) -> dict[str, Any]:
    return {
        "expr": f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
        "eval_time": at,
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if firing else [],
    }


def cases() -> list[dict[str, Any]]:
    def series(case: dict[str, list[Any]]) -> list[dict[str, str]]:
        return [{"series": name, "values": values(*pair)} for name, pair in case.items()]

    played = [
        {
            "interval": "15s",
            "name": f"{alert} fires in sickness only",
            "input_series": series(case),
            "promql_expr_test": [
                fires(alert, "4m", firing=False),
                fires(alert, "19m", firing=True),
                fires(alert, "34m", firing=False),
            ],
        }
        for alert, case in CASES.items()
    ]
    nothing = {
        "interval": "15s",
        "name": "nothing is installed",
        "input_series": [],
        "promql_expr_test": [
            *(fires(alert, "20m", firing=False) for alert in CASES),
            fires("Watchdog", "20m", firing=True),
        ],
    }
    return [*played, nothing]


def test_every_alert_has_a_case() -> None:
    assert {rule["alert"] for rule in alerts(prometheus_rules())} == set(CASES) | ALWAYS


def test_rules_are_accepted_without_a_remark(promtool: str, folder: Path) -> None:
    files = [str(folder / name) for name in prometheus_rules()]
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should(promtool: str, folder: Path) -> None:
    tests = folder / "tests.yml"
    document = {"rule_files": list(prometheus_rules()), "evaluation_interval": "15s", "tests": cases()}
    tests.write_text(yaml.safe_dump(document))
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.parametrize("rule", alerts({**prometheus_rules(), **loki_rules()}), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_a_person_needs(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    annotations = rule["annotations"]
    assert annotations["summary"] and annotations["description"]
    assert (ROOT / annotations["runbook_url"]).is_file(), annotations["runbook_url"]
    if rule["labels"].get("event") in {"wipe", "ddl", "guard", "deletion"}:
        assert {"who", "what", "where"} <= set(annotations)


def test_a_runbook_is_of_an_alert() -> None:
    known = {rule["alert"] for rule in alerts({**prometheus_rules(), **loki_rules()})}
    pages = {path.stem for path in (ROOT / "docs/alerts").glob("*.md")} - {"README"}
    assert pages == known


def test_the_table_of_coverage_names_alerts_that_exist() -> None:
    known = {rule["alert"] for rule in alerts({**prometheus_rules(), **loki_rules()})}
    rows = re.findall(r"^\| (.+) \| (.+) \|$", (ROOT / "docs/alerts/README.md").read_text(), flags=re.MULTILINE)
    named = {name for _, ours in rows for name in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", ours)}
    assert len(rows) > 30 and len(named) > 20 and named <= known, named - known


def test_labels_in_texts_come_from_the_expression() -> None:
    """Of Loki's rules: a name in an annotation is one of `by (…)`, else it would be empty."""
    for rule in alerts(loki_rules()):
        kept = {name for names in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in re.split(r",\s*", names)}
        said = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert said <= kept, (rule["alert"], said - kept)
