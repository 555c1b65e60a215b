"""The page behind a socket: gunicorn, which the web server in front talks to."""

from __future__ import annotations

from typing import Any

from gunicorn.app.base import BaseApplication

from whodunit.config import Config
from whodunit.page import create_app

WORKERS = 2
TIMEOUT_SECONDS = 120


class Server(BaseApplication):
    """Bound to a path (a socket with mode 0660) or to host:port."""

    def __init__(self, config: Config, bind: str) -> None:
        self._config = config
        self._bind = bind
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"unix:{self._bind}" if self._bind.startswith("/") else self._bind,
            "workers": WORKERS,
            "timeout": TIMEOUT_SECONDS,
            "umask": 0o007,
            "proc_name": "whodunit-page",
            "limit_request_line": 2048,
            "limit_request_fields": 40,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(self._config)
