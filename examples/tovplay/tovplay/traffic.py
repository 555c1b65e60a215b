"""Play: `python -m tovplay.traffic --url https://localhost --rate 5 --forever`.

Some players at once do what players do: log in, look around, ask for a game, accept one, befriend each
other. Now and then one mistypes the password, opens the slow report or the broken one.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import requests

from .config import setting
from .sample_data import GAMES, dice_of, players

SUMMARY_SECONDS = 60


class Player:
    """One browser: a session, a token, and dice that decide what to do next."""

    def __init__(self, url: str, number: int, email: str, password: str, dice: Random, ca: str | None) -> None:
        self.url, self.number, self.email, self.password, self.dice = url, number, email, password, dice
        self.http = requests.Session()
        self.http.headers["User-Agent"] = f"TovPlay-traffic/1 (player {number})"
        self.http.verify = ca or True
        self.token = None

    def step(self) -> tuple[str, int]:
        """Do one thing; its name and the status that came back."""
        if self.token is None:
            return "login", self.login(self.password)
        action = self.dice.choices([action for action, _ in ACTIONS], [weight for _, weight in ACTIONS])[0]
        status = action(self)
        if status == 401 and action is not Player.mistype:
            self.token = None
        return action.__name__, status

    def ask(self, method: str, path: str, **options) -> int:
        return self._send(method, path, **options).status_code

    def login(self, password: str) -> int:
        answer = self._send("POST", "/api/login", json={"email": self.email, "password": password})
        if answer.status_code == 200:
            self.token = answer.json()["token"]
        return answer.status_code

    def look_around(self) -> int:
        return self.ask("GET", self.dice.choice(("/", "/api/games", "/api/game-requests?limit=20", "/api/sessions")))

    def look_at_somebody(self) -> int:
        return self.ask("GET", f"/api/users/{self.dice.randint(1, 500)}" + self.dice.choice(("", "/friends")))

    def request_game(self) -> int:
        game = self.dice.randint(1, len(GAMES))
        wanted = self.dice.randint(1, GAMES[game - 1][3])
        body = {"game_id": game, "players_wanted": wanted, "message": "Who joins?"}
        return self.ask("POST", "/api/game-requests", json=body)

    def answer_request(self) -> int:
        answer = self.dice.choice(("accepted", "declined"))
        return self.ask("PATCH", f"/api/game-requests/{self.dice.randint(1, 1500)}", json={"status": answer})

    def schedule(self) -> int:
        day = f"2027-{self.dice.randint(1, 12):02}-{self.dice.randint(1, 28):02}T20:00:00+00:00"
        body = {"game_request_id": self.dice.randint(1, 1500), "starts_at": day, "duration_minutes": 60}
        return self.ask("POST", "/api/sessions", json=body)

    def befriend(self) -> int:
        return self.ask("POST", "/api/friends", json={"friend_id": self.dice.randint(1, 500)})

    def mistype(self) -> int:
        return self.login(self.password + "!")

    def slow_report(self) -> int:
        return self.ask("GET", "/api/reports/activity")

    def broken_report(self) -> int:
        return self.ask("GET", "/api/reports/revenue")

    def _send(self, method: str, path: str, **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.http.request(method, self.url + path, headers=headers, timeout=35, **options)


ACTIONS: tuple[tuple[Callable[[Player], int], float], ...] = (
    (Player.look_around, 50),
    (Player.look_at_somebody, 20),
    (Player.request_game, 12),
    (Player.answer_request, 6),
    (Player.schedule, 4),
    (Player.befriend, 4),
    (Player.mistype, 2),
    (Player.slow_report, 1),
    (Player.broken_report, 1),
)
EXPECTED = {"mistype": {401}, "broken_report": {500}}


class Tally:
    """What happened, counted by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses = collections.Counter()
        self.unexpected = 0

    def add(self, name: str, status: int | str) -> None:
        with self._lock:
            self.statuses[status] += 1
            if status not in EXPECTED.get(name, {200, 201, 204, 400, 404, 409}):
                self.unexpected += 1

    def __str__(self) -> str:
        with self._lock:
            each = ", ".join(
                f"{status}: {count}" for status, count in sorted(self.statuses.items(), key=lambda item: str(item[0]))
            )
            return f"{sum(self.statuses.values())} requests ({each}), {self.unexpected} of them unexpected"


def play(player: Player, pause: float, until: float, tally: Tally) -> None:
    """Step at an even pace; an outage is counted and waited out, never a reason to stop."""
    due = time.monotonic() + player.dice.uniform(0, pause)
    while due < until:
        time.sleep(max(0, due - time.monotonic()))
        try:
            tally.add(*player.step())
        except requests.RequestException as error:
            tally.add("outage", type(error).__name__)
        due = max(due + pause, time.monotonic())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--ca", help="file of the authority that signed the server's certificate")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second, all players together")
    parser.add_argument("--players", type=int, default=10)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0)
    length.add_argument("--forever", action="store_true")
    options = parser.parse_args()

    password = setting(os.environ, "PLAYER_PASSWORD", Path.read_text)
    tally = Tally()
    until = time.monotonic() + (float("inf") if options.forever else options.seconds)
    threads = []
    # The first one is the administrator, who does not play.
    for row in itertools.islice(players(options.players + 1), 1, None):
        dice = dice_of(f"player {row['id']}")
        player = Player(options.url.rstrip("/"), row["id"], row["email"], password, dice, options.ca)
        arguments = (player, options.players / options.rate, until, tally)
        threads.append(threading.Thread(target=play, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(timeout=min(SUMMARY_SECONDS, max(0.1, until - time.monotonic())))
        print(tally, flush=True)
    return 1 if tally.unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
