"""In which order tables are filled: parents first; tables that refer to each other in a circle go together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def parents_first(tables: Iterable[T], parents: Mapping[T, Iterable[T]]) -> list[list[T]]:
    """Strongly connected components (Tarjan), each after all that it refers to; a table may refer to itself.

    Tables and parents are taken in the order given, so the same input gives the same order. No recursion: a chain of
    foreign keys may be longer than Python's stack.
    """
    listed = list(tables)
    known = set(listed)
    number: dict[T, int] = {}
    low: dict[T, int] = {}
    waiting: list[T] = []
    on_stack: set[T] = set()
    found: list[list[T]] = []
    for root in listed:
        if root in number:
            continue
        work = [(root, iter([p for p in parents.get(root, ()) if p in known]))]
        number[root] = low[root] = len(number)
        waiting.append(root)
        on_stack.add(root)
        while work:
            table, rest = work[-1]
            for parent in rest:
                if parent not in number:
                    number[parent] = low[parent] = len(number)
                    waiting.append(parent)
                    on_stack.add(parent)
                    work.append((parent, iter([p for p in parents.get(parent, ()) if p in known])))
                    break
                if parent in on_stack:
                    low[table] = min(low[table], number[parent])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[table])
                if low[table] == number[table]:
                    component: list[T] = []
                    while True:
                        member = waiting.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == table:
                            break
                    found.append(sorted(component, key=listed.index))
    return found
