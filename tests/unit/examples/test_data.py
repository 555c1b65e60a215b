"""Settings, made-up rows and the traffic generator."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
from tovplay.config import MissingSettingError, from_environment
from tovplay.sample_data import dice_of, players, tables
from tovplay.traffic import ACTIONS, Player, Tally


def test_settings_come_from_the_environment_or_from_files(tmp_path):
    (tmp_path / "key").write_text("from a file\n")
    environment = {
        "DATABASE_URL": "postgresql://raz%40tovtech.org:x@h:6432/TovPlay",
        "SECRET_KEY_FILE": f"{tmp_path}/key",
    }
    settings = from_environment(environment, Path.read_text)
    assert settings["SQLALCHEMY_DATABASE_URI"] == environment["DATABASE_URL"]
    assert settings["SECRET_KEY"].split() == ["from", "a", "file"]


def test_a_missing_setting_is_named():
    with pytest.raises(MissingSettingError, match="set SECRET_KEY or SECRET_KEY_FILE"):
        from_environment({"DATABASE_URL": "sqlite://", "SECRET_KEY": ""}, Path.read_text)


def test_rows_are_the_same_every_time():
    assert tables(50) == tables(50)
    assert list(players(50))[:10] == list(players(10))


def test_rows_are_thousands_and_consistent():
    rows = tables(2000)
    assert sum(map(len, rows.values())) > 15_000
    ids = {name: {row["id"] for row in rows[name]} for name in rows if name != "UserFriends"}
    assert len({user["email"] for user in rows["User"]}) == len({user["username"] for user in rows["User"]}) == 2000
    assert {entry["requester_id"] for entry in rows["GameRequest"]} <= ids["User"]
    assert {entry["game_id"] for entry in rows["GameRequest"]} <= ids["Game"]
    assert {entry["game_request_id"] for entry in rows["ScheduledSession"]} <= ids["GameRequest"]
    pairs = {(row["user_id"], row["friend_id"]) for row in rows["UserFriends"]}
    assert len(pairs) == len(rows["UserFriends"]) and all((b, a) in pairs for a, b in pairs)
    assert any(entry["requester_id"] == 42 for entry in rows["GameRequest"])


class ViaTestClient(Player):
    """A player of the traffic generator whose browser is Flask's test client."""

    def __init__(self, client, row, password, dice):
        super().__init__("", row["id"], row["email"], password, dice, None)
        self.client = client

    def _send(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self.client.open(path, method=method, headers=headers, **options)
        return SimpleNamespace(status_code=answer.status_code, json=answer.get_json)


@pytest.mark.parametrize("action", [action for action, _ in ACTIONS], ids=lambda action: action.__name__)
def test_every_action_of_the_traffic_generator_is_answered_as_expected(app, password, action):
    tally = Tally()
    row = next(itertools.islice(players(9), 8, None))
    player = ViaTestClient(app.test_client(use_cookies=False), row, password, dice_of("test"))
    assert player.step() == ("login", 200)
    for _ in range(5):
        tally.add(action.__name__, action(player))
    assert tally.unexpected == 0, str(tally)


def test_an_unexpected_answer_is_counted():
    tally = Tally()
    tally.add("request_game", 500)
    tally.add("broken_report", 500)
    tally.add("outage", "ConnectionError")
    assert tally.unexpected == 2
    assert str(tally) == "3 requests (500: 2, ConnectionError: 1), 2 of them unexpected"
