"""Whether what comes from production continues what the vault has, and since when it does not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keeper_common import ask, last_anchor, lsn

SET_BACK = "the vault was set back"
REBUILT = "the vault was rebuilt"
SLOT_GONE = "production has lost the slot"
SLOT_LOST = "production gave the slot up, since it kept too much WAL"

PROVEN = "SELECT s.at, s.lsn::text AS lsn FROM vault.seal s WHERE s.lsn IS NOT NULL ORDER BY s.n DESC LIMIT 1"
APPLIED = """
SELECT greatest((SELECT max(h.at) FROM audit.heartbeat h),
                (SELECT max(t.commit_at) FROM vault.sealed_transaction t)) AS at,
       coalesce(%s, (SELECT max(h.lsn)::text FROM audit.heartbeat h)) AS lsn
"""
# Heartbeats that the vault has from this production, newest first; a day of them is what production keeps.
HEARD = """
SELECT json_agg(json_build_object('at', b.at, 'lsn', b.lsn)) AS beats FROM (
  SELECT h.at, h.lsn FROM audit.heartbeat h JOIN vault.epoch e ON e.n = vault.current_epoch()
  WHERE h.received_at > e.started_at
  ORDER BY h.id DESC LIMIT %s) b
"""
# The first that production has no more, though it has older ones: its WAL is another from there on.
FORGOTTEN = """
SELECT min(b.at) AS at FROM json_to_recordset(%s) AS b (at timestamptz, lsn pg_lsn)
WHERE b.at > (SELECT min(h.at) FROM audit.heartbeat h)
  AND NOT EXISTS (SELECT FROM audit.heartbeat h WHERE (h.at, h.lsn) = (b.at, b.lsn))
"""
SHARED = """
SELECT h.at, h.lsn::text AS lsn FROM audit.heartbeat h JOIN json_to_recordset(%s) AS b (at timestamptz, lsn pg_lsn)
  ON (b.at, b.lsn) = (h.at, h.lsn) WHERE h.at < %s::timestamptz ORDER BY h.at DESC LIMIT 1
"""
ALL = 9000  # more than production keeps


def heard(vault: Any, count: int = ALL) -> str:
    """The newest heartbeats that the vault has, as JSON."""
    return json.dumps(ask(vault, HEARD, (count,))[0]["beats"] or [], default=str)


def forgotten(production: Any, beats: str) -> Any:
    """Time of the first of these that production has lost; None when it has them all."""
    return ask(production, FORGOTTEN, (beats,))[0]["at"]


@dataclass(frozen=True)
class Outside:
    """What is known outside of the vault's cluster: the last anchored seal, and where the cluster was, last time."""

    anchored: int
    position: Mapping[str, Any] | None

    @classmethod
    def read(cls, anchors: Path, position: Path) -> Outside:
        try:
            known = json.loads(position.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # none yet, or cut by a crash
            known = None
        return cls(last_anchor(anchors), known)


def note_position(path: Path, here: Mapping[str, Any]) -> None:
    """The vault's own place in its own WAL: a cluster that is ever found behind it is an older copy."""
    fresh = path.with_suffix(f".{os.getpid()}")  # the converge's own sync may write at the same time
    own = {name: here[name] for name in ("own_system", "own_timeline", "own_lsn")}
    fresh.write_text(json.dumps(own, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)


def vault_went_back(vault: Mapping[str, Any], outside: Outside) -> str | None:
    """Whether the vault is an older copy, or a new one, of itself: nothing may be sealed before an epoch says so."""
    before = outside.position
    if not vault["epoch"]:
        return REBUILT if outside.anchored or before else None
    if vault["seals"] < outside.anchored:
        return SET_BACK
    if before and (vault["own_system"], vault["own_timeline"]) != (before["own_system"], before["own_timeline"]):
        return SET_BACK
    if before and lsn(vault["own_lsn"]) < lsn(before["own_lsn"]):
        return SET_BACK
    return None


def new_epoch_reason(production: Mapping[str, Any], vault: Mapping[str, Any], outside: Outside) -> str | None:
    """Why what comes now does not continue what the vault has; None when it does."""
    if back := vault_went_back(vault, outside):
        return back
    if not vault["epoch"]:
        return "first subscription"
    if vault["system_identifier"] and vault["system_identifier"] != production["system_identifier"]:
        return "production is another cluster"
    if vault["timeline"] and vault["timeline"] != production["timeline"]:
        return "production was restored or failed over"
    if production["forgot"] or lsn(production["lsn"]) < lsn(vault["applied"]):
        return "production was set back"
    if vault["subscribed"] and not production["slot"]:
        return SLOT_GONE
    if production["wal_status"] == "lost":
        return SLOT_LOST
    return None


def continues_until(reason: str, vault: Any, production: Any, applied: str | None) -> Mapping[str, Any]:
    """Up to when and where the history has everything: {at, lsn}, each None when nobody knows.

    A vault that was set back is believed as far as its last seal. A production that was keeps what both have heard: its
    last heartbeat that the vault has, too. A slot that is lost loses nothing of what was applied before.
    """
    if reason == SET_BACK:
        found = ask(vault, PROVEN)
    elif reason in (SLOT_GONE, SLOT_LOST):
        found = ask(vault, APPLIED, (applied,))
    elif ask(production, "SELECT to_regclass('audit.heartbeat') IS NOT NULL AS beats")[0]["beats"]:
        beats = heard(vault)
        found = ask(production, SHARED, (beats, forgotten(production, beats) or "infinity"))
    else:
        found = []
    return found[0] if found else {"at": None, "lsn": None}
