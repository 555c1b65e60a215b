"""Who acts, told to the database in the first statement of every transaction, signed so that SQL cannot forge it.

The database never has the key: it keeps the text as a claim, and whodunit checks the signature. The statement is to run
as the first one of the transaction, before any savepoint; it holds for that transaction only, so a pooled connection
carries nothing over to the next client.

    sql, parameters = statement({"uid": 42, "cid": correlation_id, "method": "DELETE", "route": "/users/<id>"}, key)
    cursor.execute(sql, parameters)
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

VERSION = 1
MAX_BYTES = 1024  # what production keeps of it whole
MAX_TAG_BYTES = 63  # NAMEDATALEN: PostgreSQL cuts application_name there
CLAIMS = frozenset(
    {"v", "uid", "email_hash", "sid_hash", "bsid", "ip", "pod", "method", "route", "reason", "cid", "tp", "iat", "sig"}
)
_BLANK = "-" * 64
_CUT_FIRST = ("reason", "route", "pod")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
_SQL = "SELECT set_config('audit.ctx', %s, true), set_config('application_name', %s, true)"


class ContextError(ValueError):
    """Claims that cannot be signed, or a text that is not a context; the message says why."""


def statement(claims: Mapping[str, Any], key: bytes) -> tuple[str, tuple[str, str]]:
    """The statement that opens a transaction, and its parameters."""
    return _SQL, (sign(claims, key), tag(claims))


def sign(claims: Mapping[str, Any], key: bytes) -> str:
    """The context as text: the claims, their time and their signature, cut so that production keeps it whole."""
    unknown = set(claims) - CLAIMS
    if unknown:
        raise ContextError(f"no such claims: {', '.join(sorted(unknown))}")
    if not key:
        raise ContextError("the key is empty")
    signed = {"v": VERSION, "iat": int(time.time()), **{k: v for k, v in claims.items() if v is not None}}
    signed.pop("sig", None)
    for name in (*_CUT_FIRST, None):
        # Dumped once: what is signed is the text without the signature, and no claim's value can look like one (its
        # quotes are escaped).
        blank = _dump({**signed, "sig": _BLANK})
        signature = hmac.digest(key, blank.replace(f',"sig":"{_BLANK}"', "", 1).encode(), "sha256").hex()
        text = blank.replace(_BLANK, signature, 1) if blank.count(_BLANK) == 1 else _dump({**signed, "sig": signature})
        excess = len(text.encode()) - MAX_BYTES
        if excess <= 0:
            return text
        if name is not None and isinstance(signed.get(name), str):
            signed[name] = _cut(signed[name], excess)
    raise ContextError(f"the claims take more than {MAX_BYTES} bytes")


def verify(text: str, keys: Iterable[bytes]) -> dict[str, Any] | None:
    """The claims when one of the keys signed exactly them, else None; no text makes it raise."""
    claims = parse(text)
    if claims is None or not isinstance(claims.get("sig"), str):
        return None
    unsigned = {name: value for name, value in claims.items() if name != "sig"}
    given = claims["sig"].encode("utf-8", "replace")
    if any(hmac.compare_digest(_signature(unsigned, key).encode(), given) for key in keys if key):
        return claims
    return None


def parse(text: str) -> dict[str, Any] | None:
    """What a context claims, whoever wrote it; None when it is not one."""
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def tag(claims: Mapping[str, Any]) -> str:
    """application_name of the transaction: every line of PostgreSQL's log then carries trace, user and correlation."""
    parts = []
    trace = trace_id(claims)
    if trace:
        parts.append(f"t={trace}")
    if claims.get("uid") is not None:
        # Bounded, or a long one would push the correlation over PostgreSQL's end of the name.
        parts.append("u=" + re.sub(r"[^!-:<-~]", "_", str(claims["uid"]))[:15])
    if claims.get("cid"):
        parts.append(f"c={str(claims['cid'])[:8]}")
    return ";".join(parts).encode()[:MAX_TAG_BYTES].decode(errors="ignore")


def trace_id(claims: Mapping[str, Any]) -> str | None:
    """The trace of the claim `tp`, a W3C traceparent."""
    found = _TRACEPARENT.fullmatch(str(claims.get("tp", "")))
    return found.group(1) if found else None


def _signature(unsigned: Mapping[str, Any], key: bytes) -> str:
    return hmac.digest(key, _dump(unsigned).encode(), "sha256").hex()


def _dump(claims: Mapping[str, Any]) -> str:
    try:
        return _encode(claims)
    except (TypeError, ValueError) as error:
        raise ContextError(f"a claim is not JSON: {error}") from error


def _cut(text: str, excess: int) -> str:
    """Shorter by at least that many bytes of JSON; a character outside ASCII takes up to twelve."""
    while text and excess > 0:
        excess -= len(json.dumps(text[-1])) - 2
        text = text[:-1]
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name twice would let a reader see another value than the one that was signed."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
