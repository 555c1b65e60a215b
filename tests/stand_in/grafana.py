#!/usr/bin/python3
"""A Grafana for tests: its dashboards, folders and data sources over both of its APIs, as strict as the real one.

    grafana.py PORT [CONFIG]

Without CONFIG (a grafana.ini) it listens on loopback at the root: admin / admin, data sources loki and vault.
With CONFIG it takes address, port, sub-path, login and provisioned data sources from there, and refuses to start with
what it cannot read, as the real one does.

/api/dashboards/…, /api/folders, /api/datasources, /api/health     Grafana 9 to 13
/apis/dashboard.grafana.app/v1, /apis/folder.grafana.app/v1        since 12 (v1beta1 there)

GET  /stand-in/requests    every request: [{method, path, status}]
POST /stand-in/behaviour   [{"status": 503, "times": 2}, {"hang": 5}, {"drop": "before" or "after"}, {"status": 500,
                           "method": "POST"}], served in turn by everything else
POST /stand-in/edit        {uid, spec, message, provisioned}: what eve saves in her browser
POST /stand-in/settings    {"apis": ["v1"], "viewer": true, "bare_versions": true, "migrate": true}
Only the standard library, but for CONFIG's data sources (PyYAML).
"""

from __future__ import annotations

import base64
import configparser
import copy
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# SaveDashboardCommand and CreateFolderCommand of Grafana's public/openapi3.json.
SAVE_KEYS = {"dashboard", "folderId", "folderUid", "isFolder", "message", "overwrite", "userId", "UpdatedAt"}
FOLDER_KEYS = {"uid", "title", "parentUid", "description"}
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
TOKEN = "glsa_stand_in_token"  # noqa: S105  # nosec B105


