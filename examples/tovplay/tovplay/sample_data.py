"""Believable rows, the same on every machine: `tables()` is pure, `tovplay.seed` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from faker import Faker

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LOCALES = {"US": "en_US", "GB": "en_GB", "DE": "de_DE", "FR": "fr_FR", "ES": "es_ES", "PL": "pl_PL", "IL": "he_IL"}
# Players that documentation and tests call by name.
KNOWN = {1: ("admin@example.com", "admin", True), 42: ("john@example.com", "john", False)}
GAMES = (
    ("Battle of the Nile", "strategy", 2, 8, 2019),
    ("Castle Siege Online", "strategy", 2, 12, 2021),
    ("Chess Club", "board", 2, 2, 2012),
    ("City Builders", "simulation", 1, 4, 2018),
    ("Deep Sea Divers", "adventure", 1, 4, 2020),
    ("Dragon Alley", "role-playing", 1, 6, 2022),
    ("Dune Racers", "racing", 1, 10, 2017),
    ("Farm and Friends", "simulation", 1, 4, 2016),
    ("Five A Side", "sport", 2, 10, 2023),
    ("Galaxy Traders", "strategy", 2, 6, 2015),
    ("Ghost Ship", "horror", 1, 4, 2021),
    ("Harbour Lights", "puzzle", 1, 2, 2014),
    ("Ice Hockey Heroes", "sport", 2, 12, 2020),
    ("Jungle Drums", "music", 1, 4, 2013),
    ("King of the Court", "sport", 2, 6, 2024),
    ("Labyrinth Run", "puzzle", 1, 1, 2011),
    ("Mars Colony", "simulation", 1, 5, 2022),
    ("Midnight Heist", "shooter", 2, 4, 2023),
    ("Night Watch", "shooter", 2, 16, 2019),
    ("Orbital Mechanics", "puzzle", 1, 2, 2018),
    ("Pirates of Acre", "adventure", 1, 8, 2016),
    ("Rally Galilee", "racing", 1, 8, 2021),
    ("Settlers of the Valley", "board", 3, 6, 2010),
    ("Silent Forest", "horror", 1, 2, 2024),
    ("Sky Islands", "adventure", 1, 4, 2020),
    ("Street Chess", "board", 2, 2, 2017),
    ("Tower of Words", "puzzle", 1, 4, 2015),
    ("Tribes at Dawn", "role-playing", 1, 40, 2018),
    ("Underground Orchestra", "music", 1, 6, 2022),
    ("Warlords", "strategy", 2, 8, 2014),
)
MESSAGES = (
    "Anyone up for a round tonight?",
    "Looking for a calm group, no shouting please.",
    "Beginner here, be patient with me :)",
    "Ranked match, voice chat needed",
    "מחפש שותפים למשחק בערב",
    "Weekend tournament, we need one more",
    "Short session before work",
    "Returning after a year away, who remembers me?",
    "",
)


def players(count: int) -> Iterator[dict]:
    """The first `count` players; a longer list begins with the shorter one."""
    fakers = {country: Faker(locale) for country, locale in LOCALES.items()}
    for country, faker in fakers.items():
        faker.seed_instance(f"tovplay {country}")
    dice = dice_of("players")
    for player in range(1, count + 1):
        country = dice.choice(tuple(LOCALES))
        nick = fakers["GB"].user_name()
        email, username, admin = KNOWN.get(player, (f"{nick}_{player}@example.org", f"{nick}_{player}", False))
        created = NOW - timedelta(days=dice.uniform(2, 900))
        yield {
            "id": player,
            "email": email,
            "username": username,
            "display_name": fakers[country].name(),
            "country": country,
            "is_admin": admin,
            "created_at": created,
            "last_login_at": NOW - timedelta(hours=dice.expovariate(1 / 200)) if dice.random() < 0.8 else None,
        }


def tables(player_count: int) -> dict[str, list[dict]]:
    """All rows by table, parents first; every player has on average three requests and two friends."""
    dice = dice_of("tables")
    users = list(players(player_count))
    games = [
        dict(zip(("title", "genre", "min_players", "max_players", "released"), game, strict=True), id=number)
        for number, game in enumerate(GAMES, start=1)
    ]
    requests = [_request(dice, number, player_count) for number in range(1, 3 * player_count + 1)]
    sessions = []
    for entry in requests:
        if entry["status"] == "accepted":
            sessions.append(_session(dice, len(sessions) + 1, entry))
    return {
        "User": users,
        "Game": games,
        "GameRequest": requests,
        "ScheduledSession": sessions,
        "UserFriends": _friendships(dice, player_count),
    }


def dice_of(name: str) -> Random:
    """Faker's own random numbers: the same ones for the same name, on every machine."""
    faker = Faker()
    faker.seed_instance(f"tovplay {name}")
    return faker.random


def _request(dice: Random, number: int, player_count: int) -> dict:
    # Few games are asked for often and most of them rarely, as everywhere.
    game = min(int(dice.paretovariate(0.8)), len(GAMES))
    return {
        "id": number,
        "game_id": game,
        "requester_id": dice.randint(1, player_count),
        "players_wanted": dice.randint(1, max(1, GAMES[game - 1][3] - 1)),
        "message": dice.choice(MESSAGES),
        "status": dice.choices(("open", "accepted", "declined", "cancelled"), (20, 55, 15, 10))[0],
        "created_at": NOW - timedelta(days=dice.uniform(0, 400)),
    }


def _session(dice: Random, number: int, entry: dict) -> dict:
    return {
        "id": number,
        "game_request_id": entry["id"],
        "host_id": entry["requester_id"],
        "starts_at": _full_hour(entry["created_at"] + timedelta(days=dice.uniform(0, 14))),
        "duration_minutes": dice.choice((30, 45, 60, 90, 120, 180)),
        "cancelled": dice.random() < 0.07,
    }


def _full_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _friendships(dice: Random, player_count: int) -> list[dict]:
    pairs = set()
    while len(pairs) < player_count:
        first, second = dice.randint(1, player_count), dice.randint(1, player_count)
        if first != second:
            pairs.add((min(first, second), max(first, second)))
    rows = []
    for first, second in sorted(pairs):
        since = NOW - timedelta(days=dice.uniform(0, 300))
        rows += [
            {"user_id": first, "friend_id": second, "since": since},
            {"user_id": second, "friend_id": first, "since": since},
        ]
    return rows
