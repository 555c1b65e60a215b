#!/usr/bin/python
# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Place a daemon's configuration files together, after the daemon's own parser has accepted them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Place a set of configuration files, validated as a whole
description:
  - Stages the directory as it would become, lets the daemon's own parser judge the staged tree, and only then moves
    each changed file into place. A refused tree leaves the old one untouched.
  - With O(applied_marker) a change that was never applied (the converge was killed before the handler ran) is
    reported as changed again, so that the handler gets its second chance.
author: ["TovPlay platform (@tovplay)"]
options:
  root:
    description: Directory of the files; created when missing.
    type: path
    required: true
  root_mode:
    description: Octal mode of O(root).
    type: str
    default: "0755"
  manage_root:
    description: Whether owner, group and mode of O(root) are ours. Set to false for a directory of the distribution.
    type: bool
    default: true
  owner:
    description: Default owner, a name or a number.
    type: str
    default: root
  group:
    description: Default group, a name or a number.
    type: str
    default: root
  mode:
    description: Default octal mode of files.
    type: str
    default: "0644"
  files:
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Relative to O(root) or absolute., type: str, required: true}
      content: {description: The whole content., type: str, required: true}
      owner: {description: Overrides O(owner)., type: str}
      group: {description: Overrides O(group)., type: str}
      mode: {description: Overrides O(mode)., type: str}
      merge_json: {description: Lay this JSON object over the one in the file., type: bool, default: false}
      secret: {description: Keep the content out of diffs, logs and messages., type: bool, default: false}
  directories:
    description: Further directories to create.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Overrides O(owner)., type: str}
      group: {description: Overrides O(group)., type: str}
      mode: {description: Octal mode., type: str, default: "0755"}
  absent:
    description: Files, relative to O(root) or absolute, that must not be there.
    type: list
    elements: str
    default: []
  validate:
    description: Command judging the staged tree; C({stage}) stands for its directory. Exit code 0 accepts.
    type: list
    elements: str
  validate_over_root:
    description: Run O(validate) in a private mount namespace in which the staged tree lies over O(root).
    type: bool
    default: false
  validate_probe:
    description: In check mode O(validate) is left out, with a warning, when this command fails or is not installed.
    type: list
    elements: str
  applied_marker:
    description: File that the handler writes once the running daemon uses these files.
    type: path
"""

EXAMPLES = r"""
- name: config | Place nginx's files
  config_files:
    root: /etc/nginx
    manage_root: false
    files:
      - path: conf.d/site.conf
        content: "{{ lookup('ansible.builtin.template', 'site.conf.j2') }}"
    validate: [nginx, -t]
    validate_over_root: true
    applied_marker: /var/lib/tovplay/applied/nginx
  notify: Reload nginx
"""

RETURN = r"""
changed_paths:
  description: What differed, in order of the input.
  returned: always
  type: list
  elements: str
  sample: [/etc/nginx/conf.d/site.conf]
pending:
  description: Whether an earlier change still waits for its handler.
  returned: always
  type: bool
