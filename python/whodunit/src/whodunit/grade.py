"""How sure an answer is: witnesses of different domains that agree prove it, one alone does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from whodunit.model import Answer, Grade, Witness

UNKNOWN = "unknown"
LEFT_OUT = "[literals left out]"  # what the vault and we put where a secret may have stood
Same = Callable[[str, str], bool]


def grade(witnesses: Iterable[Witness], same: Same = str.__eq__) -> Grade:
    """Proven, single source, contradicted or unknown; two witnesses of one domain count as one."""
    known = [witness for witness in witnesses if witness.value not in ("", UNKNOWN)]
    if not known:
        return Grade.UNKNOWN
    if any(not same(a.value, b.value) for index, a in enumerate(known) for b in known[index + 1 :]):
        return Grade.CONTRADICTED
    return Grade.PROVEN if len({witness.domain for witness in known}) > 1 else Grade.SINGLE


def answer(
    question: str,
    name: str,
    witnesses: Iterable[Witness | None],
    *,
    same: Same = str.__eq__,
    note: str = "",
    link: str = "",
) -> Answer:
    """The first witness's value, graded by all of them."""
    heard = tuple(witness for witness in witnesses if witness is not None and witness.value not in ("", UNKNOWN))
    graded = grade(heard, same)
    value = heard[0].value if heard else UNKNOWN
    if graded is Grade.CONTRADICTED:
        value = " / ".join(dict.fromkeys(witness.value for witness in heard))
    return Answer(question, name, value, graded, heard, note, link)


def within(seconds: float) -> Same:
    """Two times agree when they are that close: clocks of two programs never read the same."""

    def same(a: str, b: str) -> bool:
        return abs((datetime.fromisoformat(a) - datetime.fromisoformat(b)).total_seconds()) <= seconds

    return same


def same_statement(a: str, b: str) -> bool:
    """Texts agree when one is the beginning of the other: both sources cut long ones."""
    first, second = (" ".join(text.removesuffix(LEFT_OUT).split()) for text in (a, b))
    length = min(len(first), len(second))
    return length > 0 and first[:length] == second[:length]
