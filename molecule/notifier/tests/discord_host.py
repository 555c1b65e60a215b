"""What the scenario's tests do to its host: messages to the notifier, and a look at the stand-in for Discord."""

from __future__ import annotations

import json
import subprocess
from typing import Any

HOST = "tovplay-notifier"
DISCORD, NOTIFIER = "http://127.0.0.1:8080", "http://127.0.0.1:9097"
REQUEST = """
import json, sys, urllib.error, urllib.request
for method, url, body in json.load(sys.stdin):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, method=method, data=data, headers={"Content-Type": "application/json"})
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
print(answer.status, answer.read().decode())
"""


def run(*command: str, data: bytes = b"") -> str:
    """A command on the scenario's host."""
    done = subprocess.run(["docker", "exec", "-i", HOST, *command], input=data, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def ask(*requests: tuple[str, str, Any]) -> tuple[int, str]:
    """Requests that the host makes to itself, one after the other; status and body of the last answer."""
    status, _, text = run("python3", "-c", REQUEST, data=json.dumps(requests).encode()).partition(" ")
    return int(status), text


def get(url: str) -> Any:
    status, text = ask(("GET", url, None))
    assert status == 200, (url, status, text)
    return json.loads(text)


def send(*texts: str, channel: str = "alerts") -> None:
    url = f"{NOTIFIER}/api/webhooks/{channel}/-"
    status, said = ask(*(("POST", url, {"embeds": [{"title": text}]}) for text in texts))
    assert status == 204, said


def behave(*steps: dict[str, Any]) -> None:
    assert ask(("POST", f"{DISCORD}/behaviour", list(steps)))[0] == 204


def forget() -> None:
    assert ask(("DELETE", f"{DISCORD}/messages", None))[0] == 204


def titles(channel: int = 2) -> list[str]:
    """Titles that the stand-in took at a webhook, in order."""
    taken = [one for one in get(f"{DISCORD}/messages") if one["path"].startswith(f"/api/webhooks/{channel}/")]
    return [embed.get("title", "") for one in taken for embed in one["body"].get("embeds", [])]


def figure(name: str) -> float:
    _, text = ask(("GET", f"{NOTIFIER}/metrics", None))
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))
