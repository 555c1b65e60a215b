"""Spans: one per request, one per SQL statement. OpenTelemetry's SDK makes and batches them; otlp.py sends them.

The provider is made at the first request of a process, hence after every fork (gunicorn, uwsgi, preloaded or not).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tovplay_telemetry.counters import count
from tovplay_telemetry.otlp import OtlpJsonExporter
from tovplay_telemetry.request import Request

_MAX_STATEMENT = 4096
_lock = threading.Lock()
_tracer: tuple[int, trace.Tracer | None] = (0, None)
_provider: _Provider | None = None


def tracer() -> trace.Tracer | None:
    """This process's tracer; None where spans have nowhere to go."""
    global _tracer
    pid, found = _tracer
    if pid == os.getpid():
        return found
    with _lock:
        if _tracer[0] != os.getpid():
            _tracer = (os.getpid(), _make(os.environ))
    return _tracer[1]


def _make(environment: Mapping[str, str]) -> trace.Tracer | None:
    existing = trace.get_tracer_provider()
    if not isinstance(existing, trace.ProxyTracerProvider) and not isinstance(existing, _Provider):
        return existing.get_tracer("tovplay_telemetry")  # the application has its own: its spans and ours are one trace
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or not (
        environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):
        return None
    try:
        exporter = OtlpJsonExporter(environment)
    except ValueError:
        count("faults_otlp_endpoint")
        return None
    global _provider
    _provider = _Provider(sampler=_sampler(environment), resource=_resource(environment))
    _provider.add_span_processor(BoundedProcessor(exporter, _queue_size(environment)))
    return _provider.get_tracer("tovplay_telemetry")


def _queue_size(environment: Mapping[str, str]) -> int:
    given = environment.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    return int(given) if given.isdecimal() and int(given) > 0 else 2048


class _Provider(TracerProvider):
    """Ours, told from one that the application made."""


def _sampler(environment: Mapping[str, str]) -> sampling.Sampler:
    """All by default, and never the caller's choice: a browser that says 'not sampled' must not hide what it does."""
    name = environment.get("OTEL_TRACES_SAMPLER", "always_on")
    if name == "always_off":
        return sampling.ALWAYS_OFF
    if name.endswith("traceidratio"):
        try:
            return sampling.TraceIdRatioBased(float(environment.get("OTEL_TRACES_SAMPLER_ARG") or 1.0))
        except ValueError:
            count("faults_otel_sampler")
    return sampling.ALWAYS_ON


def _resource(environment: Mapping[str, str]) -> Resource:
    given = {"service.name": "tovplay-backend", "service.version": "1.0.0"}
    for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, separator, value = pair.partition("=")
        if separator:
            given[name.strip()] = value.strip()
    if environment.get("OTEL_SERVICE_NAME"):
        given["service.name"] = environment["OTEL_SERVICE_NAME"]
    return Resource({"telemetry.sdk.language": "python", "process.pid": os.getpid(), **given})


class BoundedProcessor(SpanProcessor):
    """Hands spans to the SDK's batches as long as they have room; what has none is counted, and nothing waits."""

    def __init__(self, exporter: SpanExporter, limit: int) -> None:
        self._limit = limit
        self._accepted = 0
        self._counting = _Counting(exporter)
        self._batches = BatchSpanProcessor(self._counting, max_queue_size=limit, max_export_batch_size=min(512, limit))

    def on_end(self, span: ReadableSpan) -> None:
        if self._accepted - self._counting.handed >= self._limit:
            count("spans_dropped")
            return
        self._accepted += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._batches.force_flush(timeout_millis)


class _Counting(SpanExporter):
    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.handed = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.handed += len(spans)
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        self._exporter.shutdown()


def start_request(request: Request) -> Any:
    """Open the span of a request, below the caller's, or of a job, and make it the current one; for `leave`."""
    found = tracer()
    if found is None:
        return None
    parent = None
    if request.trace_id and request.span_id:
        caller = SpanContext(int(request.trace_id, 16), int(request.span_id, 16), True, TraceFlags(TraceFlags.SAMPLED))
        parent = trace.set_span_in_context(NonRecordingSpan(caller), otel_context.Context())
    attributes: dict[str, Any] = {"correlation_id": request.correlation_id}
    if request.is_http:
        attributes |= {"http.request.method": request.method or "", "url.path": request.path or ""}
    if request.ip_address:
        attributes["client.address"] = request.ip_address
    if request.user_agent:
        attributes["user_agent.original"] = request.user_agent
    if request.browser_session_id:
        attributes["browser_session_id"] = request.browser_session_id
    span = found.start_span(
        request.method or request.name or "request",
        context=parent or otel_context.Context(),
        kind=SpanKind.SERVER if request.is_http else SpanKind.INTERNAL,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    )
    context = span.get_span_context()
    request.trace_id = f"{context.trace_id:032x}"
    request.span_id = f"{context.span_id:016x}"
    request.trace_flags = f"{int(context.trace_flags):02x}"
    request.span = span
    return otel_context.attach(trace.set_span_in_context(span))


def resume(request: Request) -> Any:
    """The span again as the current one, for what runs after the application has returned (a streamed answer)."""
    return otel_context.attach(trace.set_span_in_context(request.span)) if request.span is not None else None


def leave(token: Any) -> None:
    if token is not None:
        otel_context.detach(token)


def end_request(request: Request, status: int | None) -> None:
    span: Span | None = request.span
    if span is None:
        return
    if request.is_http and request.route:
        span.update_name(f"{request.method} {request.route}")
        span.set_attribute("http.route", request.route)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if request.user.id is not None:
        span.set_attribute("enduser.id", str(request.user.id))
    if request.exception is not None:
        span.set_attribute("error.type", type(request.exception).__name__)
    if request.exception is not None or (status is not None and status >= 500):
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def start_statement(operation: str, statement: str, database: str | None) -> Span | None:
    """A span of one SQL statement: its text with placeholders, never the parameters."""
    found = tracer()
    if found is None or not trace.get_current_span().get_span_context().is_valid:
        return None  # outside requests there is no trace that it would belong to
    attributes: dict[str, Any] = {
        "db.system": "postgresql",
        "db.operation": operation,
        "db.statement": statement[:_MAX_STATEMENT],
    }
    if database:
        attributes["db.name"] = database
    return found.start_span(
        f"{operation} {database}" if database else operation, kind=SpanKind.CLIENT, attributes=attributes
    )


def end_statement(span: Span | None, error: BaseException | None) -> None:
    """The error's class and SQLSTATE; its text often holds values."""
    if span is None:
        return
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state:
            span.set_attribute("db.response.status_code", state)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def flush(seconds: float = 5.0) -> None:
    """Send what waits; for tests and scripts that end at once (a provider does it at exit, too)."""
    if _provider is not None:
        _provider.force_flush(int(seconds * 1000))
