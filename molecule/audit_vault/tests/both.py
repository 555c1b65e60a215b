"""Both sides of the scenario's host: production on port 5432, the vault on 5433; its keeper, alarms and metrics."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from string import Template

import pytest

KEEPER = "/usr/local/lib/tovplay/audit_vault/tovplay_vault_keeper.py --config /etc/tovplay/audit_vault.json"
# What takes minutes, or a cluster of its own, is left to the full scale.
FULL = bool(os.environ.get("TOVPLAY_FULL"))
at_full_scale = pytest.mark.skipif(not FULL, reason="at full scale only: make test-full PART=vault")
REASON = "SET audit.reason = 'a test of the vault';"


def psql(host, database, port, query, user="postgres"):
    command = "sudo -u %s psql -X -q -At -v ON_ERROR_STOP=1 -p %s -d %s -c %s"
    return host.run(command, user, str(port), database, query)


def production(host, query, **values):
    done = psql(host, "TovPlay", 5432, REASON + Template(query).substitute(values))
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def ask(host, query, **values):
    done = psql(host, "vault", 5433, Template(query).substitute(values))
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def table(host, query, **values):
    rows = ask(host, "SELECT coalesce(json_agg(q), '[]') FROM ($rows) q", rows=Template(query).substitute(values))
    return json.loads(rows)


def until(question, seconds=20):
    end = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.2)
    assert answer, "waited in vain"
    return answer


APPLIED = """SELECT confirmed_flush_lsn >= '$lsn' AND active FROM pg_replication_slots
WHERE slot_name = 'tovplay_vault'"""


def settle(host):
    """Until the vault has applied what production has committed."""
    lsn = production(host, "SELECT pg_current_wal_flush_lsn()")
    until(lambda: production(host, APPLIED, lsn=lsn) == "t", 40)


ROWS = """SELECT h.op, r.table_name, h.key, h.old, h.new, h.tx
FROM vault.history h JOIN vault.relation r ON r.id = h.relation WHERE h.id > $before ORDER BY h.id"""


def written(host, statements):
    """Runs them in one transaction; production's number of the transaction, and what the history has of it."""
    before = ask(host, "SELECT coalesce(max(id), 0) FROM vault.history")
    said = psql(host, "TovPlay", 5432, f"BEGIN; {REASON} {statements}; SELECT 'xid', pg_current_xact_id(); COMMIT")
    assert said.rc == 0, said.stderr
    xid = next(int(line.split("|")[1]) for line in said.stdout.splitlines() if line.startswith("xid|"))
    settle(host)
    return xid, table(host, ROWS, before=before)


def journal(host, unit="tovplay-vault-keeper"):
    """What the daemon said, one JSON object a line; systemd's own lines are left out."""
    lines = host.check_output(f"journalctl -u {unit} --no-pager -o cat").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def alarms(host, since=0, unit="tovplay-vault-keeper"):
    """Kinds of the alarms in the journal after its first lines."""
    return [line["kind"] for line in journal(host, unit)[since:] if line["event"] == "vault_alarm"]


def metrics(host, name="audit_vault"):
    """{"tovplay_vault_up": 1.0, …}; 0 for what a side that is away does not say."""
    lines = host.file(f"/var/lib/tovplay/metrics/{name}.prom").content_string.splitlines()
    return defaultdict(float, {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines})


def raised(host, kind, since):
    """Whether the alarm is up, as a metric and as a line."""
    return metrics(host).get(f'tovplay_vault_alarm{{kind="{kind}"}}') == 1 and kind in alarms(host, since)
