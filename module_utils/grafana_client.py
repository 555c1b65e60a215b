# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Grafana's HTTP APIs for dashboards and folders, old (/api) and new (/apis), behind one interface.

https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
import urllib.error
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from ansible.module_utils.grafana_dashboard import Dashboard, Live
from ansible.module_utils.urls import open_url

LEGACY, RESOURCES, AUTO = "legacy", "resources", "auto"
APIS = (AUTO, LEGACY, RESOURCES)

_DASHBOARDS, _FOLDERS = "dashboard.grafana.app", "folder.grafana.app"
# Both carry classic dashboards; v2 is another schema. v1 since Grafana 13, v1beta1 in 12.
_VERSIONS = ("v1", "v1beta1")
_RESTARTING = {429, 502, 503, 504}


class GrafanaError(Exception):
    """An answer that ends the work; one sentence without headers or secrets."""


class Conflict(GrafanaError):
    """Somebody wrote in between, or an answer was lost: read again and decide anew."""


@dataclasses.dataclass(frozen=True, repr=False)
class Login:
    url: str
    username: str | None = None
    password: str | None = None
    token: str | None = None
    org_id: int = 1
    ca_path: str | None = None
    validate_certs: bool = True
    timeout: int = 10
    wait: int = 60


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def message(self) -> str:
        text = self.body.get("message") if isinstance(self.body, dict) else None
        return " ".join(str(text or "no reason given").split())[:300]


class Connection:
    """One request after the other; waits up to `wait` seconds in all while Grafana restarts."""

    def __init__(self, login: Login, sleep: Callable[[float], None] = time.sleep) -> None:
        self.login = login
        self._sleep = sleep
        self._deadline = time.monotonic() + login.wait

    def get(self, path: str, **query: str) -> Answer:
        full = f"{path}?{urlencode(query)}" if query else path
        while True:
            try:
                answer = self._send("GET", full, None)
            except OSError as error:
                self._wait(f"does not answer: {_reason(error)}")
                continue
            if answer.status not in _RESTARTING:
                return answer
            self._wait(f"answers {answer.status}: {answer.message}")

    def write(self, method: str, path: str, body: Any = None) -> Answer:
        """Never sent twice: whether a lost one arrived, only reading again can tell."""
        try:
            answer = self._send(method, path, body)
        except OSError as error:
            self._wait(f"does not answer: {_reason(error)}")
            raise Conflict(f"Grafana at {self.login.url} went away during {method} {path}") from error
        if answer.status in _RESTARTING:
            self._wait(f"answers {answer.status}: {answer.message}")
            raise Conflict(f"Grafana at {self.login.url} answered {answer.status} to {method} {path}")
        return answer

    def _wait(self, why: str) -> None:
        if time.monotonic() >= self._deadline:
            raise GrafanaError(f"Grafana at {self.login.url} {why}; waited {self.login.wait} s for it")
        self._sleep(min(1.0, max(0.05, self.login.wait / 20)))

    def _send(self, method: str, path: str, body: Any) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers["X-Grafana-Org-Id"] = str(self.login.org_id)
        if self.login.token:
            headers["Authorization"] = f"Bearer {self.login.token}"
        try:
            response = open_url(
                self.login.url.rstrip("/") + path,
                data=None if body is None else json.dumps(body, allow_nan=False).encode(),
                headers=headers,
                method=method,
                timeout=self.login.timeout,
                url_username=None if self.login.token else self.login.username,
                url_password=None if self.login.token else self.login.password,
                force_basic_auth=not self.login.token,
                validate_certs=self.login.validate_certs,
                ca_path=self.login.ca_path,
                follow_redirects="none",
            )
            return Answer(response.status, _decoded(response.read()))
        except urllib.error.HTTPError as error:
            answer = Answer(error.code, _decoded(error.read()))
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        if answer.status == 401:
            who = "the token" if self.login.token else f"user {self.login.username!r} and its password"
            raise GrafanaError(f"Grafana at {self.login.url} does not accept {who} (401)")
        if 300 <= answer.status < 400:
            raise GrafanaError(f"Grafana at {self.login.url} redirects {path}; give the url with its sub-path")
        return answer