"""

import grp
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.config_tree import (
    ConfigTreeError,
    Wanted,
    WantedDirectory,
    directory_differs,
    file_diff,
    file_differs,
    merge_json,
    parse_mode,
    refuse_duplicates,
    resolve,
)

ARGUMENT_SPEC = {
    "root": {"type": "path", "required": True},
    "root_mode": {"type": "str", "default": "0755"},
    "manage_root": {"type": "bool", "default": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str"},
            "merge_json": {"type": "bool", "default": False},
            "secret": {"type": "bool", "default": False, "no_log": False},
        },
    },
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str", "default": "0755"},
        },
    },
    "absent": {"type": "list", "elements": "str", "default": []},
    "validate": {"type": "list", "elements": "str"},
    "validate_over_root": {"type": "bool", "default": False},
    "validate_probe": {"type": "list", "elements": "str"},
    "applied_marker": {"type": "path"},
}

# A mount namespace of its own: the staged tree lies over the real one for the validator, and for nobody else.
OVER_ROOT = ["unshare", "--mount", "--propagation", "private"]
OVER_ROOT += ["sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"']

# Lines shorter than this are punctuation and keywords; hiding them would garble every message.
SHORTEST_SECRET_LINE = 6


class ConfigFilesModule(AnsibleModule):
    def _log_invocation(self) -> None:
        """Say in the host's journal that it ran, without the files' contents: the journal travels, secrets must not."""
        self.log(f"Invoked for {self.params['root']}: {', '.join(f['path'] for f in self.params['files'])}")


def account_id(module: AnsibleModule, kind: str, name: str) -> int | None:
    """Number of a user or group; None in check mode when a task before us would have created it."""
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        if module.check_mode:
            return None
        raise ConfigTreeError(
            f"There is no {kind} {name!r} on this host; run the role that creates it first."
        ) from None


def wanted_state(module: AnsibleModule) -> tuple[list[WantedDirectory], list[Wanted], list[Path]]:
    params, root = module.params, Path(module.params["root"])

    def ids(entry: dict) -> tuple[int | None, int | None]:
        return (
            account_id(module, "user", entry.get("owner") or params["owner"]),
            account_id(module, "group", entry.get("group") or params["group"]),
        )

    def content(entry: dict, path: Path) -> bytes:
        return merge_json(path, entry["content"]) if entry["merge_json"] else entry["content"].encode()

    directories = [WantedDirectory(Path(d["path"]), parse_mode(d["mode"]), *ids(d)) for d in params["directories"]]
    if params["manage_root"]:
        directories.insert(0, WantedDirectory(root, parse_mode(params["root_mode"]), *ids({})))
    files = [
        Wanted(
            resolve(root, f["path"]),
            content(f, resolve(root, f["path"])),
            parse_mode(f["mode"] or params["mode"]),
            *ids(f),
            f["secret"],
        )
        for f in params["files"]
    ]
    absent = [resolve(root, path) for path in params["absent"]]
    refuse_duplicates([*(f.path for f in files), *absent])
    return directories, files, absent


def put(wanted: Wanted, target: Path) -> None:
    """Write one file so that a reader sees the old content or the new one, never a part."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(wanted.content)
            stream.flush()
            os.fsync(stream.fileno())
        if wanted.uid is not None and wanted.gid is not None:
            os.chown(temporary, wanted.uid, wanted.gid)
        temporary.chmod(wanted.mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink()
        raise


def stage(root: Path, stage_root: Path, files: list[Wanted], absent: list[Path]) -> None:
    """Copy the directory as it is and apply the change to the copy."""
    if root.is_dir():
        shutil.copytree(root, stage_root, symlinks=True, dirs_exist_ok=True)
        for source in [root, *root.rglob("*")]:
            info, copied = source.lstat(), stage_root / source.relative_to(root)
            os.chown(copied, info.st_uid, info.st_gid, follow_symlinks=False)
    else:
        stage_root.mkdir(mode=0o755)
    for wanted in files:
        if root in wanted.path.parents:
            put(wanted, stage_root / wanted.path.relative_to(root))
    for path in absent:
        if root in path.parents:
            (stage_root / path.relative_to(root)).unlink(missing_ok=True)


def validate(module: AnsibleModule, root: Path, files: list[Wanted], absent: list[Path]) -> None:
    probe, command = module.params["validate_probe"], module.params["validate"]
    if module.check_mode:
        needed = (probe or command)[0]
        if module.get_bin_path(needed) is None or (probe and module.run_command(probe)[0] != 0):
            module.warn(
                f"{root} was not validated: {' '.join(probe or [needed])} is not there before the first converge."
            )
            return
    with tempfile.TemporaryDirectory(prefix="tovplay-stage-") as workspace:
        stage_root = Path(workspace) / "stage"
        stage(root, stage_root, files, absent)
        argv = [word.replace("{stage}", str(stage_root)) for word in command]
        if module.params["validate_over_root"]:
            if not root.is_dir():
                module.warn(f"{root} was not validated: it does not exist before the first converge.")
                return
            argv = [*OVER_ROOT, str(stage_root), str(root), *argv]
        code, out, err = module.run_command(argv)
        if code != 0:
            said = (err.strip() or out.strip())[-2000:].replace(str(stage_root), str(root))
            module.fail_json(
                msg=f"{command[0]} refused the new {root}; the old files are untouched. It said: {said}", rc=code
            )


def main() -> None:
    module = ConfigFilesModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    for entry in module.params["files"]:
        if entry["secret"]:
            module.no_log_values.add(entry["content"])
            module.no_log_values.update(x for x in entry["content"].splitlines() if len(x) >= SHORTEST_SECRET_LINE)
    try:
        directories, files, absent = wanted_state(module)
    except ConfigTreeError as error:
        module.fail_json(msg=str(error))

    new_directories = [d for d in directories if directory_differs(d)]
    new_files = [f for f in files if file_differs(f)]
    gone = [path for path in absent if path.exists() or path.is_symlink()]
    marker = Path(module.params["applied_marker"]) if module.params["applied_marker"] else None
    pending = bool(marker) and not marker.exists()
    diff = [file_diff(f) for f in new_files]
    diff += [
        {"before_header": str(p), "after_header": str(p), "before": "present\n", "after": "absent\n"} for p in gone
    ]

    if (new_files or gone) and module.params["validate"]:
        validate(module, Path(module.params["root"]), files, absent)
    if not module.check_mode:
        if marker and (new_files or gone):
            marker.unlink(missing_ok=True)
        for directory in new_directories:
            directory.path.mkdir(parents=True, exist_ok=True)
            os.chown(directory.path, directory.uid, directory.gid)
            directory.path.chmod(directory.mode)
        for wanted in new_files:
            put(wanted, wanted.path)
        for path in gone:
            path.unlink()

    changed_paths = [str(x.path) for x in [*new_directories, *new_files]] + [str(p) for p in gone]
    module.exit_json(changed=bool(changed_paths) or pending, changed_paths=changed_paths, pending=pending, diff=diff)


if __name__ == "__main__":
    main()
