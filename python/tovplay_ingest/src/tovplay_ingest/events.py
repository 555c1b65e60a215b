"""Events as JSON lines in a rotated file, which the log shipper reads."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock

from .model import Event

REMEMBERED_BATCHES = 20_000


class _Handler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A line that could not be written is the sender's business, who tries again: logging would swallow it."""
        raise


class EventLog:
    """Appends batches, each once; safe to be used by several threads."""

    def __init__(self, path: Path, file_bytes: int, files_kept: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _Handler(path, maxBytes=file_bytes, backupCount=files_kept, encoding="ascii")
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._written: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def append(self, session: str, batch: str, ip_address: str, user_agent: str, events: Iterable[Event]) -> bool:
        """Whether the batch was new. OSError: nothing can be written now."""
        with self._lock:
            if batch in self._written:
                return False
            for number, event in enumerate(events):
                self._handler.emit(
                    logging.makeLogRecord({"msg": _line(session, f"{batch}-{number}", ip_address, user_agent, event)})
                )
            self._written[batch] = None
            if len(self._written) > REMEMBERED_BATCHES:
                self._written.popitem(last=False)
        return True

    def close(self) -> None:
        self._handler.close()


def _line(session: str, event_id: str, ip_address: str, user_agent: str, event: Event) -> str:
    """ASCII only, so one line whatever is in it; the page's clock is a claim, so ours stands beside it."""
    return json.dumps(
        {
            **event.model_dump(exclude_none=True),
            "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "logger": "browser",
            "event_id": event_id,
            "browser_session_id": session,
            "ip_address": ip_address,
            "user_agent": user_agent,
        }
    )
