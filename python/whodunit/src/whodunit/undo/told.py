"""The plan and the deed in words."""

from __future__ import annotations

from whodunit.escape import clean, short
from whodunit.undo.run import Result, TableResult


def text(result: Result, name: str, before: str) -> str:
    """`before`: where a restored copy of production has to stop."""
    lines = [f"{'UNDONE' if result.applied else 'PLAN to undo'} {name}", ""]
    for each in result.tables:
        lines += _table(each, applied=result.applied)
    lines += [f"{each[:1].upper()}{each[1:]}" for each in [*result.columns, *result.rewritten]]
    if result.made:
        lines.append("Made again as it was, on production and as whoever undoes:")
        lines += [f"    {each}" for each in result.made]
    lines += [f"Left alone, since production has it again: {each}" for each in result.there]
    lines += [f"NOT made again: {statement}: {why}" for statement, why in result.not_made]
    lines += [f"A superuser still has to run: {each}" for each in result.for_superuser]
    lines += [f"NEEDS BACKUP: {each}; restore a copy of production {before}" for each in result.needs_backup]
    if result.order:
        lines.append(f"Order (parents first): {', '.join(result.order)}")
    lines += [f"Sequence set: {each}" for each in result.sequences]
    if result.blockers:
        lines += ["", "It cannot be done yet:", *(f"  {each}" for each in result.blockers)]
    elif result.applied:
        lines += [
            "",
            f"One transaction, audited as {result.reason!r}: `whodunit table …` shows it, and it can"
            f" be undone like any other.",
        ]
    else:
        lines += ["", f"Nothing was changed. To do it: whodunit undo {name} --apply"]
    return "\n".join(clean(line) for line in lines)


def _table(each: TableResult, *, applied: bool) -> list[str]:
    lines = [each.name]
    for rows, done, verb in (
        (each.lost, each.inserted, "lost rows come back"),
        (each.changed, each.updated, "rows get their old values back"),
        (each.born, each.deleted, "new rows are removed"),
    ):
        if rows or done:
            lines.append(f"  {done if applied else rows:>12,}  {verb}")
    if each.already:
        lines.append(f"  {each.already:>12,}  are already as they were")
    lines += [f"  {rows:>12,}  left alone: {why}" for why, rows in sorted(each.conflicts.items())]
    lines += [f"{'':16}{short(key, 80)}: {why}" for key, why in each.examples]
    lines += [f"  column {column} is not restored: {why}" for column, why in each.not_restored]
    if each.created:
        lines.append(
            "  the table is gone, and no definition of it came; it is made of columns and key, without anything else"
        )
        lines += [f"    {short(statement, 200)}" for statement in each.created]
    if each.checksum:
        lines.append(f"  verified: {each.checksum}")
    return [*lines, ""]
