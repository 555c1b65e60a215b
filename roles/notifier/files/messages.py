"""What Discord takes of a message, and how long it wants us to wait: https://discord.com/developers/docs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

# Discord's limits, in characters.
CONTENT, USERNAME, TITLE, DESCRIPTION, FOOTER, EMBEDS, ALL_EMBEDS = 2000, 80, 256, 4096, 2048, 10, 6000
# Characters that show nothing, or turn the direction of what follows: the means of forgery.
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
LATE_SECONDS = 60
FOOTER_ROOM = 64  # what late() may add


def cut(text: object, limit: int) -> str:
    """Text without invisible characters, at most `limit` characters, marked where something is missing."""
    clean = INVISIBLE.sub("", str(text))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def clean_message(body: Mapping[str, Any]) -> dict[str, Any]:
    """What Discord accepts of a message and nothing else; nobody is ever called by it (`allowed_mentions`)."""
    message: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    if body.get("content"):
        message["content"] = cut(body["content"], CONTENT)
    if body.get("username"):
        message["username"] = cut(body["username"], USERNAME)
    left, embeds = ALL_EMBEDS - FOOTER_ROOM, []
    for given in (body.get("embeds") or [])[:EMBEDS]:
        title = cut(given.get("title") or "", min(TITLE, left))
        description = cut(given.get("description") or "", min(DESCRIPTION, left - len(title)))
        left -= len(title) + len(description)
        embed: dict[str, Any] = {"title": title, "description": description}
        if isinstance(given.get("color"), int):
            embed["color"] = given["color"] & 0xFFFFFF
        embeds.append({key: value for key, value in embed.items() if value != ""})
        if left < 2:
            break
    embeds = [embed for embed in embeds if embed.keys() - {"color"}]
    if embeds:
        message["embeds"] = embeds
    elif "content" not in message:
        message["content"] = "(an alert without text)"
    return message


def late(message: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A message that waited says so, since Discord shows the time of its arrival."""
    if seconds < LATE_SECONDS:
        return message
    note = f"waited {seconds / 60:.0f} min for Discord"
    if message.get("embeds"):
        last = {**message["embeds"][-1], "footer": {"text": note}}
        return {**message, "embeds": [*message["embeds"][:-1], last]}
    return {**message, "content": cut(f"{message['content']}\n({note})", CONTENT)}


def backoff(failures: int) -> float:
    """Seconds until the next try: 1, 2, 4 … 60, a little different each time."""
    return min(60.0, 2.0**failures) * random.uniform(0.8, 1.2)  # noqa: S311  # nosec B311  # jitter, no secret


def reset_after(headers: Mapping[str, str]) -> float:
    try:
        return min(float(headers.get("X-RateLimit-Reset-After", 1)), 3600)
    except ValueError:
        return 1.0


def retry_after(headers: Mapping[str, str], text: str) -> float:
    """Discord says how long, in seconds: the body to the millisecond, the header rounded up."""
    try:
        return min(float(json.loads(text)["retry_after"]), 3600)
    except (ValueError, KeyError, TypeError):
        pass
    try:
        return min(float(headers["Retry-After"]), 3600)
    except (ValueError, KeyError):
        return 5.0
