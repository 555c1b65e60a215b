#!/usr/bin/env python3
"""tovplay-search: keeps Elasticsearch's indices and snapshots in order.

  tovplay-search setup             index template and snapshot repository as they should be (Ansible does it)
  tovplay-search retain            deletes the indices of days whose time is over (a timer does it)
  tovplay-search snapshot          takes one, and forgets the oldest beyond the number to keep (a timer does it)
  tovplay-search restore [NAME]    brings the indices of a snapshot back, the newest unless told; existing ones stay

An index holds one class of evidence of one day (UTC): tovplay-<log_class>-<YYYY.MM.DD>. Exit codes: 0 done, 1 refused
or failed, with one sentence that says why.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

SETTINGS = Path("/etc/tovplay/elk/settings.json")
METRICS = Path("/var/lib/tovplay/metrics/elasticsearch.prom")
AUTHORITY = "/etc/tovplay/pki/ca.crt"
INDEX = re.compile(r"tovplay-(?P<log_class>[a-z_]+)-(?P<day>\d{4}\.\d\d\.\d\d)\Z")
REPOSITORY = {"type": "fs", "settings": {"location": "/snapshots", "compress": "true"}}
START_SECONDS = 120
WORK_SECONDS = 3600


class SearchError(Exception):
    """What a person has to do something about, in one sentence."""


def expired(indices: Iterable[str], retention: Mapping[str, str], default: str, now: datetime) -> list[str]:
    """Indices whose last possible line, written at the end of their day, is older than its class is kept."""
    gone = []
    for index in sorted(indices):
        if found := INDEX.match(index):
            ends = datetime.strptime(found["day"], "%Y.%m.%d").replace(tzinfo=UTC) + timedelta(days=1)
            hours = int(retention.get(found["log_class"], default).removesuffix("h"))
            if ends + timedelta(hours=hours) <= now:
                gone.append(index)
    return gone


def surplus(snapshots: Iterable[Mapping[str, Any]], keep: int) -> list[str]:
    """Names of the oldest snapshots beyond the newest `keep` complete ones; broken ones older than those go, too."""
    newest = sorted(snapshots, key=lambda one: one["start_time_in_millis"], reverse=True)
    complete = [one["snapshot"] for one in newest if one["state"] == "SUCCESS"]
    if len(complete) <= keep:
        return []
    last = next(position for position, one in enumerate(newest) if one["snapshot"] == complete[keep - 1])
    return [one["snapshot"] for one in newest[last + 1 :]]


def template(replicas: int) -> dict[str, Any]:
    """The index template in the form in which Elasticsearch gives it back."""
    return {
        "index_patterns": ["tovplay-*"],
        "template": {
            "settings": {"index": {"number_of_shards": "1", "number_of_replicas": str(replicas)}},
            "mappings": {
                "dynamic_templates": [
                    {
                        "words_as_they_are": {
                            "match_mapping_type": "string",
                            "mapping": {"type": "keyword", "ignore_above": 8191},
                        }
                    }
                ],
                "properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}},
            },
        },
        "composed_of": [],
        "priority": 200,
    }


class Node:
    """Elasticsearch on this host, as tovplay_admin."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.url = settings["url"]
        self.session = requests.Session()
        self.session.auth = ("tovplay_admin", settings["password"])
        self.session.verify = AUTHORITY

    def ask(self, method: str, path: str, body: Any = None, seconds: int = 30, missing: Any = None) -> Any:
        """The answer; `missing` when there is no such thing and that is no error."""
        try:
            answer = self.session.request(method, f"{self.url}/{path}", json=body, timeout=seconds)
        except requests.RequestException as error:
            raise SearchError(
                f"Elasticsearch does not answer ({type(error).__name__}); docker logs elasticsearch"
            ) from error
        if answer.status_code == 404 and missing is not None:
            return missing
        if not answer.ok:
            raise SearchError(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def wait(self) -> None:
        """Until all of it can be searched."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("GET", "_cluster/health?wait_for_status=yellow&timeout=20s")
                return
            except SearchError:
                if time.monotonic() > until:
                    raise
                time.sleep(1)


def setup(node: Node, settings: Mapping[str, Any], _: argparse.Namespace) -> None:
    node.wait()
    wanted = template(settings["replicas"])
    there = node.ask("GET", "_index_template/tovplay", missing={"index_templates": []})["index_templates"]
    if [one["index_template"] for one in there] != [wanted]:
        node.ask("PUT", "_index_template/tovplay", wanted)
        print("changed: index template")
    if node.ask("GET", "_snapshot/tovplay", missing={}).get("tovplay", {}).get("settings") != REPOSITORY["settings"]:
        node.ask("PUT", "_snapshot/tovplay", REPOSITORY)
        print("changed: snapshot repository")


def retain(node: Node, settings: Mapping[str, Any], _: argparse.Namespace) -> None:
    indices = [one["index"] for one in node.ask("GET", "_cat/indices/tovplay-*?format=json&h=index")]
    for index in expired(indices, settings["retention"], settings["retention_default"], datetime.now(UTC)):
        node.ask("DELETE", index)
        print(json.dumps({"deleted": index, "why": "its retention is over"}), flush=True)


def snapshot(node: Node, settings: Mapping[str, Any], _: argparse.Namespace) -> None:
    name = f"tovplay-{datetime.now(UTC):%Y%m%d%H%M%S}"
    body = {"indices": "tovplay-*", "include_global_state": False}
    taken = node.ask("PUT", f"_snapshot/tovplay/{name}?wait_for_completion=true", body, WORK_SECONDS)["snapshot"]
    if taken["state"] != "SUCCESS":
        raise SearchError(f"Snapshot {name} ended {taken['state']}; docker logs elasticsearch says why.")
    for old in surplus(node.ask("GET", "_snapshot/tovplay/_all")["snapshots"], settings["snapshot_keep"]):
        node.ask("DELETE", f"_snapshot/tovplay/{old}", seconds=WORK_SECONDS)
    temporary = METRICS.with_suffix(".tmp")
    temporary.write_text(
        "# HELP tovplay_search_snapshot_seconds When the newest complete snapshot of Elasticsearch was taken.\n"
        "# TYPE tovplay_search_snapshot_seconds gauge\n"
        f"tovplay_search_snapshot_seconds {time.time():.0f}\n"
    )
    temporary.chmod(0o644)
    temporary.replace(METRICS)
    print(json.dumps({"snapshot": name, "indices": len(taken["indices"])}))


def restore(node: Node, _: Mapping[str, Any], options: argparse.Namespace) -> None:
    complete = [one for one in node.ask("GET", "_snapshot/tovplay/_all")["snapshots"] if one["state"] == "SUCCESS"]
    chosen = [one for one in complete if options.name in ("", one["snapshot"])]
    if not chosen:
        raise SearchError(
            f"There is no complete snapshot {options.name}".rstrip() + "; tovplay-search snapshot takes one."
        )
    newest = max(chosen, key=lambda one: one["start_time_in_millis"])
    there = {one["index"] for one in node.ask("GET", "_cat/indices/tovplay-*?format=json&h=index")}
    if absent := sorted(set(newest["indices"]) - there):
        path = f"_snapshot/tovplay/{newest['snapshot']}/_restore?wait_for_completion=true"
        done = node.ask("POST", path, {"indices": ",".join(absent), "include_global_state": False}, WORK_SECONDS)[
            "snapshot"
        ]
        if done["shards"]["failed"]:
            raise SearchError(
                f"{done['shards']['failed']} shards were not restored; docker logs elasticsearch says why."
            )
    for index in absent:
        print(json.dumps({"restored": index, "lines": node.ask("GET", f"{index}/_count")["count"]}))


COMMANDS = {"setup": setup, "retain": retain, "snapshot": snapshot, "restore": restore}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tovplay-search", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        command = commands.add_parser(name)
        if name == "restore":
            command.add_argument("name", nargs="?", default="", help="the snapshot; the newest unless told")
    options = parser.parse_args(argv)
    try:
        settings = json.loads(SETTINGS.read_text())
        COMMANDS[options.command](Node(settings), settings, options)
    except SearchError as error:
        print(f"tovplay-search: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
