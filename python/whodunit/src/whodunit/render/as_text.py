"""The one page for a terminal. Text objects only, no markup, so nothing in a log is ever read as an instruction."""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from whodunit.escape import clean, short
from whodunit.model import Grade, Report, Sample, utc

STYLES = {
    Grade.PROVEN: "bold green",
    Grade.SINGLE: "yellow",
    Grade.CONTRADICTED: "bold white on red",
    Grade.UNKNOWN: "bold red",
}
WIDTH = 120


def render(report: Report, *, color: bool = False, width: int = WIDTH) -> str:
    """The page; without colour it is the same bytes wherever it is asked."""
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in _parts(report):
        console.print(part)
    return "\n".join(line.rstrip() for line in output.getvalue().split("\n"))


def _parts(report: Report) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"INCIDENT {clean(report.incident)}", style="bold"),
        Text(clean(report.title), style="bold"),
        Text(""),
        _answers(report),
    ]
    sections: list[tuple[str, list[str]]] = [
        (
            "Before-images (first rows of each table and kind of change)",
            [_sample(each) for each in report.samples],
        ),
        ("Schema changes", [f"{utc(d.at)}  {d.tag} {d.object_type} {d.object_name}" for d in report.definitions[:40]]),
        (
            "Timeline",
            [f"{utc(e.at)}  {e.source:<14} {short(e.text, 160)}{_ref(e.evidence)}" for e in report.timeline[:60]],
        ),
        (
            "Attempts that changed nothing",
            [
                f"{utc(a.at)}  {a.verdict}: {a.db_user} at {a.client}: {short(a.text, 160)}{_ref(a.evidence)}"
                for a in report.attempts
            ],
        ),
        ("Findings", [f"{utc(f.at)}  {f.severity} {f.kind}: {short(f.text, 160)}" for f in report.findings]),
        ("Silence and gaps", [f"{utc(g.since)} to {utc(g.until)}  {g.source}: {g.text}" for g in report.gaps]),
        ("Notes", list(report.notes)),
        ("Sources", [f"{s.name}: {s.state}{f' ({s.detail})' if s.detail else ''}" for s in report.sources]),
        ("Evidence", [f"{e.id}  {e.source}  {utc(e.at)}  sha256 {e.sha256}" for e in report.evidence]),
    ]
    for title, lines in sections:
        if lines:
            parts += [Text(""), Text(title, style="bold"), Group(*(Text("  " + clean(line)) for line in lines))]
    parts += [Text(""), Text("Everything back: ", style="bold").append(clean(report.undo), style="bold cyan"), Text("")]
    return parts


def _answers(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=5)
    table.add_column(width=16)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(width=13)
    question = ""
    for each in report.answers:
        value = Text(short(each.value, 400))
        if each.note:
            value.append(f"\n{short(each.note, 300)}", style="dim")
        if each.link:
            value.append(f"\n{clean(each.link)}", style="dim")
        told = "  ".join(dict.fromkeys(f"{w.source}{_ref(w.evidence)}" for w in each.witnesses[:4]))
        if told:
            value.append(f"\n{clean(told)}", style="dim")
        table.add_row(
            Text(each.question if each.question != question else "", style="bold"),
            Text(each.name),
            value,
            Text(str(each.grade), style=STYLES[each.grade]),
        )
        question = each.question
    return table


def _sample(each: Sample) -> str:
    image = each.old if each.old is not None else each.new or {}
    values = ", ".join(
        f"{name}={'NULL' if value is None else short(value, 40)}{_became(each, name)}" for name, value in image.items()
    )
    return f"{each.table} {each.op} {each.key}: {values}"[:400]


def _became(each: Sample, name: str) -> str:
    if each.old is None or each.new is None or each.old.get(name) == each.new.get(name):
        return ""
    value = each.new.get(name)
    return f" -> {'NULL' if value is None else short(value, 40)}"


def _ref(evidence: str | None) -> str:
    return f" [{evidence}]" if evidence else ""
