#!/usr/bin/python3
"""A Discord webhook on loopback that never loses a message, and a dead man's switch.

    tovplay-notifier CONFIG

Whoever can talk to Discord talks to `/api/webhooks/CHANNEL/-` instead. The message is cleaned, written to disk, and
only then acknowledged; it leaves in order, as fast as Discord's answers allow, across outages and restarts. See
https://discord.com/developers/docs/resources/webhook#execute-webhook and …/topics/rate-limits.

`/beat` takes Alertmanager's webhook; a watchdog that stays away for too long becomes a message of our own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from messages import backoff, clean_message, late, reset_after, retry_after
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

log = logging.getLogger("tovplay-notifier")

GONE = {401, 403, 404}

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY, channel TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS beat (name TEXT PRIMARY KEY, at REAL NOT NULL, alarmed INTEGER NOT NULL DEFAULT 0);
"""


@dataclass
class Queue:
    """Messages on disk, by channel in order of arrival."""

    path: Path
    most: int
    database: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.database = sqlite3.connect(self.path, isolation_level=None)
        self.database.executescript(SCHEMA)

    def add(self, channel: str, message: Mapping[str, Any], now: float) -> bool:
        """False where the queue is full: the sender keeps the message then."""
        (count,) = self.database.execute("SELECT count(*) FROM message").fetchone()
        if count >= self.most:
            return False
        self.database.execute(
            "INSERT INTO message (channel, at, body) VALUES (?, ?, ?)", (channel, now, json.dumps(message))
        )
        return True

    def next(self, channels: list[str]) -> tuple[int, str, float, dict[str, Any]] | None:
        """The oldest message of the first channel that has one."""
        for channel in channels:
            row = self.database.execute(
                "SELECT id, channel, at, body FROM message WHERE channel = ? ORDER BY id LIMIT 1", (channel,)
            ).fetchone()
            if row:
                return row[0], row[1], row[2], json.loads(row[3])
        return None

    def done(self, number: int, answer: str | None = None) -> None:
        """Sent; or refused with that answer, and then kept for people to read."""
        self.database.execute("BEGIN")
        if answer is not None:
            self.database.execute(
                "INSERT INTO refused SELECT id, channel, at, body, ? FROM message WHERE id = ?", (answer, number)
            )
        self.database.execute("DELETE FROM message WHERE id = ?", (number,))
        self.database.execute("COMMIT")

    def waiting(self) -> dict[str, tuple[int, float]]:
        rows = self.database.execute("SELECT channel, count(*), min(at) FROM message GROUP BY channel")
        return {channel: (count, oldest) for channel, count, oldest in rows}