class Refusal(Exception):
    def __init__(self, code: int, message: str, /, **more: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.more = code, message, more


class Store:
    """What one Grafana has. Every version of a dashboard is kept: {spec, folder, message, by, version}."""

    def __init__(self, user: str = "admin", password: str = "admin") -> None:  # noqa: S107  # nosec B107
        self.lock = threading.RLock()
        self.user, self.password, self.prefix = user, password, ""
        self.proxy_header = ""  # [auth.proxy]: whom it names is let in, as a Viewer
        self.datasources: dict[str, dict[str, Any]] = {uid: {"uid": uid, "name": uid} for uid in ("loki", "vault")}
        self.forget()

    def forget(self) -> None:
        self.dashboards: dict[str, list[dict[str, Any]]] = {}
        self.folders: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.behaviour: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = {"apis": ["v1", "v2"]}

    def save(self, uid: str, spec: dict[str, Any], folder: str, message: str, by: str) -> dict[str, Any]:
        versions = self.dashboards.setdefault(uid, [])
        spec = {**copy.deepcopy(spec), "uid": uid}
        entry = {"spec": spec, "folder": folder, "message": message, "by": by, "version": len(versions) + 1}
        versions.append(entry)
        return entry

    def shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The dashboard as Grafana gives it back: with numbers of its own, and migrated where asked."""
        spec = {**copy.deepcopy(entry["spec"]), "id": 4711, "version": entry["version"]}
        if self.settings.get("migrate"):
            spec["schemaVersion"] = 42
            spec.setdefault("annotations", {}).setdefault("list", []).insert(0, {"builtIn": 1, "type": "dashboard"})
            for panel in spec.get("panels", []):
                panel["pluginVersion"] = "13.2.1"
                panel.setdefault("fieldConfig", {}).setdefault("defaults", {}).setdefault("color", {"mode": "x"})
        return spec

    def next_behaviour(self, method: str) -> dict[str, Any]:
        with self.lock:
            for index, one in enumerate(self.behaviour):
                if one.get("method", method) == method:
                    one["times"] = one.get("times", 1) - 1
                    if one["times"] <= 0:
                        del self.behaviour[index]
                    return dict(one)
        return {}


def check_dashboard(spec: Any) -> None:
    if not isinstance(spec, dict):
        raise Refusal(400, "bad request data")
    if not isinstance(spec.get("title"), str) or not spec["title"].strip():
        raise Refusal(400, "Dashboard title cannot be empty", status="empty-name")
    if not isinstance(spec.get("panels", []), list):
        raise Refusal(400, "Invalid dashboard: panels must be a list")


def check_uid(uid: Any) -> None:
    if not isinstance(uid, str) or not UID.fullmatch(uid):
        raise Refusal(400, "uid contains illegal characters or is too long")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = Store()

    def log_message(self, format: str, *args: object) -> None:
        """The list of requests is the log."""

    def do_GET(self) -> None:
        self.serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path.startswith("/stand-in/"):
            self.answer(200, self.control(path, json.loads(raw) if raw else None))
            return
        now = self.store.next_behaviour(self.command)
        if "hang" in now:
            time.sleep(now["hang"])
        if now.get("drop") == "before":
            self.close_connection = True
            return
        try:
            if "status" in now:
                raise Refusal(now["status"], now.get("message", "as asked"))
            with self.store.lock:
                status, body = self.routed(path, parse_qs(parts.query), raw)
        except Refusal as refusal:
            status, body = refusal.code, self.refused(path, refusal)
        with self.store.lock:
            self.store.requests.append({"method": self.command, "path": self.path, "status": status})
        if now.get("drop") == "after":
            self.close_connection = True
            return
        self.answer(status, body)

    def refused(self, path: str, refusal: Refusal) -> dict[str, Any]:
        if not path.startswith(f"{self.store.prefix}/apis/"):
            return {"message": refusal.message, **refusal.more}
        reasons = {404: "NotFound", 409: "Conflict", 403: "Forbidden", 401: "Unauthorized"}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "reason": reasons.get(refusal.code, "BadRequest"),
            "code": refusal.code,
        }

    def routed(self, path: str, query: dict[str, list[str]], raw: bytes) -> tuple[int, Any]:
        if not path.startswith(self.store.prefix + "/"):
            raise Refusal(404, "Not found")
        path = path.removeprefix(self.store.prefix)
        if path == "/api/health":
            return 200, {"database": "ok", "version": "13.2.1", "commit": "stand-in"}
        login = self.login()
        if path == "/api/user":
            return 200, {"login": login}
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            raise Refusal(400, "bad request data") from None
        if self.command != "GET" and (self.store.settings.get("viewer") or login != self.store.user):
            raise Refusal(403, "You'll need additional permissions to perform this action. Permissions needed: write")
        if path == "/apis":
            return 200, self.groups()
        if found := re.fullmatch(
            r"/apis/(dashboard|folder)\.grafana\.app/(\w+)/namespaces/default/(\w+)(?:/(.+))?", path
        ):
            group, version, kind, uid = found.groups()
            if kind != f"{group}s" or version not in self.store.settings["apis"]:
                raise Refusal(404, "the server could not find the requested resource")
            return self.resource(group.capitalize(), version, uid, query, body)
        return self.legacy(path, body)

    def login(self) -> str:
        """Name of who asks."""
        if self.store.proxy_header and (named := self.headers.get(self.store.proxy_header)):
            return named
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        right = base64.b64encode(f"{self.store.user}:{self.store.password}".encode()).decode()
        if (kind, given) not in (("Basic", right), ("Bearer", TOKEN)):
            raise Refusal(401, "Invalid username or password", messageId="password-auth.failed", statusCode=401)
        return self.store.user

    def groups(self) -> dict[str, Any]:
        if not self.store.settings["apis"]:
            raise Refusal(404, "Not found")
        versions = [{"version": name} for name in self.store.settings["apis"]]
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [{"name": f"{n}.grafana.app", "versions": versions} for n in ("dashboard", "folder")],
        }

    # /api

    def legacy(self, path: str, body: Any) -> tuple[int, Any]:
        store, method = self.store, self.command
        if path == "/api/dashboards/db" and method == "POST":
            return self.save(body)
        if found := re.fullmatch(r"/api/dashboards/uid/([^/]+)(/versions)?", path):
            uid, versions = found.groups()
            if uid not in store.dashboards:
                raise Refusal(404, "Dashboard not found", messageId="dashboards.notFound")
            if method == "DELETE":
                del store.dashboards[uid]
                return 200, {"title": uid, "message": f"Dashboard {uid} deleted", "uid": uid}
            if versions:
                return 200, self.versions(uid)
            entry = store.dashboards[uid][-1]
            meta = {
                "type": "db",
                "slug": uid,
                "version": entry["version"],
                "folderUid": entry["folder"],
                "folderTitle": store.folders.get(entry["folder"], "General"),
                "createdBy": store.dashboards[uid][0]["by"],
                "updatedBy": entry["by"],
                "provisioned": bool(entry.get("provisioned")),
                "canSave": True,
            }
            return 200, {"dashboard": store.shown(entry), "meta": meta}
        if found := re.fullmatch(r"/api/folders/([^/]+)", path):
            if found[1] not in store.folders:
                raise Refusal(404, "folder not found", status="not-found")
            return 200, {"id": 1, "uid": found[1], "title": store.folders[found[1]], "version": 1}
        if path == "/api/folders" and method == "POST":
            if not isinstance(body, dict) or body.keys() - FOLDER_KEYS or not body.get("title"):
                raise Refusal(400, "folder title cannot be empty")
            self.make_folder(body.get("uid"), body["title"])
            return 200, {"id": 1, "uid": body["uid"], "title": body["title"], "version": 1}
        if found := re.fullmatch(r"/api/datasources/uid/([^/]+)", path):
            if found[1] not in store.datasources:
                raise Refusal(404, "Data source not found", messageId="datasources.notFound")
            return 200, store.datasources[found[1]]
        if found := re.fullmatch(r"/api/plugins/([^/]+)/settings", path):
            if found[1] not in {source.get("type") for source in store.datasources.values()}:
                raise Refusal(404, "Plugin not found, no installed plugin with that id")
            return 200, {"id": found[1], "type": "datasource", "enabled": True}
        if path == "/api/datasources":
            return 200, list(store.datasources.values())
        raise Refusal(404, "Not found")

    def versions(self, uid: str) -> Any:
        rows = [
            {"version": v["version"], "message": v["message"], "createdBy": v["by"], "uid": uid}
            for v in reversed(self.store.dashboards[uid])
        ]
        return rows if self.store.settings.get("bare_versions") else {"continueToken": "", "versions": rows[:10]}

    def make_folder(self, uid: Any, title: str) -> None:
        check_uid(uid)
        if uid in self.store.folders:
            raise Refusal(409, "a folder with the same UID already exists")
        self.store.folders[uid] = title

    def save(self, body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict) or body.keys() - SAVE_KEYS:
            raise Refusal(400, "bad request data")
        spec: Any = body.get("dashboard")
        folder = body.get("folderUid") or ""
        check_dashboard(spec)
        check_uid(spec.get("uid"))
        if folder and folder not in self.store.folders:
            raise Refusal(400, "folder not found", status="not-found")
        versions = self.store.dashboards.get(spec["uid"], [])
        if spec.get("id") and not versions:
            raise Refusal(404, "Dashboard not found", status="not-found")
        if versions and versions[-1].get("provisioned"):
            raise Refusal(400, "Cannot save provisioned dashboard")
        if versions and not body.get("overwrite") and spec.get("version") != versions[-1]["version"]:
            raise Refusal(412, "The dashboard has been changed by someone else", status="version-mismatch")
        entry = self.store.save(spec["uid"], spec, folder, body.get("message") or "", self.store.user)
        return 200, {
            "status": "success",
            "uid": spec["uid"],
            "id": 4711,
            "version": entry["version"],
            "folderUid": folder,
        }

    # /apis

    def resource(
        self, kind: str, version: str, uid: str | None, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        store, method = self.store, self.command
        known: dict[str, Any] = store.dashboards if kind == "Dashboard" else store.folders
        if method == "GET" and uid is None:
            wanted = query.get("fieldSelector", ["="])[0].removeprefix("metadata.name=")
            if query.get("labelSelector") != ["grafana.app/get-history=true"] or kind != "Dashboard":
                raise Refusal(400, "only the history can be listed here")
            entries = reversed(store.dashboards.get(wanted, []))
            items = [self.form(kind, version, wanted, entry) for entry in entries]
            return 200, {"kind": "DashboardList", "metadata": {}, "items": items}
        if method in ("GET", "DELETE"):
            if uid is None or uid not in known:
                raise Refusal(404, f'{kind.lower()}s.{kind.lower()}.grafana.app "{uid}" not found')
            form = self.form(kind, version, uid, store.dashboards[uid][-1] if kind == "Dashboard" else None)
            if method == "DELETE":
                del known[uid]
            return 200, form
        if not isinstance(body, dict) or body.get("kind") != kind or not isinstance(body.get("spec"), dict):
            raise Refusal(400, "the object provided is unrecognized")
        if body.get("apiVersion") != f"{kind.lower()}.grafana.app/{version}":
            raise Refusal(400, "the API version in the data does not match the expected API version")
        metadata = body.get("metadata") or {}
        name: Any = metadata.get("name")
        check_uid(name)
        if kind == "Folder":
            self.make_folder(name, body["spec"].get("title"))
            return 201, self.form(kind, version, name, None)
        return self.save_resource(version, uid, metadata, body["spec"])

    def save_resource(self, version: str, uid: str | None, metadata: dict[str, Any], spec: Any) -> tuple[int, Any]:
        store, name = self.store, metadata["name"]
        notes = metadata.get("annotations") or {}
        check_dashboard(spec)
        folder = notes.get("grafana.app/folder", "")
        if folder and folder not in store.folders:
            raise Refusal(404, f'folders.folder.grafana.app "{folder}" not found')
        versions = store.dashboards.get(name, [])
        if uid is None and (versions or metadata.get("resourceVersion")):
            raise Refusal(409, f'dashboards.dashboard.grafana.app "{name}" already exists')
        if uid is not None and (uid != name or not versions):
            raise Refusal(404, f'dashboards.dashboard.grafana.app "{uid}" not found')
        if versions and metadata.get("resourceVersion") not in (None, str(1000 + versions[-1]["version"])):
            raise Refusal(
                409, f"Operation cannot be fulfilled on {name}: the object has been modified; apply your changes"
            )
        entry = store.save(name, spec, folder, notes.get("grafana.app/message", ""), f"user:{store.user}")
        return (200 if uid else 201), self.form("Dashboard", version, name, entry)

    def form(self, kind: str, version: str, uid: str, entry: dict[str, Any] | None) -> dict[str, Any]:
        api = f"{kind.lower()}.grafana.app/{version}"
        if entry is None:
            metadata = {"name": uid, "namespace": "default", "resourceVersion": "1", "generation": 1}
            return {"kind": kind, "apiVersion": api, "metadata": metadata, "spec": {"title": self.store.folders[uid]}}
        notes = {"grafana.app/updatedBy": entry["by"], "grafana.app/message": entry["message"]}
        if entry["folder"]:
            notes["grafana.app/folder"] = entry["folder"]
        if entry.get("provisioned"):
            notes["grafana.app/managedBy"] = "classic-file-provisioning"
        metadata = {
            "name": uid,
            "namespace": "default",
            "resourceVersion": str(1000 + entry["version"]),
            "generation": entry["version"],
            "annotations": notes,
        }
        spec = {k: v for k, v in self.store.shown(entry).items() if k not in ("id", "uid", "version")}
        return {"kind": kind, "apiVersion": api, "metadata": metadata, "spec": spec}

    def control(self, path: str, body: Any) -> Any:
        store = self.store
        with store.lock:
            if path == "/stand-in/behaviour":
                store.behaviour[:] = body
            elif path == "/stand-in/settings":
                store.settings.update(body)
            elif path == "/stand-in/edit":
                last = store.dashboards.get(body["uid"], [{"folder": "", "spec": {}}])[-1]
                spec = {**last["spec"], **body.get("spec", {})}
                entry = store.save(body["uid"], spec, last["folder"], body.get("message", ""), "eve")
                entry["provisioned"] = body.get("provisioned", False)
            return list(store.requests)


def configured(path: str) -> tuple[str, int, Store]:
    """Address, port and store as grafana.ini and the files that it names have them."""
    import yaml

    config = configparser.ConfigParser(interpolation=None, strict=True)
    config.read_string(Path(path).read_text(encoding="utf-8"))

    def value(section: str, key: str) -> str:
        text = config[section][key]
        if found := re.fullmatch(r"\$__file\{(.+)\}", text):
            return Path(found[1]).read_text(encoding="utf-8").strip()
        return text

    store = Store(value("security", "admin_user"), value("security", "admin_password"))
    if config.getboolean("server", "serve_from_sub_path", fallback=False):
        store.prefix = urlsplit(value("server", "root_url")).path.rstrip("/")
    if config.getboolean("auth.proxy", "enabled", fallback=False):
        store.proxy_header = value("auth.proxy", "header_name")
    store.datasources = {}
    for file in sorted((Path(value("paths", "provisioning")) / "datasources").glob("*.yaml")):
        for source in yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]:
            if source["uid"] in store.datasources:
                raise SystemExit(f"{file}: datasource uid {source['uid']} stands twice")
            hidden = {"secureJsonData"}
            store.datasources[source["uid"]] = {key: kept for key, kept in source.items() if key not in hidden}
    if not os.access(value("paths", "data"), os.W_OK):
        raise SystemExit(f"GF_PATHS_DATA={value('paths', 'data')} is not writable.")
    return value("server", "http_addr"), int(value("server", "http_port")), store


if __name__ == "__main__":
    address, port = "127.0.0.1", int(sys.argv[1])
    if len(sys.argv) > 2:
        address, port, Handler.store = configured(sys.argv[2])
    ThreadingHTTPServer((address, port), Handler).serve_forever()
