"""A log record as one line of JSON, with the names of docs/fields.md.

What the application gave (`extra={…}`) passes unchanged and wins over what is known here; where the two differ, ours
stands in `context`, so that nobody can put another's name on a line unnoticed. A line is ASCII: whatever a message or a
header holds, it stays one line and moves no terminal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
import traceback
from functools import lru_cache
from typing import Any

from tovplay_telemetry import redact
from tovplay_telemetry.counters import count
from tovplay_telemetry.plain import cut, plain, text
from tovplay_telemetry.request import Request, current
from tovplay_telemetry.settings import Settings
from tovplay_telemetry.user import User

# What logging itself puts on a record (Python's "LogRecord attributes"); all else came with extra={…}.
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\.[A-Za-z]{2,24}")
_MAX_LINE = 200_000  # the shipper cuts a record at 256 kB
_SMALL = 1024  # characters of a value in a line that would be longer
_HEAD = frozenset({"timestamp", "level", "logger", "message"})
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_quoted = lru_cache(maxsize=256)(_encode)


class Lines:
    """Makes lines under these settings; one for the whole process."""

    def __init__(self, settings: Settings) -> None:
        self._longest = settings.log_max_value
        self._hash_email = settings.log_email == "hash"
        self._key = settings.key or b""

    def line(self, record: logging.LogRecord) -> bytes:
        """Never raises: a record that cannot be made into a line says so in its place."""
        try:
            given = {name: each for name, each in vars(record).items() if name not in _STANDARD}
            if isinstance(record.msg, dict) and not record.args:  # structlog and its like log a dictionary
                said = {text(name): each for name, each in record.msg.items()}
                message = said.pop("event", said.pop("message", ""))
                given = said | given
            else:
                message = _message(record)
            if record.exc_info and record.exc_info[0]:
                given = _exception(record.exc_info) | given
            if record.stack_info:
                given.setdefault("stack_trace", text(record.stack_info))
            return self.compose(record.created, record.levelname, record.name, message, given)
        except Exception as error:
            count("faults_record")
            fields = {"timestamp": _timestamp(record.created), "level": record.levelname, "logger": text(record.name)}
            fields["message"] = f"[record of {record.pathname}:{record.lineno} not printable: {type(error).__name__}]"
            return _bytes(_encode(fields))

    def event(self, level: str, message: str, given: dict[str, Any], error: BaseException | None = None) -> bytes:
        """A line of our own, without the way through logging."""
        if error is not None:
            given = _exception((type(error), error, error.__traceback__)) | given
        return self.compose(time.time(), level, "tovplay_telemetry", message, given)

    def compose(self, created: float, level: str, logger: str, message: Any, given: dict[str, Any]) -> bytes:
        """One line of these and of what is known of the request.

        Nearly every record takes the first way, where what is known is encoded once for the whole request. One with a
        value that JSON does not know, a name that is ours, a hint of a secret, or of great length takes the second.
        """
        known, encoded = self._known(current())
        given = {name: each for name, each in given.items() if name not in known or not _same(each, known[name])}
        if not self._hash_email and known.keys().isdisjoint(given) and _HEAD.isdisjoint(given):
            try:
                said = f"{_encode(message)},{encoded}"
                rest = f",{_encode(given)[1:-1]}" if given else ""
            except (TypeError, ValueError, RecursionError):
                said = rest = ""
            if said and len(said) + len(rest) < self._longest and not redact.concerns(said[: -len(encoded)] + rest):
                stamp = _timestamp(created)
                head = f'{{"timestamp":"{stamp}","level":{_quoted(level)},"logger":{_quoted(logger)},"message":'
                return _bytes(f"{head}{said}{rest}}}")
        fields = {
            "timestamp": _timestamp(created),
            "level": level,
            "logger": logger,
            "message": message,
            **known,
            **given,
        }
        own = {name: known[name] for name in given if name in known and text(given[name]) != text(known[name])}
        if own:
            fields["context"] = own
        if self._hash_email:
            fields = {name: self._without_email(name, each) for name, each in fields.items()}
        return self._careful(fields)

    def _careful(self, fields: dict[str, Any]) -> bytes:
        fields = {text(name): plain(each) for name, each in fields.items()}
        line = _encode(fields)
        if redact.concerns(line):
            fields = {name: redact.value(name, cut(each, self._longest)) for name, each in fields.items()}
            line = _encode(fields)
        if len(line) > self._longest:
            for longest in (self._longest, _SMALL, 64):
                line = _encode({cut(name, 256): cut(each, longest) for name, each in fields.items()})
                if len(line) <= _MAX_LINE:
                    break
            else:
                count("log_values_left_out")
                kept = ("timestamp", "level", "logger", "message", "correlation_id", "trace_id", "user_id")
                line = _encode({name: cut(fields[name], 64) for name in kept if name in fields})
        return _bytes(line)

    def _known(self, request: Request) -> tuple[dict[str, Any], str]:
        """What is known of the request, and the same as the inside of a JSON object."""
        user = request.user
        mark = (user, request.route, request.trace_id)
        if request.encoded is None or request.encoded[0] != mark:
            known = self._context(request, user)
            encoded = _encode(known)
            # All else of it is ids and addresses.
            if redact.concerns(f"{request.path} {request.user_agent} {request.correlation_id_untrusted} {user}"):
                known = {name: redact.value("", each) for name, each in known.items()}
                encoded = _encode(known)
            request.encoded = (mark, known, encoded[1:-1])
        return request.encoded[1], request.encoded[2]

    def _context(self, request: Request, user: User) -> dict[str, Any]:
        fields: dict[str, Any] = {"correlation_id": request.correlation_id}
        if request.trace_id:
            fields["trace_id"] = request.trace_id
            fields["span_id"] = request.span_id
        if user.id is not None:
            fields["user_id"] = user.id if isinstance(user.id, int | str) else text(user.id)
            if user.email:
                fields["email"] = user.email
        if request.ip_address:
            fields["ip_address"] = request.ip_address
        if request.is_http:
            fields["method"] = request.method
            fields["path"] = request.path
            if request.route:
                fields["route"] = request.route
            if request.user_agent:
                fields["user_agent"] = request.user_agent
            if request.browser_session_id:
                fields["browser_session_id"] = request.browser_session_id
            if request.correlation_id_untrusted:
                fields["correlation_id_untrusted"] = request.correlation_id_untrusted
        elif request.name:
            fields["work"] = request.name
        return fields

    def _without_email(self, name: str, value: Any) -> Any:
        if isinstance(value, dict | list | tuple):
            value = _encode(plain(value))
        if isinstance(value, str) and "@" in value:
            return _EMAIL.sub(lambda found: email_hash(found.group(), self._key), value)
        return value


def _same(given: Any, known: Any) -> bool:
    return type(given) is type(known) and bool(given == known)


def email_hash(email: str, key: bytes) -> str:
    """The same for the same address, in logs and in the audit context; without the key nobody can try addresses."""
    return hmac.new(b"email:" + key, email.strip().lower().encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit their message: the message alone is better than none
        return f"{text(record.msg)} [arguments do not fit: {text(record.args)}]"


def _exception(info: Any) -> dict[str, Any]:
    kind, error, trace = info
    return {
        "error_type": kind.__name__,
        "error": text(error),
        "stack_trace": "".join(traceback.format_exception(kind, error, trace, limit=50)),
    }


_second: tuple[int, str] = (0, "")


def _timestamp(created: float) -> str:
    """ISO 8601 in UTC with milliseconds and a Z."""
    global _second
    whole = int(created)
    second, prefix = _second
    if second != whole:
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = (whole, prefix)
    return f"{prefix}.{int((created - whole) * 1000):03d}Z"


def _bytes(line: str) -> bytes:
    # DEL is the one control character that JSON leaves as it is.
    return line.replace("\x7f", "\\u007f").encode("ascii") + b"\n"
