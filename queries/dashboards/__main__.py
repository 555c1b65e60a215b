"""Write the dashboards as JSON, as Grafana takes them: make dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from queries.dashboards import alerts, application, audit, database, frontend, incident, platform, traces

FILES = Path(__file__).parent / "json"
# In the order in which people need them.
PAGES = (
    incident.incident_analysis,
    audit.audit_trail,
    audit.wipe_guard,
    database.database,
    database.pgbouncer,
    application.log_explorer,
    application.users_and_logins,
    application.application,
    traces.traces,
    frontend.frontend_and_replay,
    alerts.alerts,
    platform.platform_health,
    platform.capacity,
)


def generated() -> dict[str, str]:
    """Text of each file by its name."""
    found = {}
    for build in PAGES:
        board: dict[str, Any] = json.loads(JSONEncoder().encode(build().build()))
        for number, panel in enumerate(board["panels"], start=1):
            panel["id"] = number  # links and alerts name a panel by it
        found[f"{board['uid']}.json"] = json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return found


def main() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    texts = generated()
    for stale in {path.name for path in FILES.glob("*.json")} - texts.keys():
        (FILES / stale).unlink()
    for name, text in texts.items():
        (FILES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
