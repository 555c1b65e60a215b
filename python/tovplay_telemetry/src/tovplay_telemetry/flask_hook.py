"""Around every request of every Flask application: its id, its records, its span.

It sits in Flask.__call__, outside the application's own middleware, because that is where the real peer is known and
where the last byte leaves. Whatever goes wrong in here, the application serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flask

from tovplay_telemetry import logs, request
from tovplay_telemetry.activation import state
from tovplay_telemetry.address import client_address
from tovplay_telemetry.counters import count
from tovplay_telemetry.request import Request

_HEADER = "X-Correlation-ID"
_serve = flask.Flask.__call__


def install() -> None:
    """Every Flask application of this process, made or to be made."""
    flask.Flask.__call__ = _call  # type: ignore[method-assign, assignment]
    flask.request_started.connect(_started)
    flask.got_request_exception.connect(_failed)


def _call(app: flask.Flask, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        exchange = _Exchange(app, environ, start_response)
    except Exception:
        count("faults_request")
        return _serve(app, environ, start_response)
    return exchange.serve(environ)


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: flask.Flask, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        settings = state.settings
        self._app = app
        if state.prepared is not app:
            state.prepared = app
            logs.prepare(app, settings)
        address = client_address(environ, settings.trusted_proxies, settings.trust_unix_socket)
        self.request = Request.of_environ(environ, address, state.find_user)
        self._start_response = start_response
        self._status: int | None = None
        self._ended = False

    def serve(self, environ: dict[str, Any]) -> Iterable[bytes]:
        token = request.enter(self.request)
        trace = _guarded(state.tracing.start_request, self.request) if state.tracing else None
        try:
            body = _serve(self._app, environ, self._answer)
        except BaseException as error:
            self.request.exception = error
            self.end()
            raise
        else:
            wrapper = environ.get("wsgi.file_wrapper")
            if isinstance(wrapper, type) and isinstance(body, wrapper):
                self.end()  # the server sends the file by itself, and only if it sees its own wrapper
                return body
            return _Body(body, self)
        finally:
            if state.tracing:
                _guarded(state.tracing.leave, trace)
            request.leave(token)

    def _answer(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        try:
            self._status = int(status[:3])
            _ = self.request.user  # the last moment at which the application can be asked
            if not any(name.lower() == "x-correlation-id" for name, _ in headers):
                headers = [*headers, (_HEADER, self.request.correlation_id)]
        except Exception:
            count("faults_request")
        return self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)

    def end(self) -> None:
        """Once, after the last byte or the failure that took its place."""
        if self._ended:
            return
        self._ended = True
        _guarded(self._end)

    def _end(self) -> None:
        if state.tracing:
            state.tracing.end_request(self.request, self._status)
        if not state.settings.log_requests:
            return
        status = self._status if self._status is not None else 500
        seconds = time.perf_counter() - self.request.started
        token = request.enter(self.request)
        logs.event(
            "ERROR" if status >= 500 else "INFO",
            "response",
            {"http_status": status, "request_duration_ms": round(seconds * 1000, 3)},
            self.request.exception,
        )
        request.leave(token)


class _Body:
    """The answer's body: what runs while it is streamed still belongs to the request."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._exchange = exchange

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        token = request.enter(self._exchange.request)
        trace = _guarded(state.tracing.resume, self._exchange.request) if state.tracing else None
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)
        except StopIteration:
            self._exchange.end()
            raise
        except BaseException as error:
            self._exchange.request.exception = error
            self._exchange.end()
            raise
        finally:
            if state.tracing:
                _guarded(state.tracing.leave, trace)
            request.leave(token)

    def close(self) -> None:
        token = request.enter(self._exchange.request)
        try:
            close = getattr(self._body, "close", None)
            if close:
                close()
        finally:
            request.leave(token)
            self._exchange.end()


def _started(sender: flask.Flask, **_: Any) -> None:
    _guarded(_note_route)


def _note_route() -> None:
    now = request.current()
    rule = flask.request.url_rule
    if rule is not None:
        now.route = rule.rule[:512]
    if state.settings.log_requests:
        logs.event("INFO", "request", {})


def _failed(sender: flask.Flask, exception: BaseException, **_: Any) -> None:
    request.current().exception = exception


def _guarded(step: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return step(*arguments)
    except Exception:
        count("faults_request")
        return None
