"""The gate of bench/audit: what it lets pass, what it stops."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("audit_figures", ROOT / "bench/audit/figures.py")
figures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(figures)


def found(tps: float, delete: float) -> dict[str, dict[str, list[float]]]:
    """One way beside unaudited, whose every value is 100."""
    of_ours = {measure: [100.0] for measure in figures.MEASURES} | {"tps": [1.0, tps, 999.0], "DELETE": [delete]}
    return {"unaudited": {measure: [100.0] for measure in figures.MEASURES}, "ours": of_ours}


PUBLISHED = figures.summary(found(tps=80, delete=120))


def test_summary_compares_medians() -> None:
    assert PUBLISHED["ours"]["tps"] == {"min": 1.0, "median": 80, "max": 999.0, "ratio": 0.8}


@pytest.mark.parametrize(
    ("tps", "delete", "sentences"),
    [
        (80, 120, []),
        (73, 131, []),  # within a tenth
        (99, 50, []),  # better
        (71, 120, ["ours: TPC-B, transactions/s: 0.71 of unaudited, published 0.80"]),
        (80, 133, ["ours: DELETE of 100k rows, ms: 1.33 of unaudited, published 1.20"]),
    ],
)
def test_gate(tps: float, delete: float, sentences: list[str]) -> None:
    assert figures.fallen(figures.summary(found(tps, delete)), PUBLISHED, 0.1) == sentences


def test_goals_say_met_and_missed() -> None:
    said = figures.goals(figures.summary(found(tps=80, delete=160)), {"load before": 0.4, "cores": 2})
    assert "MISSED: ours: DELETE of 100k rows, ms: 1.60 of unaudited, goal 1.5" in said
    assert "met: ours: INSERT of 100k rows, ms: 1.00 of unaudited, goal 1.5" in said


def test_a_way_that_was_never_published_cannot_fall() -> None:
    assert figures.fallen(figures.summary(found(1, 999)), {}, 0.1) == []


def test_throughput_beside_other_work_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "GOALS", {("ours", "tps"): 0.5})
    (said,) = figures.goals(PUBLISHED, {"load before": 31.5, "cores": 2})
    assert said == "not judged, load 31.5 on 2 cores: ours: TPC-B, transactions/s: 0.80 of unaudited, goal 0.5"
    slow = figures.summary(found(tps=10, delete=120))
    assert figures.fallen(slow, PUBLISHED, 0.1, figures.STEADY) == []
