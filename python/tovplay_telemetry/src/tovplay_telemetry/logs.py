"""Takes over what goes to standard output and error through Python's logging, whoever set the handlers up and when."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import Any

from tovplay_telemetry.counters import count, counts
from tovplay_telemetry.output import Output
from tovplay_telemetry.records import Lines
from tovplay_telemetry.settings import Settings

logger = logging.getLogger("tovplay_telemetry")
_REPORT_SECONDS = 60.0
_emit = logging.StreamHandler.emit
_writer: _Writer | None = None


class _Writer:
    def __init__(self, settings: Settings) -> None:
        self.lines = Lines(settings)
        self._limit = settings.log_buffer
        self._outputs: dict[int, Output] = {}
        self._lock = threading.Lock()
        self._reported: dict[str, int] = {}
        self._report_at = time.monotonic() + _REPORT_SECONDS

    def output(self, stream: Any) -> Output | None:
        """Where a handler's stream leads, when that is standard output or error and no terminal."""
        if stream is sys.stdout or stream is sys.__stdout__:
            fd = 1
        elif stream is sys.stderr or stream is sys.__stderr__ or _is_flasks_own(stream):
            fd = 2
        else:
            return None
        found = self._outputs.get(fd)
        return found or self._open(fd, sys.stdout if fd == 1 else sys.stderr)

    def _open(self, fd: int, stream: Any) -> Output | None:
        try:
            if stream.fileno() != fd or os.isatty(fd):
                return None
        except (AttributeError, OSError, ValueError):  # replaced by something that is no file
            return None
        with self._lock:
            return self._outputs.setdefault(fd, Output(fd, self._limit))

    def write(self, output: Output, line: bytes) -> None:
        output.write(line)
        now = time.monotonic()
        if now >= self._report_at:
            self._report_at = now + _REPORT_SECONDS
            self._report(output)

    def _report(self, output: Output) -> None:
        """What was left out since the last time, if anything."""
        found = counts()
        new = {name: number - self._reported.get(name, 0) for name, number in found.items()}
        if any(new.values()):
            self._reported = found
            grown = {name: number for name, number in new.items() if number}
            output.write(self.lines.event("WARNING", "telemetry_left_out", {"left_out": grown}))


def take_over(settings: Settings) -> None:
    """From now on every StreamHandler of standard output or error writes our lines; files and terminals keep theirs."""
    global _writer
    _writer = _Writer(settings)
    logging.StreamHandler.emit = _take  # type: ignore[method-assign, assignment]
    logger.handlers = [_Own()]
    logger.propagate = False
    logger.setLevel(settings.log_level or logging.INFO)


def prepare(app: Any, settings: Settings) -> None:
    """An application that left its level to chance shows INFO, as the platform's questions need it."""
    if settings.log_level:
        app.logger.setLevel(settings.log_level)
    elif app.logger.level == logging.NOTSET and logging.getLogger().level == logging.WARNING:
        app.logger.setLevel(logging.INFO)


def event(level: str, message: str, given: dict[str, Any], error: BaseException | None = None) -> None:
    """A record of our own, on standard output, where the application's are."""
    try:
        output = _writer.output(sys.stdout) if _writer else None
        if output and _writer:
            _writer.write(output, _writer.lines.event(level, message, given, error))
    except Exception:
        count("faults_log")


def _take(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
    try:
        output = _writer.output(handler.stream) if _writer else None
        if output and _writer:
            _writer.write(output, _writer.lines.line(record))
            return
    except Exception:
        count("faults_log")
        return
    _emit(handler, record)


class _Own(logging.Handler):
    """For @audit_log outside applications, which have loggers of their own."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            output = _writer.output(sys.stdout) if _writer else None
            if output and _writer:
                _writer.write(output, _writer.lines.line(record))
        except Exception:
            count("faults_log")


def _is_flasks_own(stream: Any) -> bool:
    """Flask's default handler writes to the request's wsgi.errors, which servers lead to standard error."""
    module = sys.modules.get("flask.logging")
    return module is not None and stream is module.wsgi_errors_stream
