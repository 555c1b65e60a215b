"""What is known of the action that is being served: one object per request, found from any code below it.

Outside requests there is one id per process, or one per `with work("name"):` (jobs.py).
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from typing import Any

from tovplay_telemetry import ids, user
from tovplay_telemetry.user import NOBODY, User

_MAX_HEADER = 512


class Request:
    """One request, or one piece of work outside requests. Strings are bounded; ids are strict or made here."""

    __slots__ = (
        "_user",
        "browser_session_id",
        "correlation_id",
        "correlation_id_untrusted",
        "encoded",
        "exception",
        "finder",
        "ip_address",
        "is_http",
        "method",
        "name",
        "path",
        "route",
        "span",
        "span_id",
        "started",
        "trace_flags",
        "trace_id",
        "user_agent",
    )

    def __init__(self, correlation_id: str | None = None, finder: Any = None) -> None:
        self.correlation_id = correlation_id or ids.new_id()
        self.finder = finder
        self.is_http = False
        self.started = time.perf_counter()
        self.trace_flags = "01"
        self.correlation_id_untrusted: str | None = None
        self.browser_session_id: str | None = None
        self.ip_address: str | None = None
        self.method: str | None = None
        self.name: str | None = None
        self.path: str | None = None
        self.route: str | None = None
        self.trace_id: str | None = None
        self.span_id: str | None = None
        self.span: Any = None
        self.user_agent: str | None = None
        self.exception: BaseException | None = None
        self.encoded: Any = None  # what is known, as JSON (records.py)
        self._user: User = NOBODY

    @classmethod
    def of_environ(cls, environ: dict[str, Any], ip_address: str | None, finder: Any = None) -> Request:
        """What a WSGI environment (PEP 3333) says; of its ids only well-formed ones count."""
        given = environ.get("HTTP_X_CORRELATION_ID")
        request = cls(ids.strict(given), finder)
        if given and ids.strict(given) is None:
            request.correlation_id_untrusted = given[:128]
        request.is_http = True
        request.ip_address = ip_address
        request.method = environ.get("REQUEST_METHOD", "")[:32]
        request.path = _text(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        request.browser_session_id = ids.strict(environ.get("HTTP_X_BROWSER_SESSION_ID"))
        agent = environ.get("HTTP_USER_AGENT")
        request.user_agent = _text(agent) if agent else None
        trace = ids.trace_of(environ.get("HTTP_TRACEPARENT"))
        if trace:
            request.trace_id, request.span_id = trace
        return request

    @property
    def user(self) -> User:
        """As of now: a login in the middle of a request counts from there on; afterwards, the last one known."""
        found = user.find(self.finder)
        if found is not None:
            if found.email is None and found.id is not None and found.id == self._user.id:
                found = self._user
            self._user = found
        return self._user

    @user.setter
    def user(self, value: User) -> None:
        self._user = value

    @property
    def traceparent(self) -> str | None:
        if not self.trace_id:
            return None
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"


_current: ContextVar[Request | None] = ContextVar("tovplay_request", default=None)
_process: tuple[int, Request] | None = None


def current() -> Request:
    """The request being served; outside one, the process's own."""
    return _current.get() or process()


def process() -> Request:
    """One for the whole life of the process; a fork is another process."""
    global _process
    if _process is None or _process[0] != os.getpid():
        _process = (os.getpid(), Request())
    return _process[1]


def enter(request: Request) -> Any:
    return _current.set(request)


def leave(token: Any) -> None:
    _current.reset(token)


def correlation_id() -> str:
    """The id that every record, span and transaction of this moment carries."""
    return current().correlation_id


def _text(value: str) -> str:
    """WSGI hands bytes over as Latin-1 (PEP 3333); a browser meant UTF-8."""
    value = value[: _MAX_HEADER * 8]
    if not value.isascii():
        value = value.encode("latin-1", "replace").decode("utf-8", "replace")
    return value[: _MAX_HEADER * 4] if value.startswith("/") else value[:_MAX_HEADER]
