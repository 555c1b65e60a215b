"""What is wrong, from a look at each side: {kind: detail}. Each kind has its line in docs/runbooks/README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper_common import HOLD, Settings, lsn

# Seconds that must pass, for what mends by itself: the holder comes back, a copy ends.
PATIENCE = {"not_held": 15.0, "slot_stray": 120.0}
SEAL_SECONDS = 300.0  # a million rows take one; longer, and an open transaction of the vault is in the way


def lag(there: Mapping[str, Any] | None) -> int | None:
    """Bytes of WAL that the vault has not confirmed; None without a slot."""
    return max(0, lsn(there["lsn"]) - lsn(there["confirmed"])) if there and there["slot"] else None


def on_production(there: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """What production's side says of slot, WAL and of the locks on its database; needs nothing of the vault."""
    wrong: dict[str, Any] = {}
    if not there["slot"] or there["wal_status"] == "lost":
        wrong["slot_lost"] = {"wal_status": there["wal_status"]}
    elif not there["active"]:
        wrong["slot_inactive"] = {}
    behind = lag(there)
    if behind is not None and behind > settings.lag_bytes:
        wrong["lag"] = {"bytes": behind}
    if there["retained"] and there["keep"] > 0 and there["retained"] > there["keep"] / 2:
        wrong["slot_fills_disk"] = {"retained": there["retained"], "kept_at_most": there["keep"]}
    if there["keep"] <= 0:
        wrong["slot_unbounded"] = {"remedy": "max_slot_wal_keep_size, role postgresql"}
    if there["stray"]:
        wrong["slot_stray"] = {"slots": there["stray"]}
    if not there["held"]:
        wrong["not_held"] = {"slot": HOLD}
    if not there["template"]:
        wrong["not_template"] = {"remedy": "site.yml --tags audit_capture"}
    return wrong


def in_vault(
    here: Mapping[str, Any], settings: Settings, silent_for: float, errors_before: int | None
) -> dict[str, Any]:
    """What the vault's side says. silent_for: seconds since the keeper began, where no heartbeat has come yet."""
    wrong: dict[str, Any] = {}
    if not here["working"]:
        wrong["not_applying"] = {}
    if errors_before is not None and (here["errors"] or 0) > errors_before:
        wrong["apply_error"] = {"errors": here["errors"], "reason": "in the vault's own log"}
    age = here["heartbeat_age"] if here["heartbeat_age"] is not None else silent_for
    if age > settings.silence_seconds:
        wrong["silence"] = {"seconds": round(age)}
    if (here["unsealed_age"] or 0) > SEAL_SECONDS:
        wrong["not_sealed"] = {"seconds": round(here["unsealed_age"])}
    if here["open_gaps"]:
        wrong["gap"] = {"open": here["open_gaps"]}
    if here["rest"]:
        wrong["rows_outside_days"] = {"rows": here["rest"]}
    return wrong
