"""A statement that may carry a protected column's value is shown up to its first literal, as the vault does it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable

from whodunit.attempts import GUARD
from whodunit.grade import LEFT_OUT
from whodunit.model import Line

# Keys of PostgreSQL's JSON lines that hold what somebody said; of the others one is `user`, which is no table.
_SAID = ("message", "statement", "detail", "context", "internal_query", "hint")
_LITERAL = re.compile(r"'|\$[^0-9]")


class Redactor:
    def __init__(self, names: Iterable[str]) -> None:
        """names: tables and columns with a policy."""
        self._names = sorted(name.lower() for name in names if name)

    def statement(self, text: str) -> str:
        if not self._concerns(text):
            return text
        found = _LITERAL.search(text)
        return text[: found.start()] + LEFT_OUT if found else text

    def line(self, line: Line) -> Line:
        """The line without literals and parameters; its digest stays that of the original."""
        if line.message.startswith(GUARD):
            return line  # production's guard has left the literals out itself
        if not self._concerns(_said(line.text)):
            return line
        fields = dict(line.fields)
        if "statement" in fields:
            fields["statement"] = (
                self.statement(fields["statement"]) if self._concerns(fields["statement"]) else LEFT_OUT
            )
        if "parameters" in fields:
            fields["parameters"] = LEFT_OUT
        return dataclasses.replace(line, fields=fields, text=self._text(line.text), original=line.digest)

    def _text(self, text: str) -> str:
        try:
            found = json.loads(text)
        except ValueError:
            return self.statement(text)
        if not isinstance(found, dict):
            return LEFT_OUT
        for name in _SAID:
            if isinstance(found.get(name), str):
                cut = _LITERAL.search(found[name])
                found[name] = found[name][: cut.start()] + LEFT_OUT if cut else found[name]
                if name == "message" and found[name].startswith("AUDIT: "):
                    # The parameters stand behind the statement, without quotes.
                    found[name] = ",".join(found[name].split(",", 7)[:7]) + "," + LEFT_OUT
        return json.dumps(found, ensure_ascii=False)

    def _concerns(self, text: str) -> bool:
        lower = text.lower()
        return any(name in lower for name in self._names)


def _said(text: str) -> str:
    """What a line says, without PostgreSQL's own keys."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return "\n".join(str(found.get(name, "")) for name in _SAID) if isinstance(found, dict) else text
