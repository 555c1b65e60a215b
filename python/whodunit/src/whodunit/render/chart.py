"""Geometry of the two pictures of an incident: its timeline and the trace's waterfall. Pure; templates draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from whodunit.escape import short
from whodunit.model import Report, Span

WIDTH = 960
_LEFT, _RIGHT = 150, 24  # room for the lanes' names, and for the last label
_LANE = 30
_NEAR = 5.0  # pixels within which events of one lane become one mark
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_ORDER = ("login", "nginx", "flask-api", "frontend", "pgbouncer", "postgres", "postgres-audit", "ddl", "commit")
_DEEPEST = 24


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    y: float
    count: int
    label: str


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    y: float
    kind: str  # commit | attempt | log: how its marks look


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    width: int
    height: int
    left: int
    lanes: tuple[Lane, ...]
    marks: tuple[tuple[str, Mark], ...]  # kind, mark
    ticks: tuple[Tick, ...]
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    name: str
    label: str
    sql: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    trace: str
    width: int
    height: int
    bars: tuple[Bar, ...]
    total_ms: float


def timeline(report: Report) -> Timeline | None:
    """One lane a source, events by their time; events too close to tell apart are one mark with their number."""
    happened = [(each.at, each.source, each.text) for each in report.timeline]
    happened += [(each.at, "attempts", f"{each.verdict}: {each.text}") for each in report.attempts]
    if not happened:
        return None
    first, last = min(each[0] for each in happened), max(each[0] for each in happened)
    span = max((last - first).total_seconds(), 0.001)
    names = sorted({each[1] for each in happened}, key=lambda name: (_rank(name), name))
    lanes = tuple(Lane(name, 22 + n * _LANE, _kind(name)) for n, name in enumerate(names))

    def x(at: datetime) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at - first).total_seconds() / span

    marks = []
    for lane in lanes:
        inside = sorted((x(at), at, text) for at, source, text in happened if source == lane.name)
        group: list[tuple[float, datetime, str]] = []
        for each in [*inside, (math.inf, last, "")]:
            if group and each[0] - group[0][0] > _NEAR:
                label = f"{group[0][1].strftime('%H:%M:%S.%f')[:-3]} {short(group[0][2], 120)}"
                more = f" (and {len(group) - 1} more)" if len(group) > 1 else ""
                marks.append((lane.kind, Mark(round(group[0][0], 1), lane.y, len(group), label + more)))
                group = []
            group.append(each)
    ticks = tuple(Tick(round(x(at), 1), _clock(at, span)) for at in _moments(first, last, span))
    return Timeline(WIDTH, 22 + len(lanes) * _LANE + 22, _LEFT, lanes, tuple(marks), ticks, first, last)


def waterfalls(spans: Sequence[Span]) -> list[Waterfall]:
    """One picture a trace: each span under the one that called it, as long as it took."""
    found = []
    for trace in dict.fromkeys(span.trace for span in spans):
        own = [span for span in spans if span.trace == trace]
        total = max(max(span.start_ms + span.duration_ms for span in own), 0.001)
        scale = (WIDTH - _RIGHT) / total
        bars = tuple(
            Bar(
                round(span.start_ms * scale, 1),
                n * 40 + 18,
                round(max(span.duration_ms * scale, 2), 1),
                f"{'· ' * depth}{span.service}: {short(span.operation, 60)}",
                f"{span.duration_ms:.1f} ms" + (f"  {short(span.statement, 90)}" if span.statement else ""),
                bool(span.statement),
            )
            for n, (depth, span) in enumerate(_nested(own))
        )
        found.append(Waterfall(trace, WIDTH, len(bars) * 40 + 4, bars, total))
    return found


def _nested(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Parents before children; what a hostile trace hangs in a circle or too deep still appears once."""
    known = {span.id for span in spans}
    children: dict[str, list[Span]] = {}
    for span in spans:
        children.setdefault(span.parent if span.parent in known and span.parent != span.id else "", []).append(span)
    found: list[tuple[int, Span]] = []
    seen: set[str] = set()
    stack = [(0, span) for span in reversed(children.get("", []))]
    while stack:
        depth, span = stack.pop()
        if span.id in seen:
            continue
        seen.add(span.id)
        found.append((min(depth, _DEEPEST), span))
        stack += [(depth + 1, child) for child in reversed(children.get(span.id, []))]
    return found + [(0, span) for span in spans if span.id not in seen]


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _kind(name: str) -> str:
    return {"commit": "commit", "ddl": "commit", "attempts": "attempt"}.get(name, "log")


def _moments(first: datetime, last: datetime, span: float) -> list[datetime]:
    """Round times, about five of them."""
    step = next((each for each in _STEPS if span / each <= 6), math.ceil(span / 6 / 3600) * 3600)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    n = math.ceil((first - midnight).total_seconds() / step - 1e-9)
    found = []
    while (at := midnight + timedelta(seconds=n * step)) <= last:
        found.append(at)
        n += 1
    return found or [first]


def _clock(at: datetime, span: float) -> str:
    if span < 10:
        return at.strftime("%H:%M:%S.%f")[:-3]
    return at.strftime("%H:%M:%S") if span < 86400 else at.strftime("%d %b %H:%M")