@dataclass(eq=False)  # the registry of figures needs it hashable
class Notifier:
    """Channels are `{name: url}`, the first ones go first where several share an address."""

    channels: Mapping[str, str]
    queue: Queue
    watchdogs: list[str]
    silence_seconds: float
    alarm_channels: list[str]
    time_factor: float = 1.0
    sent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    dead: dict[str, bool] = field(default_factory=dict)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)

    # -- in -----------------------------------------------------------------------------------------------------

    async def take(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        if channel not in self.channels:
            return web.json_response({"message": "Unknown Webhook", "code": 10015}, status=404)
        try:
            body = await request.json()
            message = clean_message(body)
        except (ValueError, AttributeError, TypeError):
            return web.json_response({"message": "no message of Discord's form"}, status=400)
        return self.keep(channel, message)

    def keep(self, channel: str, message: Mapping[str, Any]) -> web.Response:
        try:
            kept = self.queue.add(channel, message, time.time())
        except sqlite3.Error as error:
            log.error("the queue cannot be written: %s", error)
            kept = False
        self.fresh.set()
        return web.Response(status=204 if kept else 503)

    async def beat(self, request: web.Request) -> web.Response:
        """Alertmanager's webhook: every alert in it that is a watchdog of ours and fires."""
        body = await request.json()
        for alert in body.get("alerts", []):
            name = alert.get("labels", {}).get("alertname")
            if name in self.watchdogs and alert.get("status") == "firing":
                self.heard(name)
        return web.Response(status=204)

    def heard(self, name: str) -> None:
        row = self.queue.database.execute("SELECT alarmed FROM beat WHERE name = ?", (name,)).fetchone()
        self.queue.database.execute(
            "INSERT OR REPLACE INTO beat (name, at, alarmed) VALUES (?, ?, 0)", (name, time.time())
        )
        if row and row[0]:
            self.tell(
                f"Over: {name} is heard again",
                "Alerts work again. What happened meanwhile is told by alerts that still fire.",
                0x2ECC71,
            )

    def look(self) -> None:
        """Raises the alarm once for every watchdog that has been silent for too long."""
        for name in self.watchdogs:
            self.queue.database.execute("INSERT OR IGNORE INTO beat (name, at) VALUES (?, ?)", (name, time.time()))
            at, alarmed = self.queue.database.execute("SELECT at, alarmed FROM beat WHERE name = ?", (name,)).fetchone()
            if not alarmed and time.time() - at > self.silence_seconds:
                self.queue.database.execute("UPDATE beat SET alarmed = 1 WHERE name = ?", (name,))
                self.tell(
                    f"CRITICAL: nobody hears {name} any more",
                    f"The last one came {time.time() - at:.0f} s ago. Prometheus, Loki's ruler, Alertmanager, their "
                    "host or the network is down: no other alert can be relied on. runbook docs/alerts/Watchdog.md",
                    0xE74C3C,
                )

    def tell(self, title: str, text: str, color: int) -> None:
        log.warning("%s", title)
        message = clean_message({"embeds": [{"title": title, "description": text, "color": color}]})
        for channel in self.alarm_channels:
            self.keep(channel, message)

    # -- out ----------------------------------------------------------------------------------------------------

    async def send_all(self, session: ClientSession, url: str, channels: list[str]) -> None:
        """One address, one message at a time: so order is kept, and its limits are its own."""
        failures = 0
        while True:
            self.fresh.clear()
            entry = self.queue.next(channels)
            if entry is None:
                await self.fresh.wait()
                continue
            number, channel, at, message = entry
            wait, failures = await self.send(session, url, number, channel, late(message, time.time() - at), failures)
            if wait:
                await asyncio.sleep(wait * self.time_factor)

    async def send(
        self, session: ClientSession, url: str, number: int, channel: str, message: Mapping[str, Any], failures: int
    ) -> tuple[float, int]:
        """Seconds until the next message, and failures in a row. A message leaves the queue only with an answer."""
        try:
            async with session.post(url, json=message) as answer:
                text = (await answer.text())[:500]
                status, headers = answer.status, answer.headers
        except (TimeoutError, ClientError, OSError) as error:
            # The address is a secret: only the kind of the failure is said.
            log.warning("channel %s: no answer (%s), try %d", channel, type(error).__name__, failures + 1)
            return backoff(failures), failures + 1
        self.dead[channel] = status in GONE
        if 200 <= status < 300:
            self.queue.done(number)
            self.sent[channel] = self.sent.get(channel, 0) + 1
            return (reset_after(headers) if headers.get("X-RateLimit-Remaining") == "0" else 0.0), 0
        if status == 429:
            return retry_after(headers, text), failures
        if status in GONE:
            log.error("channel %s: the webhook is gone (%d); messages wait", channel, status)
            return 60.0, failures + 1
        if 400 <= status < 500:
            log.error("channel %s: message %d is refused (%d): %s", channel, number, status, text)
            self.queue.done(number, f"{status} {text}")
            self.refused[channel] = self.refused.get(channel, 0) + 1
            return 0.0, 0
        log.warning("channel %s: answer %d, try %d", channel, status, failures + 1)
        return backoff(failures), failures + 1

    # -- figures ------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        waiting, now = self.queue.waiting(), time.time()
        queue = GaugeMetricFamily("tovplay_notifier_queue", "Messages that wait", labels=["channel"])
        oldest = GaugeMetricFamily("tovplay_notifier_oldest_seconds", "How long the oldest waits", labels=["channel"])
        dead = GaugeMetricFamily(
            "tovplay_notifier_webhook_dead", "Whether Discord knows the webhook no more", labels=["channel"]
        )
        sent = CounterMetricFamily("tovplay_notifier_sent", "Messages that Discord took", labels=["channel"])
        refused = CounterMetricFamily(
            "tovplay_notifier_refused", "Messages that Discord refused for good", labels=["channel"]
        )
        for channel in self.channels:
            count, since = waiting.get(channel, (0, now))
            queue.add_metric([channel], count)
            oldest.add_metric([channel], max(0.0, now - since))
            dead.add_metric([channel], int(self.dead.get(channel, False)))
            sent.add_metric([channel], self.sent.get(channel, 0))
            refused.add_metric([channel], self.refused.get(channel, 0))
        yield from (queue, oldest, dead, sent, refused)
        if self.watchdogs:
            beat = GaugeMetricFamily(
                "tovplay_notifier_beat_age_seconds", "Age of the last beat of a watchdog", labels=["name"]
            )
            for name, at in self.queue.database.execute("SELECT name, at FROM beat"):
                beat.add_metric([name], now - at)
            yield beat

    async def metrics(self, _: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(self)
        return web.Response(body=generate_latest(registry), content_type="text/plain")


async def run(notifier: Notifier, host: str, port: int) -> None:
    app = web.Application(client_max_size=1024 * 1024)
    app.add_routes(
        [
            web.post("/api/webhooks/{channel}/{token}", notifier.take),
            web.post("/beat", notifier.beat),
            web.get("/metrics", notifier.metrics),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    log.info("listening on %s:%d", host, port)
    by_url: dict[str, list[str]] = {}
    for channel, url in notifier.channels.items():
        by_url.setdefault(url, []).append(channel)
    async with ClientSession(timeout=ClientTimeout(total=15)) as session:
        senders = [asyncio.create_task(notifier.send_all(session, url, channels)) for url, channels in by_url.items()]
        watch = asyncio.create_task(look_for_ever(notifier))
        done, _ = await asyncio.wait([*senders, watch], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # raises what ended it, and systemd starts us again


async def look_for_ever(notifier: Notifier) -> None:
    while True:
        notifier.look()
        await asyncio.sleep(2)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    secrets = json.loads(Path(config["channels_file"]).read_text(encoding="utf-8"))
    notifier = Notifier(
        channels=secrets,
        queue=Queue(Path(config["queue"]), config["queue_messages"]),
        watchdogs=config["watchdogs"],
        silence_seconds=config["silence_seconds"],
        alarm_channels=config["alarm_channels"],
        time_factor=config["time_factor"],
    )
    asyncio.run(run(notifier, config["address"], config["port"]))


if __name__ == "__main__":
    main()
