#!/usr/bin/python3
"""A Discord for tests: takes webhooks as the real one documents it, keeps what it got, and misbehaves on request.

    discord.py PORT

POST /api/webhooks/…   204; 400 with Discord's error form when a message breaks its limits
POST /second           any JSON: the second channel
GET  /messages         what was taken, [{path, at, body}], oldest first; DELETE forgets it
GET  /requests         every request: [{path, at, status}]
POST /behaviour        [{"status": 429, "retry_after": 0.4, "times": 3}, {"status": 500, "times": 2}, {"hang": 20}],
                       served in turn by the webhooks, then 204 again; {"status": 404, "for": 900} holds for seconds
Only the standard library, as it runs on bare hosts.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# https://discord.com/developers/docs/resources/webhook#execute-webhook and …/resources/message#embed-object
LIMITS = {"title": 256, "description": 4096}
KNOWN = {"content", "username", "avatar_url", "tts", "embeds", "allowed_mentions"}

lock = threading.Lock()
messages: list[dict[str, Any]] = []
requests: list[dict[str, Any]] = []
behaviour: list[dict[str, Any]] = []


def problem(body: Any) -> str | None:
    """What the real one would refuse with 400."""
    if not isinstance(body, dict) or body.keys() - KNOWN:
        return "unknown keys"
    content, embeds = body.get("content") or "", body.get("embeds") or []
    if not content and not embeds:
        return "Cannot send an empty message"
    if len(content) > 2000 or len(body.get("username") or "") > 80 or len(embeds) > 10:
        return "too long"
    total = 0
    for embed in embeds:
        if not any(embed.get(key) for key in ("title", "description", "fields", "image")):
            return "embeds: empty"
        if any(len(embed.get(key) or "") > most for key, most in LIMITS.items()):
            return "embeds: too long"
        footer = (embed.get("footer") or {}).get("text", "")
        if len(footer) > 2048:
            return "embeds: footer too long"
        total += len(embed.get("title") or "") + len(embed.get("description") or "") + len(footer)
    return "embeds: more than 6000 characters" if total > 6000 else None


def next_behaviour() -> dict[str, Any]:
    """The first one that still holds; what is used up goes."""
    with lock:
        while behaviour:
            first = behaviour[0]
            if "for" in first:
                first.setdefault("until", time.time() + first["for"])
                if time.time() < first["until"]:
                    return dict(first)
            elif first.get("times", 1) > 0:
                first["times"] = first.get("times", 1) - 1
                return dict(first)
            behaviour.pop(0)
        return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """The list of requests is the log."""

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        with lock:
            requests.append({"path": self.path, "at": time.time(), "status": status})

    def do_GET(self) -> None:
        with lock:
            kept = list(messages if self.path == "/messages" else requests)
        self.answer(200, kept)

    def do_DELETE(self) -> None:
        with lock:
            messages.clear()
            requests.clear()
            behaviour.clear()
        self.answer(204)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            self.answer(400, {"message": "The request body contains invalid JSON.", "code": 50109})
            return
        if self.path == "/behaviour":
            with lock:
                behaviour[:] = body
            self.answer(204)
        elif self.path.startswith("/api/webhooks/"):
            self.webhook(body)
        else:
            self.keep(body)
            self.answer(204)

    def webhook(self, body: Any) -> None:
        now = next_behaviour()
        if "hang" in now:
            time.sleep(now["hang"])
        status = now.get("status", 204)
        if status == 429:
            wait = now["retry_after"]
            self.answer(
                429,
                {"message": "You are being rate limited.", "retry_after": wait, "global": False},
                Retry_After=str(int(wait) + 1),
            )
        elif status != 204:
            self.answer(status, {"message": "as asked"})
        elif wrong := problem(body):
            self.answer(400, {"message": wrong, "code": 50035})
        else:
            self.keep(body)
            self.answer(204)

    def keep(self, body: Any) -> None:
        with lock:
            messages.append({"path": self.path, "at": time.time(), "body": body})


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()  # noqa: S104  # nosec B104
