"""What a well-behaved browser sends."""

from __future__ import annotations

import json

SESSION = "0123456789abcdef" * 2


def event(**changes) -> dict:
    return {
        "timestamp": "2026-11-30T20:00:00.000Z",
        "action": "CLICK",
        "level": "info",
        "message": 'button#delete-17 "******"',
        "path": "/players",
        "correlation_id": "a" * 32,
        "trace_id": "b" * 32,
        "span_id": "c" * 16,
        **changes,
    }


def body(*events, batch="d" * 32, **changes) -> str:
    return json.dumps({"batch": batch, "dropped": 0, "events": list(events), **changes})


def recorded(at: int, **data) -> dict:
    return {"type": 3, "timestamp": 1_790_000_000_000 + at, "data": data}
