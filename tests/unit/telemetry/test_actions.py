"""@audit_log, the ways to find a user, and jobs, as their lines show them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def lines(run):
    return run("actions.py")


def of(lines, message):
    return [line for line in lines if line["message"] == message]


@pytest.mark.parametrize(
    ("action", "target", "number"), [("GAME_REQUEST_CREATE", "GameRequest", 2), ("WAIT", None, 1), ("VIEW", "Page", 1)]
)
def test_an_action_is_logged_however_it_ends(lines, action, target, number):
    good, bad = of(lines, f"audit_{action}_success"), of(lines, f"audit_{action}_error")
    assert len(good) == len(bad) == number
    for line in good + bad:
        assert (line["action"], line["target_type"]) == (action, target) and line["duration_ms"] >= 0
        assert len(line["correlation_id"]) == 32 and "context" not in line
    assert all(line["status"] == "SUCCESS" and line["level"] == "INFO" and "error" not in line for line in good)
    for line in bad:
        assert (line["status"], line["level"], line["error_type"]) == ("ERROR", "ERROR", "ZeroDivisionError")
        assert "by zero" in line["error"]


def test_in_a_request_it_names_who_and_the_request(lines):
    ids = {line["correlation_id"] for line in of(lines, "request") if line["path"].startswith("/create/")}
    for action in ("GAME_REQUEST_CREATE", "VIEW"):
        found = [line for line in of(lines, f"audit_{action}_success") if line.get("route")]
        assert [(line["user_id"], line["correlation_id"] in ids) for line in found] == [(7, True)]


def test_users_are_found_where_applications_keep_them(lines):
    found = {line["path"].split("/")[-1]: (line.get("user_id"), line.get("email")) for line in of(lines, "who")[:5]}
    assert found == {
        "nobody": (None, None),
        "session": ("4", None),
        "request_loader": (5, "five@tovtech.org"),
        "jwt": ("jay", None),
        "object": (5, "five@tovtech.org"),
    }
    own, failed = of(lines, "who")[5:]
    assert (own["user_id"], own["email"]) == (99, "own@tovtech.org") and "user_id" not in failed


def test_a_job_has_its_own_id_and_the_process_has_one_beside(lines):
    (job,), (after,) = of(lines, "job"), of(lines, "after")
    assert (job["correlation_id"], job["work"], job["user_id"]) == ("0" * 32, "nightly", "cron")
    outside = [line["correlation_id"] for line in of(lines, "audit_WAIT_success")]
    assert [after["correlation_id"]] == outside and "work" not in after
