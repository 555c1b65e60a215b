"""What bench/audit/run has measured: its summary, its gate against the published one, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

# name: unit, and whether more is better
MEASURES = {
    "tps": ("TPC-B, transactions/s", True),
    "cpu_us": ("CPU of the server per transaction at half load, µs", False),
    "p95_ms": ("p95 latency at half load, ms", False),
    "wal_bytes": ("WAL per TPC-B transaction, bytes", False),
    "INSERT": ("INSERT of 100k rows, ms", False),
    "UPDATE": ("UPDATE of 100k rows, ms", False),
    "DELETE": ("DELETE of 100k rows, ms", False),
    "TRUNCATE": ("TRUNCATE of 100k rows, ms", False),
    "wal_row": ("WAL per deleted row, bytes", False),
}
# What the gate looks at; TRUNCATE and p95 of milliseconds are mostly noise, throughput is on a machine that others use.
STEADY = ("cpu_us", "INSERT", "UPDATE", "DELETE")
QUIET = ("tps", *STEADY)
GOALS = {
    ("ours without guard", "tps"): 0.85,
    ("ours and pgaudit", "tps"): 0.65,
    ("ours", "INSERT"): 1.5,
    ("ours", "UPDATE"): 1.5,
    ("ours", "DELETE"): 1.5,
}

Found = Mapping[str, Mapping[str, list[float]]]
Summary = dict[str, dict[str, dict[str, float]]]


def summary(found: Found) -> Summary:
    """`{way: {measure: {min, median, max, ratio}}}`; ratio is that of the medians to unaudited."""
    base = {measure: median(values) for measure, values in found["unaudited"].items()}
    return {
        way: {
            measure: {
                "min": round(min(values), 2),
                "median": round(median(values), 2),
                "max": round(max(values), 2),
                "ratio": round(median(values) / base[measure], 3),
            }
            for measure, values in measures.items()
        }
        for way, measures in found.items()
    }


def better(measure: str, ratio: float, than: float, margin: float = 0.0) -> bool:
    """Whether a ratio is no worse than another one, give or take the margin (0.1: a tenth)."""
    return ratio >= than * (1 - margin) if MEASURES[measure][1] else ratio <= than * (1 + margin)


def quiet(conditions: Mapping[str, Any]) -> bool:
    """Whether a core was free for each of server and reader when the run began."""
    return bool(conditions["load before"] < conditions["cores"] / 2)


def fallen(now: Summary, published: Summary, margin: float, measures: Sequence[str] = QUIET) -> list[str]:
    """One sentence for each of our ratios that is well below the published one."""
    return [
        f"{way}: {MEASURES[measure][0]}: {ratio:.2f} of unaudited, published {before:.2f}"
        for way in now
        if way.startswith("ours") and way in published
        for measure in measures
        if not better(measure, ratio := now[way][measure]["ratio"], before := published[way][measure]["ratio"], margin)
    ]


def goals(now: Summary, conditions: Mapping[str, Any]) -> list[str]:
    """One sentence for each goal: met, missed, or not judged, since throughput beside other work says nothing."""
    said = []
    for (way, measure), goal in GOALS.items():
        if way not in now:
            continue
        ratio = now[way][measure]["ratio"]
        verdict = "met" if better(measure, ratio, goal) else "MISSED"
        if measure == "tps" and not quiet(conditions):
            verdict = f"not judged, load {conditions['load before']} on {conditions['cores']} cores"
        said.append(f"{verdict}: {way}: {MEASURES[measure][0]}: {ratio:.2f} of unaudited, goal {goal}")
    return said


def table(now: Summary) -> str:
    """Markdown: a row for each measure, a column for each way; min / median / max and the ratio to unaudited."""
    lines = ["| | " + " | ".join(now) + " |", "|---|" + "---|" * len(now)]
    for measure, (title, _) in MEASURES.items():
        cells = [_cell(way[measure]) for way in now.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def document(published: Mapping[str, Any]) -> str:
    """docs/benchmarks-audit.md, from bench/audit/published.json."""
    run = ", ".join(f"{key} {value}" for key, value in published["conditions"].items())
    return "\n".join(
        [
            "<!-- Written by docs/generate.py from bench/audit/published.json. -->",
            "# What the audit costs production",
            "",
            f"`make bench BENCH=audit` measured this ({run}). Each cell: min / **median** / max (ratio to unaudited).",
            "Ways take turns, round by round, in one cluster; the server and pgbench share one core, what reads the",
            "slot in the vault's place has the other one. `one_core`: that reader shares the core, too. What the vault",
            "itself does is not in it. A later run fails if a ratio of ours falls well below these; a short form of it",
            "is a test of scenario audit_capture.",
            *(
                line
                for name, place in published["places"].items()
                for line in ("", f"## {name}", "", table(place)[:-1])
            ),
            "",
            "## Goals",
            "",
            *(f"- {line}" for line in goals(published["places"]["two_cores"], published["conditions"])),
            "",
        ]
    )


def _cell(one: Mapping[str, float]) -> str:
    digits = 0 if one["median"] >= 100 else 1
    shown = [f"{one[key]:.{digits}f}" for key in ("min", "median", "max")]
    return f"{shown[0]} / **{shown[1]}** / {shown[2]} ({one['ratio']:.2f})"
