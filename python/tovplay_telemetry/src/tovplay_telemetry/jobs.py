"""Jobs outside requests: a queue's task, a script, a migration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tovplay_telemetry import ids, request
from tovplay_telemetry.activation import state
from tovplay_telemetry.request import Request
from tovplay_telemetry.user import User


@contextmanager
def work(name: str, *, user_id: Any = None, correlation_id: str | None = None) -> Iterator[Request]:
    """One id and one trace for all that the job logs and writes.

    correlation_id: of the request that caused it, when known; anything but a strict id is replaced.
    """
    job = Request(ids.strict(correlation_id))
    job.name = job.route = name[:512]
    job.user = User(user_id)
    token = request.enter(job)
    trace = state.tracing.start_request(job) if state.tracing else None
    try:
        yield job
    except BaseException as error:
        job.exception = error
        raise
    finally:
        if state.tracing:
            state.tracing.leave(trace)
            state.tracing.end_request(job, None)
        request.leave(token)
