"""Record which tasks changed something, so that check mode's promise can be compared with what a converge did."""

from __future__ import annotations

DOCUMENTATION = """
name: change_record
type: notification
short_description: Append each changed task to a file, one JSON object a line
description:
  - Does nothing unless the environment variable TOVPLAY_CHANGE_RECORD names a file.
  - In check mode what a task says is recorded too, since some changes a bare host can only be told in words.
requirements: []
options: {}
"""

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """One line a task: host, role, task, action, check; paths, packages, units (lists of names); said (text)."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "change_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        record = os.environ.get("TOVPLAY_CHANGE_RECORD")
        self._path = Path(record) if record else None

    @staticmethod
    def _paths(outcome: dict) -> list[str]:
        """Files that a task says it changed: our own module lists them, most others name one."""
        one = outcome.get("dest") or outcome.get("path") or outcome.get("filename")
        return outcome.get("changed_paths") or ([one] if isinstance(one, str) else [])

    @staticmethod
    def _packages(task, outcome: dict) -> list[str]:
        """What a task of the package manager asked for; at least one of them was missing."""
        if task.action not in ("ansible.builtin.apt", "apt"):
            return []
        wanted = outcome.get("invocation", {}).get("module_args", {}).get("package") or []
        return [wanted] if isinstance(wanted, str) else list(wanted)

    @staticmethod
    def _units(task, outcome: dict) -> list[str]:
        """What a task of systemd started, stopped or enabled."""
        if task.action != "ansible.builtin.systemd_service":
            return []
        return [one["name"] for one in outcome.get("results", [outcome]) if one.get("changed")]

    @staticmethod
    def _said(task, outcome: dict) -> str:
        return str(outcome.get("msg", "")) if task.check_mode and task.action == "ansible.builtin.debug" else ""

    def v2_runner_on_ok(self, result) -> None:
        if self._path is None:
            return
        said = self._said(result._task, result._result)
        if not (said or result.is_changed()):
            return
        task = result._task
        row = {
            "host": result._host.get_name(),
            "role": task._role.get_name() if task._role else None,
            "task": task.get_name(),
            "action": task.action,
            "check": task.check_mode,
            "paths": self._paths(result._result),
            "packages": self._packages(task, result._result),
            "units": self._units(task, result._result),
            "said": said,
        }
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
