"""Every panel's query, as Grafana would ask it, on the running demo: none errs, and none is empty but those named."""

from __future__ import annotations

import shlex

import pytest

from tests.grafana_panels import Asked, asked

# What the demo has: its traffic, as the forensic questions' own examples use it.
VALUES = {"table": "GameRequest", "user_id": "2", "ip": "0.0.0.0/0"}
# Answered only after an event that traffic alone does not bring.
AFTER_A_WIPE = {
    "mark Incidents",
    "Statements that take everything",
    "What was tried",
    "Largest losses",
    "1. Who deleted a user",
}
AFTER_A_FAILURE = {
    "Refused",
    "Errors",
    "Errors of statements",
    "Errors of the server",
    "Errors of the application",
    "Answers 5xx",
    "5. Endpoints that answer 5xx",
    "6. No database connection left",
    "7. Slow endpoints",
    "Warnings and errors",
    "Failed logins",
    "Failed logins by address",
    "4. Failed logins from an address",
    "Slowest statements",
    "Lines that no format fits",
    "What the daemons say",
    "Findings",
}
AFTER_A_MIGRATION = {"mark Deploys", "Changes of the schema"}
# Until the application names an e-mail address (queries/02).
UNTIL_IT_IS_TOLD = {"2. What an e-mail address did"}
MAY_BE_EMPTY = AFTER_A_WIPE | AFTER_A_FAILURE | AFTER_A_MIGRATION | UNTIL_IT_IS_TOLD


@pytest.mark.parametrize("query", list(asked("loki", VALUES)), ids=str)
def test_loki_answers(demo, query: Asked):
    found = demo.loki(query.text, minutes=60, limit=5)  # raises what Loki refuses
    assert found or query.panel in MAY_BE_EMPTY, query.text


@pytest.mark.parametrize("query", list(asked("vault", VALUES, seconds=86400)), ids=str)
def test_the_vault_answers_who_may_only_read(demo, query: Asked):
    psql = "runuser -u postgres -- psql -p 5433 -d vault -XqtA -v ON_ERROR_STOP=1 -c 'SET ROLE vault_reader' -c "
    found = demo.watch.run(psql + shlex.quote(query.text))
    assert found.rc == 0, found.stderr
    assert found.stdout.strip() or query.panel in MAY_BE_EMPTY, query.text


def test_every_exception_is_a_panel():
    panels = {query.panel for kind in ("loki", "vault") for query in asked(kind)}
    assert MAY_BE_EMPTY - panels == set()
