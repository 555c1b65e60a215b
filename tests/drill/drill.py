"""The machinery of the drills: cases as data, sessions on production, questions to whodunit on the watch host."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tovplay_telemetry.audit_context import statement

HERE = Path(__file__).parent
ACTOR = (HERE / "actor.py").read_text(encoding="utf-8")
PROD, WATCH = "tovplay-prod", "tovplay-watch"
DATABASE = "TovPlay"

# Runs on production's host: every ordinary table of the two schemas.
CHECKSUMS = """
import json, psycopg2
c = psycopg2.connect(dbname="TovPlay", host="/var/run/postgresql", options="-c timezone=UTC").cursor()
c.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname <> 'alembic_version'"
          " AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'drill'))")
found = {}
for (name,) in c.fetchall():
    c.execute("SELECT count(*) || ' ' || coalesce(md5(string_agg(j, E'\\n' ORDER BY j)), '')"
              " FROM (SELECT to_jsonb(t)::text FROM " + name + " AS t) AS rows (j)")
    found[name] = c.fetchone()[0]
print(json.dumps(found))
"""


@dataclass
class Answered:
    """What came of one case; a line of the drill's table."""

    case: str
    title: str
    incident: str = ""
    seconds: float | None = None  # from the last step to the complete answer
    grades: dict[str, str] = field(default_factory=dict)
    undo: str = ""


def cases() -> list[dict[str, Any]]:
    """All cases, by number."""
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((HERE / "cases").glob("*.yml"))]


class Drill:
    """Acts on production, asks on the watch host."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self.secrets = secrets
        self.key = secrets["vault_audit_context_key"].encode()

    def act(self, sessions: dict[str, dict], steps: list[dict]) -> list[dict]:
        """Run the steps in order; one answer each (actor.py)."""
        wanted = {
            "sessions": {name: self._login(given) for name, given in sessions.items()},
            "steps": [self._step(step, sessions) for step in steps],
        }
        done = subprocess.run(
            ["docker", "exec", "--interactive", PROD, "python3", "-c", ACTOR],
            input=json.dumps(wanted),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def superuser(self, *sql: str) -> None:
        """Preparation and repair, with its reason; it must work."""
        step = {"session": "root", "sql": ["SET LOCAL audit.reason = 'drill: prepare'", *sql], "whole": True}
        answer = self.act({"root": {"role": "superuser"}}, [step])[0]
        assert answer["error"] is None, answer["error"]

    def _login(self, given: dict) -> dict:
        """How each kind of person or program reaches the database."""
        base = {"dbname": given.get("dbname", DATABASE)}
        if "application_name" in given:
            base["application_name"] = given["application_name"]
        if given["role"] == "superuser":
            return {**base, "host": "/var/run/postgresql", "port": 5432, "user": "postgres", "as": "postgres"}
        user, secret = {
            "application": ("raz@tovtech.org", "vault_postgresql_app_password"),
            "migrator": ("tovplay_migrator", "vault_postgresql_migrator_password"),
        }[given["role"]]
        port = 5432 if given.get("direct", given["role"] == "migrator") else 6432
        password = given.get("password", self.secrets[secret])
        return {**base, "host": "127.0.0.1", "port": port, "user": user, "password": password}

    def _step(self, step: dict, sessions: dict[str, dict]) -> dict:
        """Statements as (text, parameters); a signed context comes first, as the application's library sends it."""
        wanted = [step["sql"]] if isinstance(step["sql"], str) else step["sql"]
        sql: list[tuple[str, Any]] = [(text, None) for text in wanted]
        claims = sessions[step["session"]].get("context")
        if claims:
            sql.insert(0, statement(claims, self.key))
        return {**step, "sql": sql}

    def checksums(self) -> dict[str, str]:
        """Rows and digest of every table, by name; as JSON, since a column that comes back stands last."""
        command = ["docker", "exec", "--user=postgres", PROD, "python3", "-c", CHECKSUMS]
        return json.loads(subprocess.check_output(command, text=True))

    def whodunit(self, *arguments: str, check: bool = True) -> str:
        """The command, as somebody on the watch host types it: what it prints."""
        done = self._whodunit(*arguments)
        if check:
            assert done.returncode == 0, f"whodunit {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """What the command says when it cannot do what is asked."""
        done = self._whodunit(*arguments)
        assert done.returncode != 0, f"whodunit {' '.join(arguments)}: {done.stdout}"
        return done.stderr

    def _whodunit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        password = f"PGPASSWORD={self.secrets['vault_postgresql_undo_password']}"  # the operator's own, for undo
        command = ["docker", "exec", f"--env={password}", WATCH, "whodunit", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def vault(self, sql: str) -> str:
        """As the vault's own superuser, who is not trusted either."""
        command = ["docker", "exec", "--user=postgres", WATCH, "psql", "-p", "5433", "-qAtc", sql, "vault"]
        return subprocess.check_output(command, text=True).strip()

    def destroy_production(self) -> None:
        """Nothing of it can answer any more; make up, which looks for the file, makes new hosts."""
        (HERE.parents[1] / "inventory/demo/.destroyed").touch()
        gone = "systemctl kill --signal=KILL postgresql@15-main && rm -rf /var/lib/postgresql/15/main"
        subprocess.check_call(["docker", "exec", PROD, "sh", "-c", gone])
        subprocess.check_call(["docker", "stop", "--time=2", PROD], stdout=subprocess.DEVNULL)

    def answer(self, question: list[str], complete: Any, timeout: float = 40) -> tuple[dict, float]:
        """Ask until the answer is complete: the report, and the seconds that it took."""
        started, report = time.monotonic(), {}
        while time.monotonic() - started < timeout:
            text = self.whodunit(*question, "--json", check=False)
            report = json.loads(text) if text.startswith("{") else {}
            if report and complete(report):
                break
            time.sleep(0.5)
        return report, time.monotonic() - started


def fresh_context(claims: dict[str, Any]) -> dict[str, Any]:
    """Ids of this run in the places that a case leaves open."""
    trace = uuid.uuid4().hex
    return {**claims, "cid": uuid.uuid4().hex, "tp": f"00-{trace}-{trace[:16]}-01"}


def grades(report: dict) -> dict[str, str]:
    return {f"{each['question']} {each['name']}": each["grade"] for each in report.get("answers", [])}


def value(report: dict, name: str) -> str:
    return next((each["value"] for each in report.get("answers", []) if each["name"] == name), "")


def rows(report: dict) -> dict[str, int]:
    """{"public.User D": 12, …}"""
    return {f"{each['table']} {each['op']}": each["rows"] for each in report.get("changes", [])}
