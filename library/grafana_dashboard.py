#!/usr/bin/python
# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Import dashboards from files into Grafana, and change nothing the second time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_dashboard
short_description: Grafana dashboards from files, compared before they are written
description:
  - Puts each dashboard of O(files) into O(folder), or removes it. All files are judged before the first write.
  - Numbers, versions and fields that Grafana itself adds or migrates are no difference.
  - A dashboard that somebody made or edited in Grafana is reported and kept, unless O(overwrite_hand_edits) is set.
  - Somebody who saves at the same moment is not trampled, and an answer lost in a restart is not written twice.
attributes:
  check_mode: {support: full, description: The same path without the write.}
  diff_mode: {support: full, description: The fields that the file has, as JSON.}
author: ["TovPlay platform (@tovplay)"]
options:
  url: {description: "Grafana's address, with its sub-path.", type: str, required: true}
  url_username: {description: User for basic authentication., type: str}
  url_password: {description: Its password., type: str}
  token: {description: Token of a service account instead., type: str}
  ca_path: {description: Authority behind https., type: path}
  validate_certs: {description: Whether the certificate must be valid., type: bool, default: true}
  timeout: {description: Seconds that one answer may take., type: int, default: 10}
  wait: {description: Seconds to wait in all while Grafana restarts., type: int, default: 60}
  org_id: {description: Organisation., type: int, default: 1}
  api:
    description: V(resources) is /apis (Grafana 12 and later), V(legacy) is /api; V(auto) takes the newer.
    type: str
    choices: [auto, legacy, resources]
    default: auto
  state: {description: Whether they have to be there., type: str, choices: [present, absent], default: present}
  files: {description: "Classic dashboards as JSON, each with a uid.", type: list, elements: path, default: []}
  uids: {description: Further dashboards for O(state=absent)., type: list, elements: str, default: []}
  folder:
    description: Made if it is missing; without it the dashboards go into General.
    type: dict
    suboptions:
      uid: {description: Its uid., type: str, required: true}
      title: {description: Its title., type: str, required: true}
  datasources:
    description: "From inputs (C(DS_LOKI)), uids or names in the files to the uid here."
    type: dict
    default: {}
  message: {description: For Grafana's list of versions., type: str, default: Imported by Ansible}
  overwrite_hand_edits: {description: Whether edits made in Grafana give way., type: bool, default: false}
"""

EXAMPLES = r"""
- name: dashboards | Import what this repository has
  grafana_dashboard:
    url: http://127.0.0.1:3000/logs
    url_username: admin
    url_password: "{{ vault_grafana_admin_password }}"
    files: [/etc/tovplay/grafana/dashboards/incident-analysis.json]
    folder: {uid: tovplay, title: TovPlay}
    datasources: {DS_LOKI: loki}
"""

RETURN = r"""
created: {description: Uids that were not there., returned: success, type: list, elements: str, sample: [audit-trail]}
updated: {description: Uids that were changed., returned: success, type: list, elements: str}
deleted: {description: Uids that are gone., returned: success, type: list, elements: str}
hand_edits:
  description: Dashboards that somebody made or edited in Grafana and that were kept.
  returned: success
  type: list
  elements: dict
  sample: [{uid: audit-trail, title: Audit Trail, by: admin, differences: ["$.refresh: \"5s\" instead of \"1m\""]}]
api: {description: The API in use., returned: success, type: str, sample: resources}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.grafana_client import (
    APIS,
    LEGACY,
    RESOURCES,
    Api,
    Conflict,
    GrafanaError,
    LegacyApi,
    Login,
    connect,
)
from ansible.module_utils.grafana_dashboard import (
    CREATE,
    DELETE,
    KEPT,
    UPDATE,
    Dashboard,
    DashboardError,
    Plan,
    commit_message,
    datasource_uids,
    map_datasources,
    parse,
    plan_absent,
    plan_present,
)

ARGUMENT_SPEC = {
    "url": {"type": "str", "required": True},
    "url_username": {"type": "str"},
    "url_password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 10},
    "wait": {"type": "int", "default": 60},
    "org_id": {"type": "int", "default": 1},
    "api": {"type": "str", "choices": list(APIS), "default": "auto"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "files": {"type": "list", "elements": "path", "default": []},
    "uids": {"type": "list", "elements": "str", "default": []},
    "folder": {
        "type": "dict",
        "options": {"uid": {"type": "str", "required": True}, "title": {"type": "str", "required": True}},
    },
    "datasources": {"type": "dict", "default": {}},
    "message": {"type": "str", "default": "Imported by Ansible"},
    "overwrite_hand_edits": {"type": "bool", "default": False},
}
# How often a dashboard is read again because somebody, or a restart, came in between.
ATTEMPTS = 4


def read_files(paths: list[str], mapping: dict[str, str]) -> dict[str, tuple[str, Dashboard]]:
    """Every file's dashboard by uid, with the file; all of them are good, or it ends here."""
    found: dict[str, tuple[str, Dashboard]] = {}
    titles: dict[str, str] = {}
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise DashboardError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DashboardError(f"{path}: byte {error.start} is not UTF-8") from error
        spec = map_datasources(parse(text, path), mapping, path)
        for what, key, seen in (
            ("uid", spec["uid"], {u: p for u, (p, _) in found.items()}),
            ("title", spec["title"], titles),
        ):
            if key in seen:
                raise DashboardError(f"{path}: $.{what} is {key!r}, as in {seen[key]}; give each its own")
        found[spec["uid"]] = (path, spec)
        titles[spec["title"]] = path
    return found


def check_datasources(api: Api, wanted: dict[str, tuple[str, Dashboard]], module: AnsibleModule) -> None:
    known: dict[str, bool | None] = {}
    for path, spec in wanted.values():
        for uid, where in datasource_uids(spec).items():
            if uid not in known:
                known[uid] = api.has_datasource(uid)
            if known[uid] is False:
                raise DashboardError(
                    f"{path}: {where} is {uid!r}, which Grafana does not have; create it, or map it in datasources"
                )
    if None in known.values():
        module.warn("This user may not see data sources, so it was not checked whether the dashboards' exist.")


def ensure_folder(api: Api, folder: dict[str, str], check_mode: bool) -> bool:
    """True if it had to be made. A folder that is there keeps its title: people may have renamed it."""
    for attempt in range(1, ATTEMPTS + 1):
        if api.folder_title(folder["uid"]) is not None:
            return attempt > 1
        if check_mode:
            return True
        try:
            api.make_folder(folder["uid"], folder["title"])
            return True
        except Conflict:
            if attempt == ATTEMPTS:
                raise
    return True


def settle(api: Api, uid: str, spec: Dashboard | None, folder: str, module: AnsibleModule) -> Plan:
    """Read, decide, write; once more from the start when the write met somebody else's, or a restart."""
    overwrite, done = module.params["overwrite_hand_edits"], None
    for attempt in range(1, ATTEMPTS + 1):
        live = api.read(uid)
        if spec is None:
            plan = plan_absent(uid, live, overwrite=overwrite)
        else:
            plan = plan_present(spec, folder, live, overwrite=overwrite)
        if not plan.changed or module.check_mode:
            return done if done and plan.action != KEPT else plan
        if live and live.provisioned:
            raise GrafanaError(f"dashboard {uid}: Grafana provisions it from a file of its own; remove it there first")
        try:
            if spec is None:
                api.delete(uid)
            else:
                api.write(spec, folder, commit_message(module.params["message"], spec, folder), live)
            return done or plan
        except Conflict as error:
            if attempt == ATTEMPTS:
                raise GrafanaError(f"{error}; tried {ATTEMPTS} times") from error
            done = done or plan  # it may have arrived; the next look tells
    raise AssertionError("unreachable")


def run(module: AnsibleModule) -> dict:
    params = module.params
    if params["token"] and params["url_username"]:
        raise DashboardError("Give a token or url_username with url_password, not both")
    if not params["token"] and not (params["url_username"] and params["url_password"]):
        raise DashboardError("Give a token, or url_username and url_password")
    wanted = read_files(params["files"], params["datasources"])
    login = Login(
        params["url"],
        params["url_username"],
        params["url_password"],
        params["token"],
        params["org_id"],
        params["ca_path"],
        params["validate_certs"],
        params["timeout"],
        params["wait"],
    )
    api = connect(login, params["api"])
    present = params["state"] == "present"
    folder = params["folder"] or {"uid": "", "title": ""}
    if present:
        check_datasources(api, wanted, module)
    folder_made = bool(present and params["folder"] and ensure_folder(api, folder, module.check_mode))
    uids = list(dict.fromkeys([*wanted, *([] if present else params["uids"])]))
    plans = [settle(api, uid, wanted[uid][1] if present else None, folder["uid"], module) for uid in uids]
    kept = [plan for plan in plans if plan.action == KEPT]
    for plan in kept:
        module.warn(
            f"Dashboard {plan.uid} ({plan.title}) was made or edited in Grafana"
            f"{' by ' + plan.by if plan.by else ''} and is kept: {'; '.join(plan.differences[:3])}. "
            "Take the edit into the file, or set overwrite_hand_edits."
        )
    return {
        "changed": folder_made or any(plan.changed for plan in plans),
        "created": [plan.uid for plan in plans if plan.action == CREATE],
        "updated": [plan.uid for plan in plans if plan.action == UPDATE],
        "deleted": [plan.uid for plan in plans if plan.action == DELETE],
        "hand_edits": [{"uid": p.uid, "title": p.title, "by": p.by, "differences": list(p.differences)} for p in kept],
        "api": LEGACY if isinstance(api, LegacyApi) else RESOURCES,
        "diff": [plan.diff for plan in plans if plan.changed or plan.action == KEPT],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DashboardError as error:
        module.fail_json(msg=f"{error}. Nothing was written.")
    except GrafanaError as error:
        module.fail_json(msg=f"{error}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
