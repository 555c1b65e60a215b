"""What the context of a transaction is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tovplay_telemetry import audit_context

from whodunit import WhodunitError
from whodunit.model import Context, Transaction, Trust

# A context is signed when its request's transaction begins; one that is much older was kept and used again.
LIFETIME = timedelta(minutes=15)
SKEW = timedelta(seconds=60)


def read_keys(path: Path | None) -> tuple[bytes, ...]:
    """One key a line, the newest first; older ones still check what they signed."""
    if path is None:
        return ()
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise WhodunitError(f"cannot read the key of signed contexts: {error}") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith(b"#"))


def judge(transaction: Transaction, keys: Sequence[bytes]) -> Context:
    """Signed, forged, missing, or unchecked where this host has no key."""
    if not transaction.ctx:
        return Context(Trust.MISSING, why="the transaction carried no context")
    claims = audit_context.parse(transaction.ctx)
    if claims is None:
        return Context(Trust.FORGED, why="the context is not readable")
    if not keys:
        return Context(Trust.UNCHECKED, claims, "there is no key here to check the signature with")
    signed = audit_context.verify(transaction.ctx, keys)
    if signed is None:
        return Context(Trust.FORGED, claims, "the signature does not fit the claims")
    issued = signed.get("iat")
    at = transaction.at or transaction.commit_at
    if not isinstance(issued, int | float):
        return Context(Trust.FORGED, claims, "the context does not say when it was signed")
    age = at.timestamp() - issued
    if not -SKEW.total_seconds() <= age <= LIFETIME.total_seconds():
        return Context(Trust.FORGED, claims, f"signed {age:.0f} s before its use: an old context used again")
    return Context(Trust.SIGNED, signed)
