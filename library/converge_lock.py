#!/usr/bin/python
# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""One converge of a host at a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: converge_lock
short_description: Take or give back the lock that keeps two converges off one host
description:
  - The lock is a file on the host that names its holder. It lives below /run, so a reboot frees it.
  - Never reports a change, because the lock is not part of the host's configuration. Does nothing in check mode.
author: ["TovPlay platform (@tovplay)"]
options:
  state: {description: Take it or give it back., type: str, choices: [present, absent], default: present}
  path: {description: The lock file., type: path, default: /run/tovplay/converge.lock}
  owner:
    description: Who asks, with the keys controller, pid, started and since.
    type: dict
    required: true
  steal_from:
    description: Holder that the caller knows to be gone; a lock of anybody else stays.
    type: dict
"""

EXAMPLES = r"""
- name: Take the lock
  converge_lock:
    owner: {controller: deploy-1, pid: 4711, started: "98211", since: "2026-01-31T12:00:00Z"}
  register: lock
"""

RETURN = r"""
acquired: {description: Whether the lock is the caller's now., returned: state is present, type: bool}
holder: {description: Who holds it., returned: always, type: dict}
"""

import json
import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def read_holder(path: Path) -> dict:
    """The holder, or {} without a lock. A file that a crash left half written names nobody who could still be there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def same(one: dict, other: dict) -> bool:
    return all(str(one.get(key)) == str(other.get(key)) for key in ("controller", "pid", "started"))


def take(path: Path, owner: dict) -> bool:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Written aside and linked: the lock appears whole or not at all, and link() refuses when there is one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(owner, stream)
        os.link(draft, path)
        return True
    except FileExistsError:
        return False
    finally:
        draft.unlink()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path", "default": "/run/tovplay/converge.lock"},
            "owner": {"type": "dict", "required": True},
            "steal_from": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    path, owner, gone = Path(module.params["path"]), module.params["owner"], module.params["steal_from"]
    holder = read_holder(path)
    if module.check_mode:
        module.exit_json(changed=False, acquired=True, holder=holder)
    if module.params["state"] == "absent":
        if same(holder, owner):
            path.unlink()
        module.exit_json(changed=False, holder=holder)
    if gone is not None and same(holder, gone):
        path.unlink(missing_ok=True)
    acquired = take(path, owner) or same(read_holder(path), owner)
    module.exit_json(changed=False, acquired=acquired, holder=owner if acquired else read_holder(path))


if __name__ == "__main__":
    main()