class Api:
    """Dashboards and folders of one organisation."""

    def __init__(self, connection: Connection) -> None:
        self.http = connection

    def read(self, uid: str) -> Live | None:
        raise NotImplementedError

    def write(self, spec: Dashboard, folder: str, message: str, live: Live | None) -> None:
        raise NotImplementedError

    def delete(self, uid: str) -> None:
        raise NotImplementedError

    def folder_title(self, uid: str) -> str | None:
        raise NotImplementedError

    def make_folder(self, uid: str, title: str) -> None:
        raise NotImplementedError

    def has_datasource(self, uid: str) -> bool | None:
        """None: this user may not ask."""
        answer = self.http.get(f"/api/datasources/uid/{quote(uid, safe='')}")
        if answer.status in (200, 404):
            return answer.status == 200
        if answer.status == 403:
            return None
        raise _refused(answer, f"data source {uid}")


class LegacyApi(Api):
    """/api/dashboards and /api/folders: deprecated in 13, still on."""

    def read(self, uid: str) -> Live | None:
        path = f"/api/dashboards/uid/{quote(uid, safe='')}"
        answer = self.http.get(path)
        if answer.status == 404:
            return None
        _expect(answer, {200}, f"dashboard {uid}")
        spec, meta = answer.body["dashboard"], answer.body.get("meta", {})
        version = spec.get("version", meta.get("version", 0))
        return Live(
            spec,
            meta.get("folderUid") or "",
            str(version),
            self._message(path, version),
            str(meta.get("updatedBy", "")),
            bool(meta.get("provisioned")),
        )

    def _message(self, path: str, version: int) -> str | None:
        answer = self.http.get(f"{path}/versions", limit="10")
        if answer.status in (403, 404):
            return None
        _expect(answer, {200}, path)
        # A bare list up to Grafana 11.
        versions = answer.body if isinstance(answer.body, list) else answer.body.get("versions", [])
        return next((str(entry.get("message", "")) for entry in versions if entry["version"] == version), None)

    def write(self, spec: Dashboard, folder: str, message: str, live: Live | None) -> None:
        dashboard = {**spec, "id": None, "version": int(live.version) if live else 0}
        # overwrite would trample what somebody saves at this moment.
        body = {"dashboard": dashboard, "folderUid": folder, "overwrite": False, "message": message}
        answer = self.http.write("POST", "/api/dashboards/db", body)
        _expect_written(answer, {200}, f"dashboard {spec['uid']}")

    def delete(self, uid: str) -> None:
        answer = self.http.write("DELETE", f"/api/dashboards/uid/{quote(uid, safe='')}")
        _expect(answer, {200, 404}, f"dashboard {uid}")

    def folder_title(self, uid: str) -> str | None:
        answer = self.http.get(f"/api/folders/{quote(uid, safe='')}")
        if answer.status == 404:
            return None
        _expect(answer, {200}, f"folder {uid}")
        return str(answer.body["title"])

    def make_folder(self, uid: str, title: str) -> None:
        answer = self.http.write("POST", "/api/folders", {"uid": uid, "title": title})
        _expect_written(answer, {200}, f"folder {uid}")


