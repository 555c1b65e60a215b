"""What was left out, so that nothing is missing in silence: dropped records and spans, contexts not told, own faults.

Whoever writes the log says so once a minute while any of them grows (see logs.py).
"""

from __future__ import annotations

import threading

_lock = threading.Lock()
_counts: dict[str, int] = {}


def count(name: str, number: int = 1) -> None:
    """Add to a counter: log_records_dropped, spans_dropped, contexts_untold, faults_<where>."""
    with _lock:
        _counts[name] = _counts.get(name, 0) + number


def counts() -> dict[str, int]:
    """All counters of this process that are not zero."""
    with _lock:
        return dict(_counts)
