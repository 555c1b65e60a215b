"""The incident page: what the command says, for a browser. Reading only; an undo is done at a terminal."""

from whodunit.page.app import create_app

__all__ = ["create_app"]
