"""The lock, taken and given back through the real module code."""

from __future__ import annotations

import threading

import pytest

from library import converge_lock

ME = {"controller": "a", "pid": 1, "started": "10", "since": "2026-01-01T00:00:00Z"}
OTHER = {"controller": "b", "pid": 2, "started": "20", "since": "2026-01-01T00:00:00Z"}


def test_the_second_one_is_refused(tmp_path):
    lock = tmp_path / "run" / "lock"
    assert converge_lock.take(lock, ME)
    assert not converge_lock.take(lock, OTHER)
    assert converge_lock.read_holder(lock) == ME


def test_of_many_at_once_one_wins(tmp_path):
    lock, won = tmp_path / "lock", []
    threads = [
        threading.Thread(target=lambda n=n: won.append(n) if converge_lock.take(lock, {**ME, "pid": n}) else None)
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert converge_lock.read_holder(lock)["pid"] == won[0]


@pytest.mark.parametrize("content", ["", "{", '{"controller": "a"'])
def test_a_half_written_lock_names_nobody(tmp_path, content):
    lock = tmp_path / "lock"
    lock.write_text(content)
    assert converge_lock.read_holder(lock) == {}


def test_numbers_and_their_texts_are_the_same_holder():
    assert converge_lock.same(ME, {**ME, "pid": "1", "since": "later"})
    assert not converge_lock.same(ME, {**ME, "pid": 3})
