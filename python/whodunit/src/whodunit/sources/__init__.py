"""The witnesses. Each says what it knows about a span of time; one that is missing degrades grades, never the run."""

from __future__ import annotations


class SourceError(Exception):
    """The source gave no answer; the message says why, in words for the report."""
