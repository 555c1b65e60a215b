"""The demo's stand-in for Discord, as somebody reads it who is called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import requests

from .conftest import until

WEBHOOKS, SECOND = "/api/webhooks/", "/second"
ALERTMANAGER = "http://127.0.0.1:9093/api/v2/alerts?active=true"


def firing(demo) -> list[str]:
    """Names of what fires now, watchdogs aside."""
    active = json.loads(demo.watch.check_output(f"curl --silent --fail '{ALERTMANAGER}'"))
    return sorted(one["labels"]["alertname"] for one in active if one["labels"]["severity"] != "none")


def text_of(message: dict[str, Any]) -> str:
    """Everything that a person sees of a message, without Markdown."""
    body = message["body"]
    if message["path"] == SECOND:
        return json.dumps(body)
    embeds = body.get("embeds") or []
    parts = [body.get("content", ""), *(f"{one.get('title', '')}\n{one.get('description', '')}" for one in embeds)]
    return "\n".join(parts).replace("\\", "").replace("**", "")


@dataclass(frozen=True)
class Channel:
    """`address`: where the stand-in listens (tests/stand_in/discord.py)."""

    address: str

    def messages(self, *words: str, path: str = WEBHOOKS) -> list[dict[str, Any]]:
        """Those with all of the words, oldest first."""
        answer = requests.get(f"http://{self.address}:8080/messages", timeout=10)
        answer.raise_for_status()
        found = [message for message in answer.json() if message["path"].startswith(path)]
        return [message for message in found if all(word in text_of(message) for word in words)]

    def titles(self) -> list[str]:
        """First lines, one a message."""
        return [text_of(message).strip().partition("\n")[0] for message in self.messages()]

    def forget(self) -> None:
        requests.delete(f"http://{self.address}:8080/messages", timeout=10).raise_for_status()

    def wait(self, *words: str, seconds: float = 60, path: str = WEBHOOKS) -> dict[str, Any]:
        """The first message with all of the words; what came instead is said when none comes."""
        found = until(lambda: self.messages(*words, path=path), seconds, f"no message with {words}")
        return found[0]
