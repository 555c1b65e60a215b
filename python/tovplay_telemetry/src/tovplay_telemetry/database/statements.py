"""What a statement's text tells: its operation, whether it surely only reads, whether it ends a transaction."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tovplay_telemetry import redact

_CACHED = 4096  # characters; longer texts carry values, and seldom come twice
_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
# A read is SELECT without a word that writes, and without a function that is not known to write nothing. FOR UPDATE
# counts as a write, which costs one statement and is never wrong.
_WRITES = re.compile(r"\b(?:insert|update|delete|merge|into|truncate|call|copy|do)\b|;\s*\S", re.IGNORECASE)
_CALLED = re.compile(r"([\w$.\"]+)\s*\(")
_HARMLESS_WORDS = (
    "in and or not exists any all some on using as over filter from where having by select distinct values case when "
    "then else between like ilike is limit offset join union except intersect with row array within group partition "
    "count sum min max avg array_agg string_agg json_agg jsonb_agg bool_and bool_or every coalesce nullif greatest "
    "least lower upper length substr substring trim btrim ltrim rtrim replace split_part position concat concat_ws "
    "left right cast extract date_trunc date_part now to_char to_date to_timestamp age abs round floor ceil ceiling "
    "mod power sqrt row_number rank dense_rank lag lead first_value last_value json_build_object jsonb_build_object "
    "to_json to_jsonb row_to_json unnest generate_series current_setting version current_schema pg_catalog.version "
    "varchar char numeric decimal timestamp time bit "
)
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
_READING = frozenset({"SELECT", "WITH", "VALUES", "SHOW", "FETCH", "CLOSE"})
_RESETTING = frozenset({"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "DISCARD", "RESET", "PREPARE"})
_WRAPPABLE = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "TRUNCATE", "SELECT"})


class Kind(NamedTuple):
    operation: str  # first word, upper case
    reads: bool  # surely writes nothing
    resets: bool  # what was told of the transaction no longer holds
    wrappable: bool  # may be put between BEGIN and COMMIT where it stood alone
    shown: str  # the text for a span: no secrets


def kind(sql: str) -> Kind:
    return _cached(sql) if len(sql) <= _CACHED else _kind(sql)


def _kind(sql: str) -> Kind:
    start = _LEADING.match(sql)
    word = _WORD.match(sql, start.end() if start else 0)
    operation = word.group().upper() if word else "OTHER"
    # Of a very long text the beginning decides: it is a write unless it is short enough to be read.
    reads = operation in _READING and len(sql) <= 16 * _CACHED and _only_reads(sql)
    shown = sql[:_CACHED]
    return Kind(
        operation,
        reads,
        operation in _RESETTING,
        operation in _WRAPPABLE and ";" not in sql.rstrip().rstrip(";")[: 16 * _CACHED],
        redact.text(shown) if redact.concerns(shown) else shown,
    )


_cached = lru_cache(maxsize=1024)(_kind)


def _only_reads(sql: str) -> bool:
    if _WRITES.search(sql):
        return False
    return all(name.lower() in _HARMLESS for name in _CALLED.findall(sql))