class ResourceApi(Api):
    """/apis/dashboard.grafana.app and /apis/folder.grafana.app: since Grafana 12, Kubernetes' form."""

    def __init__(self, connection: Connection, dashboards: str, folders: str) -> None:
        super().__init__(connection)
        org = connection.login.org_id
        namespace = "default" if org == 1 else f"org-{org}"
        self._dashboards = f"/apis/{_DASHBOARDS}/{dashboards}/namespaces/{namespace}/dashboards"
        self._folders = f"/apis/{_FOLDERS}/{folders}/namespaces/{namespace}/folders"
        self._kinds = {"Dashboard": f"{_DASHBOARDS}/{dashboards}", "Folder": f"{_FOLDERS}/{folders}"}

    def read(self, uid: str) -> Live | None:
        answer = self.http.get(f"{self._dashboards}/{quote(uid, safe='')}")
        if answer.status == 404:
            return None
        _expect(answer, {200}, f"dashboard {uid}")
        metadata = answer.body["metadata"]
        notes = metadata.get("annotations") or {}
        return Live(
            {**answer.body["spec"], "uid": uid},
            notes.get("grafana.app/folder", ""),
            str(metadata["resourceVersion"]),
            self._message(uid, metadata.get("generation")),
            notes.get("grafana.app/updatedBy") or notes.get("grafana.app/createdBy", ""),
            notes.get("grafana.app/managedBy", "").startswith("classic-file-provisioning"),
        )

    def _message(self, uid: str, generation: int | None) -> str | None:
        answer = self.http.get(
            self._dashboards,
            labelSelector="grafana.app/get-history=true",
            fieldSelector=f"metadata.name={uid}",
            limit="10",
        )
        if answer.status in (403, 404):
            return None
        _expect(answer, {200}, f"history of dashboard {uid}")
        for item in answer.body.get("items") or []:
            if item["metadata"].get("generation") == generation:
                return str((item["metadata"].get("annotations") or {}).get("grafana.app/message", ""))
        return None

    def write(self, spec: Dashboard, folder: str, message: str, live: Live | None) -> None:
        uid = spec["uid"]
        notes = {"grafana.app/message": message, **({"grafana.app/folder": folder} if folder else {})}
        metadata: dict[str, Any] = {"name": uid, "annotations": notes}
        path, method = self._dashboards, "POST"
        if live:
            metadata["resourceVersion"] = live.version
            path, method = f"{path}/{quote(uid, safe='')}", "PUT"
        content = {key: value for key, value in spec.items() if key not in ("id", "uid", "version")}
        self._put(method, path, "Dashboard", metadata, content)

    def _put(self, method: str, path: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> None:
        body = {"kind": kind, "apiVersion": self._kinds[kind], "metadata": metadata, "spec": spec}
        answer = self.http.write(method, path, body)
        _expect_written(answer, {200, 201}, f"{kind.lower()} {metadata['name']}")

    def delete(self, uid: str) -> None:
        answer = self.http.write("DELETE", f"{self._dashboards}/{quote(uid, safe='')}")
        _expect(answer, {200, 404}, f"dashboard {uid}")

    def folder_title(self, uid: str) -> str | None:
        answer = self.http.get(f"{self._folders}/{quote(uid, safe='')}")
        if answer.status == 404:
            return None
        _expect(answer, {200}, f"folder {uid}")
        return str(answer.body["spec"]["title"])

    def make_folder(self, uid: str, title: str) -> None:
        self._put("POST", self._folders, "Folder", {"name": uid}, {"title": title})


def connect(login: Login, api: str = AUTO, sleep: Callable[[float], None] = time.sleep) -> Api:
    """The API that this Grafana has; `auto` prefers the new one."""
    connection = Connection(login, sleep)
    if api == LEGACY:
        return LegacyApi(connection)
    answer = connection.get("/apis")
    served: dict[str, set[str]] = {}
    if answer.status == 200 and isinstance(answer.body, dict):
        for group in answer.body.get("groups", []):
            served[group["name"]] = {entry["version"] for entry in group.get("versions", [])}
    chosen = [next((v for v in _VERSIONS if v in served.get(name, ())), None) for name in (_DASHBOARDS, _FOLDERS)]
    if chosen[0] and chosen[1]:
        return ResourceApi(connection, chosen[0], chosen[1])
    if api == RESOURCES:
        raise GrafanaError(
            f"Grafana at {login.url} has no API {_DASHBOARDS} in v1; set api to legacy, or upgrade to 12"
        )
    return LegacyApi(connection)


def _expect_written(answer: Answer, statuses: set[int], what: str) -> None:
    """As _expect, and raise Conflict when somebody was faster; a title that another dashboard has is for good."""
    named_alike = isinstance(answer.body, dict) and answer.body.get("status") == "name-exists"
    if answer.status in (409, 412) and not named_alike:
        raise Conflict(f"{what}: {answer.message} ({answer.status})")
    _expect(answer, statuses, what)


def _expect(answer: Answer, statuses: set[int], what: str) -> None:
    if answer.status not in statuses:
        raise _refused(answer, what)
    if answer.status == 200 and not isinstance(answer.body, (dict, list)):
        raise GrafanaError(f"{what}: the answer is no JSON; is the url Grafana's own, with its sub-path?")


def _refused(answer: Answer, what: str) -> GrafanaError:
    if answer.status == 403:
        return GrafanaError(f"{what}: this user may not do that (403): {answer.message}")
    return GrafanaError(f"{what}: Grafana answered {answer.status}: {answer.message}")


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError:
        return None


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return " ".join(str(reason).split()) or type(error).__name__
