"""What a browser may say. Every value is bounded and free of control characters; nothing else is taken over."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# Control characters, line and paragraph separators, marks that turn the direction of text, halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text on one line, with U+FFFD for whatever a terminal or a log reader might obey."""
    return _UNFIT.sub("\ufffd", text)


def lines(text: str) -> str:
    """As `plain`, line feeds kept."""
    return _UNFIT_IN_LINES.sub("\ufffd", text)


def _text(longest: int) -> Any:
    return Annotated[str, StringConstraints(max_length=longest), AfterValidator(plain)]


Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$", min_length=32, max_length=32)]
SpanId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$", min_length=16, max_length=16)]
Short = _text(200)


class Event(BaseModel):
    """One thing that happened on a page; the names are those of docs/fields.md."""

    model_config = ConfigDict(strict=True, extra="ignore")

    timestamp: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", max_length=24)]
    action: Literal["CLICK", "SUBMIT", "NAVIGATION", "REQUEST", "ERROR", "UNHANDLED_REJECTION"]
    level: Literal["info", "warning", "error"]
    message: _text(2000)  # type: ignore[valid-type]
    path: _text(2000)  # type: ignore[valid-type]
    correlation_id: Id | None = None
    trace_id: Id | None = None
    span_id: SpanId | None = None
    parent_span_id: SpanId | None = None
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,20}$", max_length=20)] | None = None
    http_status: Annotated[int, Field(ge=100, le=599)] | None = None
    request_duration_ms: Annotated[int, Field(ge=0, le=86_400_000)] | None = None
    error_type: Short | None = None  # type: ignore[valid-type]
    stack: Annotated[str, StringConstraints(max_length=8000), AfterValidator(lines)] | None = None


class EventBatch(BaseModel):
    """The body of POST /in/events. Events are judged one by one, so that a bad one costs no other."""

    model_config = ConfigDict(strict=True, extra="ignore")

    batch: Id
    dropped: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    events: Annotated[list[Any], Field(min_length=1, max_length=500)]


class ReplayEvent(BaseModel):
    """An event of rrweb, whose insides are its player's business."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Annotated[int, Field(ge=0, le=20)]
    timestamp: Annotated[int, Field(ge=1_500_000_000_000, le=9_999_999_999_999)]  # milliseconds
    data: dict[str, Any]


class ReplayBatch(BaseModel):
    """The body of POST /in/replay."""

    model_config = ConfigDict(strict=True, extra="ignore")

    batch: Id
    dropped: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    events: Annotated[list[ReplayEvent], Field(min_length=1, max_length=5000)]
