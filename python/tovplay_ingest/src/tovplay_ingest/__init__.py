"""What browsers report: taken as hostile text, written as JSON lines, recorded sessions kept and played back."""

from __future__ import annotations

from .app import create_app

__all__ = ["create_app"]
