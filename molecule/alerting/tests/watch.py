"""What the scenario's tests do to its host: lines to Loki, alerts to Alertmanager, and a look at the stand-in."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

HOST = "tovplay-alerting"
LOKI, PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:3100", "http://127.0.0.1:9090", "http://127.0.0.1:9093"
DISCORD, NOTIFIER = "http://127.0.0.1:8080", "http://127.0.0.1:9097"
REQUEST = """
import sys, urllib.error, urllib.request
method, url = sys.argv[1:]
body = sys.stdin.buffer.read()
request = urllib.request.Request(url, method=method, data=body or None, headers={"Content-Type": "application/json"})
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""


def run(*command: str, data: bytes = b"", check: bool = True) -> str:
    """A command on the scenario's host."""
    done = subprocess.run(["docker", "exec", "-i", HOST, *command], input=data, capture_output=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def ask(method: str, url: str, body: Any = None) -> tuple[int, str]:
    """Status and body of a request that the host makes to itself."""
    status, _, text = run(
        "python3", "-c", REQUEST, method, url, data=b"" if body is None else json.dumps(body).encode()
    ).partition(" ")
    return int(status), text


def get(url: str) -> Any:
    status, text = ask("GET", url)
    assert status == 200, (url, status, text)
    return json.loads(text)


def push(
    labels: dict[str, str], line: str, metadata: dict[str, str] | None = None, *, at: float | None = None
) -> float:
    """One line into Loki as a shipper writes it; returns when."""
    now = time.time()
    stamp = str(int((at or now) * 1e9))
    stream = {"stream": {"host": "prod", **labels}, "values": [[stamp, line, metadata or {}]]}
    status, text = ask("POST", f"{LOKI}/loki/api/v1/push", {"streams": [stream]})
    assert status == 204, text
    return now


def raise_alerts(alerts: list[dict[str, Any]]) -> None:
    status, text = ask("POST", f"{ALERTMANAGER}/api/v2/alerts", alerts)
    assert status == 200, text


def alert(name: str, severity: str = "warning", summary: str = "s", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": summary, "description": "d", "runbook_url": "docs/alerts/x.md"},
    }


def forget() -> None:
    assert ask("DELETE", f"{DISCORD}/messages")[0] == 204


def behave(*steps: dict[str, Any]) -> None:
    assert ask("POST", f"{DISCORD}/behaviour", list(steps))[0] == 204


def messages(path: str = "/api/webhooks/") -> list[dict[str, Any]]:
    return [one for one in get(f"{DISCORD}/messages") if one["path"].startswith(path)]


def text_of(message: dict[str, Any]) -> str:
    return "\n".join(f"{e.get('title', '')}\n{e.get('description', '')}" for e in message["body"].get("embeds", []))


def message_with(*words: str, path: str = "/api/webhooks/") -> list[dict[str, Any]]:
    return [one for one in messages(path) if all(word in text_of(one) for word in words)]
