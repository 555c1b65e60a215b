"""What the sample application answers, and what it logs."""

from __future__ import annotations

import json

import pytest
from tovplay.sample_data import players


def logged(log) -> list[dict]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_health(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert "X-User-Id" not in answer.headers


def test_page_keeps_the_place_where_a_script_can_be_injected(client):
    page = client.get("/").text
    assert page.count("</head>") == 1
    assert "<button" in page


def test_the_players_page_offers_deleting_to_administrators_alone(client, password):
    assert client.get("/players").location == "/"
    for email, buttons in (("john@example.com", 0), ("admin@example.com", 20)):
        client.post("/api/login", json={"email": email, "password": password})
        page = client.get("/players?limit=20").text
        assert (page.count("data-delete="), page.count("</head>")) == (buttons, 1)


@pytest.mark.parametrize(
    ("email", "ending"),
    [("john@example.com", "!"), ("nobody@example.com", ""), ("john@example.com", "\x7f" * 100)],
    ids=["wrong password", "unknown player", "long password"],
)
def test_failed_login_is_refused_and_logged(client, log, password, email, ending):
    answer = client.post(
        "/api/login", json={"email": email, "password": password + ending}, headers={"X-Forwarded-For": "192.168.1.100"}
    )
    assert answer.status_code == 401
    (line,) = logged(log)
    assert {key: line[key] for key in ("action", "status", "email", "ip_address", "level")} == {
        "action": "AUTH_FAILED",
        "status": "AUTH_FAILED",
        "email": email,
        "ip_address": "192.168.1.100",
        "level": "WARNING",
    }


@pytest.mark.parametrize("body", [None, [], {"email": 1}, {"email": "x" * 255}, {"email": "a\x00"}], ids=str)
def test_login_refuses_bad_bodies(client, body):
    assert client.post("/api/login", json=body).status_code == 400


def test_login_by_cookie(client, password):
    assert client.get("/api/users").status_code == 401
    answer = client.post("/api/login", json={"email": "John@Example.com", "password": password})
    assert answer.headers["X-User-Id"] == "42"
    assert client.get("/api/users").headers["X-User-Id"] == "42"
    assert client.post("/api/logout").status_code == 204
    assert client.get("/api/users").status_code == 401


def test_a_forged_token_is_refused(client):
    assert client.get("/api/users", headers={"Authorization": "Bearer NDI.forged"}).status_code == 401


def test_player_lists_are_paged_within_bounds(john):
    assert [user["id"] for user in john.get("/api/users?offset=40&limit=2").json] == [41, 42]
    assert len(john.get("/api/users?limit=100000").json) == 60
    assert len(john.get("/api/users?limit=-1&offset=-5").json) == 1
    assert "email" not in john.get("/api/users/42").json
    assert john.get("/api/users/9999").status_code == 404


def test_deleting_a_player_needs_an_administrator_and_a_reason(admin, john, log):
    assert john.delete("/api/delete-user/7?reason=because").status_code == 403
    assert admin.delete("/api/delete-user/7").status_code == 400
    assert admin.delete("/api/delete-user/9999?reason=cleanup").status_code == 404
    assert john.get("/api/users/7").status_code == 200
    assert [line["action"] for line in logged(log)[-3:]] == ["FORBIDDEN", "DELETE_USER", "DELETE_USER"]


def test_deleting_a_player_takes_the_players_records_along(admin, john, log):
    mine = [entry["id"] for entry in john.get("/api/game-requests?limit=200").json if entry["requester_id"] == 42]
    friends = len(john.get("/api/users/42/friends").json)
    assert mine and friends
    answer = admin.delete("/api/delete-user/42?reason=asked for it (GDPR)")
    assert answer.status_code == 200
    assert answer.json["records_deleted"] >= 1 + len(mine) + 2 * friends
    assert answer.headers["X-User-Id"] == "1"
    left = admin.get("/api/game-requests?limit=200").json
    assert not [entry for entry in left if entry["requester_id"] == 42]
    assert john.get("/api/games").status_code == 200, "a token of a deleted player is nobody's"
    assert john.get("/api/users").status_code == 401
    attempt, success = logged(log)[-2:]
    assert (attempt["message"], attempt["action"], attempt["target_user"], attempt["action_reason"]) == (
        "delete_user_attempt",
        "DELETE_USER",
        42,
        "asked for it (GDPR)",
    )
    assert (success["message"], success["action"]) == ("delete_user_success", "DELETE_USER_COMPLETE")
    assert success["records_deleted"] == answer.json["records_deleted"]


def test_an_administrator_who_deletes_herself_is_still_named(admin):
    assert admin.delete("/api/delete-user/1?reason=leaving").headers["X-User-Id"] == "1"


def test_game_requests(john, admin):
    body = {"game_id": 3, "players_wanted": 2, "message": "שחמט?"}
    created = john.post("/api/game-requests", json=body)
    assert (created.status_code, created.json["status"], created.json["requester_id"]) == (201, "open", 42)
    path = f"/api/game-requests/{created.json['id']}"
    assert john.patch(path, json={"status": "accepted"}).status_code == 409, "nobody accepts their own request"
    assert admin.patch(path, json={"status": "accepted"}).json["status"] == "accepted"
    assert admin.patch(path, json={"status": "declined"}).status_code == 409
    assert john.post("/api/game-requests", json=body | {"players_wanted": 3}).status_code == 400
    assert john.post("/api/game-requests", json=body | {"game_id": 999}).status_code == 404


def test_sessions(john, admin, login):
    request_id = john.post("/api/game-requests", json={"game_id": 3, "players_wanted": 1}).json["id"]
    body = {"game_request_id": request_id, "starts_at": "2027-01-01T20:00:00", "duration_minutes": 60}
    created = john.post("/api/sessions", json=body)
    assert (created.status_code, created.json["host_id"]) == (201, 42)
    path = f"/api/sessions/{created.json['id']}"
    assert login(list(players(2))[1]["email"]).delete(path).status_code == 403
    assert admin.delete(path).status_code == 204
    assert john.post("/api/sessions", json=body | {"starts_at": "soon"}).status_code == 400
    assert john.post("/api/sessions", json=body | {"duration_minutes": 5}).status_code == 400


def test_friends(john):
    known = {friend["id"] for friend in john.get("/api/users/42/friends").json}
    stranger = next(number for number in range(2, 60) if number not in known | {42})
    assert john.post("/api/friends", json={"friend_id": stranger}).status_code == 201
    assert john.post("/api/friends", json={"friend_id": stranger}).status_code == 409
    assert john.post("/api/friends", json={"friend_id": 42}).status_code == 400
    assert john.post("/api/friends", json={"friend_id": 9999}).status_code == 409
    assert john.delete(f"/api/friends/{stranger}").status_code == 204
    assert john.delete(f"/api/friends/{stranger}").status_code == 404


def test_the_slow_report(john):
    assert set(john.get("/api/reports/activity?seconds=0").json) == {"requests", "sessions"}


def test_the_broken_report_is_logged_and_tells_the_client_nothing(john, log):
    answer = john.get("/api/reports/revenue")
    assert (answer.status_code, answer.json) == (500, {"error": "Internal Server Error"})
    line = logged(log)[-1]
    assert (line["level"], line["error_type"]) == ("ERROR", "ZeroDivisionError")
    assert "Traceback" in line["exc_info"]
    assert answer.headers["X-User-Id"] == "42"


def test_a_hostile_name_makes_one_log_line(client, log):
    client.post("/api/login", json={"email": 'a"\r\n{"action":"LOGIN"}\u0085\u2028', "password": ""})
    assert log.getvalue().count("\n") == 1
