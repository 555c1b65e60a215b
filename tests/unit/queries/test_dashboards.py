"""The dashboards: generated, whole, and with queries that Loki and Prometheus understand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import yaml
from ansible.module_utils import grafana_dashboard

from queries import load
from queries.dashboards import __main__ as generator
from tests.golden.reader import Entry
from tests.grafana_panels import Asked, asked, filled
from tests.grafana_panels import load as boards

LOGQL = list(asked("loki"))
PROMQL = list(asked("prometheus"))


def test_the_files_are_what_the_code_makes() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in generator.FILES.glob("*.json")}
    assert files == generator.generated(), "run make dashboards"


@pytest.mark.parametrize("uid", boards())
def test_the_module_takes_each(uid: str) -> None:
    spec = boards()[uid]
    grafana_dashboard.check(spec, f"{uid}.json")
    assert spec["uid"] == uid
    assert set(grafana_dashboard.datasource_uids(spec)) <= {"loki", "prometheus", "vault", "jaeger"}


@pytest.mark.parametrize("uid", boards())
def test_each_panel_says_what_it_shows_and_overlaps_no_other(uid: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in boards()[uid]["panels"]:
        assert panel.get("description"), panel["title"]
        assert panel["type"] == "text" or panel["title"]
        if panel["type"] in ("timeseries", "stat"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("query", LOGQL, ids=str)
def test_loki_answers_every_query(loki: str, golden: list[Entry], query: Asked) -> None:
    times = sorted(int(entry.nanoseconds) for entry in golden)
    if query.instant:
        answer = requests.get(
            f"{loki}/loki/api/v1/query", params={"query": query.text, "time": str(times[-1])}, timeout=20
        )
    else:
        answer = requests.get(
            f"{loki}/loki/api/v1/query_range",
            params={"query": query.text, "start": str(times[0]), "end": str(times[-1]), "step": "3600"},
            timeout=20,
        )
    assert answer.status_code == 200, f"{answer.text}\n{query.text}"


def test_one_word_narrows_every_panel_of_the_incident() -> None:
    for kind in ("loki", "vault"):
        for query in asked(kind, {"find": "only-this-one"}):
            if query.dashboard == "incident-analysis" and not query.panel.startswith(("mark", "Findings")):
                assert "only-this-one" in query.text, query.panel


def test_the_forensic_questions_are_those_of_the_command() -> None:
    titles = [panel["title"] for panel in boards()["log-explorer"]["panels"]]
    assert [title for title in titles if title[0].isdigit()] == [f"{q.id}. {q.title}" for q in load().values()]


def test_prometheus_understands_every_query(binary: Callable[[str], str], tmp_path: Path) -> None:
    rules = [{"record": f"panel:number:{number}", "expr": query.text} for number, query in enumerate(PROMQL)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([binary("promtool"), "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_variable_is_left_over() -> None:
    for kind in ("loki", "prometheus", "vault"):
        for query in asked(kind):
            assert not re.search(r"\$(__|\{)", query.text), f"{query}: {query.text}"


def test_a_value_of_a_variable_stays_a_value() -> None:
    assert filled("x ~ ${find:sqlstring}", {"find": "a' OR 'b"}, 60) == "x ~ 'a'' OR ''b'"
    assert filled("x=~`${find:regex}`", {"find": "a.b"}, 60) == r"x=~`a\.b`"
