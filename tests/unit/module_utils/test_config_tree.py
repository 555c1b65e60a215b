"""config_tree decides; these tables hold its decisions."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.config_tree import (
    ConfigTreeError,
    Wanted,
    file_diff,
    file_differs,
    merge_json,
    parse_mode,
    refuse_duplicates,
    resolve,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("a.conf", "ROOT/a.conf", id="relative"),
        pytest.param("conf.d/a.conf", "ROOT/conf.d/a.conf", id="nested"),
        pytest.param("/etc/other", "/etc/other", id="absolute"),
    ],
)
def test_paths_resolve(tmp_path, path, expected):
    assert str(resolve(tmp_path, path)) == expected.replace("ROOT", str(tmp_path))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "", "dir/"])
def test_paths_that_leave_the_root_or_name_no_file_are_refused(tmp_path, path):
    with pytest.raises(ConfigTreeError):
        resolve(tmp_path, path)


@pytest.mark.parametrize(("mode", "value"), [("0640", 0o640), ("755", 0o755), ("0", 0)])
def test_octal_modes(mode, value):
    assert parse_mode(mode) == value


@pytest.mark.parametrize("mode", ["u+x", "0999", "77777", ""])
def test_other_modes_are_refused(mode):
    with pytest.raises(ConfigTreeError, match="mode"):
        parse_mode(mode)


def test_the_same_path_twice_is_refused(tmp_path):
    with pytest.raises(ConfigTreeError, match="listed twice"):
        refuse_duplicates([tmp_path / "a", tmp_path / "a"])


@pytest.mark.parametrize(
    ("existing", "ours", "expected"),
    [
        pytest.param(None, '{"a": 1}', {"a": 1}, id="no-file"),
        pytest.param("", '{"a": 1}', {"a": 1}, id="empty-file"),
        pytest.param('{"b": 2}', '{"a": 1}', {"a": 1, "b": 2}, id="foreign-key-stays"),
        pytest.param('{"a": {"x": 1, "y": 2}}', '{"a": {"x": 3}}', {"a": {"x": 3, "y": 2}}, id="nested"),
        pytest.param('{"a": [1, 2]}', '{"a": [3]}', {"a": [3]}, id="lists-are-replaced"),
    ],
)
def test_json_is_merged(tmp_path, existing, ours, expected):
    path = tmp_path / "daemon.json"
    if existing is not None:
        path.write_text(existing)
    assert json.loads(merge_json(path, ours)) == expected


def test_a_file_that_says_it_all_is_left_byte_for_byte(tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text('{ "a":1,\t"b":2}')
    assert merge_json(path, '{"a": 1}') == path.read_bytes()


@pytest.mark.parametrize("broken", ['{"a": 1,}', "[1]"])
def test_a_broken_file_is_refused_by_name(tmp_path, broken):
    path = tmp_path / "daemon.json"
    path.write_text(broken)
    with pytest.raises(ConfigTreeError, match=r"daemon\.json"):
        merge_json(path, '{"a": 1}')


def _wanted(path, content=b"x\n", mode=0o644, secret=False):
    return Wanted(path, content, mode, os.getuid(), os.getgid(), secret)


def test_content_mode_and_kind_make_a_difference(tmp_path):
    path = tmp_path / "f"
    assert file_differs(_wanted(path))
    path.write_text("x\n")
    path.chmod(0o644)
    assert not file_differs(_wanted(path))
    assert file_differs(_wanted(path, b"y\n"))
    assert file_differs(_wanted(path, mode=0o600))
    link = tmp_path / "link"
    link.symlink_to(path)
    assert file_differs(_wanted(link)), "a symbolic link is replaced, not followed"


def test_the_diff_of_a_secret_shows_neither_side(tmp_path):
    path = tmp_path / "f"
    path.write_text("old-secret")
    diff = file_diff(_wanted(path, b"new-secret", secret=True))
    assert "old-secret" not in str(diff)
    assert "new-secret" not in str(diff)
    assert diff["before"] != diff["after"]
