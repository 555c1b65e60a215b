"""Wipe production in many ways and ask the vault in SQL: what does it know, who may read it, can it be changed?"""

from __future__ import annotations

import json
import time

import pytest
from both import KEEPER, ask, metrics, production, psql, settle, table, until, written

testinfra_hosts = ["docker://tovplay-audit-vault"]

ANCHORS = "/var/lib/tovplay/audit_vault/anchors.jsonl"


def test_the_initial_copy_is_a_baseline_and_no_history(host):
    settle(host)
    assert ask(host, 'SELECT count(*) FROM public."User"') == "200"
    assert ask(host, "SELECT count(*) FROM vault.history") == "0"


WIPES = {
    "delete with cascade": ('DELETE FROM "User" WHERE id = 1', {("User", "D"): 1, ("GameRequest", "D"): 1}),
    "update without where": ("UPDATE \"Game\" SET title = ''", {("Game", "U"): 20}),
    "replica role": (
        'SET LOCAL session_replication_role = replica; DELETE FROM "User" WHERE id IN (2, 3)',
        {("User", "D"): 2},
    ),
    "triggers off": (
        'ALTER TABLE "User" DISABLE TRIGGER ALL; DELETE FROM "User" WHERE id = 4;'
        ' ALTER TABLE "User" ENABLE TRIGGER ALL',
        {("User", "D"): 1},
    ),
    "partition": ('DELETE FROM "Measure_2026" WHERE id < 10', {("Measure_2026", "D"): 9}),
    "partition truncated": ('TRUNCATE "Measure_2026"', {("Measure_2026", "T"): 41}),
    "copy and conflict": (
        "COPY (SELECT 77, 'x') TO '/tmp/game.txt'; COPY \"Game\" FROM '/tmp/game.txt';"
        " INSERT INTO \"Game\" VALUES (77, 'y') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
        {("Game", "I"): 1, ("Game", "U"): 1},
    ),
    "truncate cascade": ('TRUNCATE "Game" CASCADE', {("Game", "T"): 21, ("GameRequest", "T"): 199}),
}


@pytest.mark.parametrize("wipe", WIPES)
def test_a_wipe_of_any_kind_is_in_the_history_row_by_row(host, wipe):
    statements, wanted = WIPES[wipe]
    xid, rows = written(host, statements)
    counted: dict[tuple[str, str], int] = {}
    for row in rows:
        counted[row["table_name"], row["op"]] = counted.get((row["table_name"], row["op"]), 0) + 1
        assert (row["old"] is None) == (row["op"] == "I")
    assert counted == wanted
    assert len({row["tx"] for row in rows}) == 1
    assert table(host, "SELECT xid FROM vault.transactions WHERE tx = $tx", tx=rows[0]["tx"]) == [{"xid": xid}]
    changes = table(host, "SELECT table_name, op, rows FROM vault.changes WHERE tx = $tx", tx=rows[0]["tx"])
    assert {(c["table_name"], c["op"]): c["rows"] for c in changes} == wanted


def test_before_images_have_every_value_as_production_wrote_it(host):
    values = """settings = '{"a": [1, 2.50]}', score = 1.10, tags = '{x,NULL,"y z"}'"""
    production(host, 'UPDATE "User" SET $values WHERE id = 10', values=values)
    _, rows = written(host, 'DELETE FROM "User" WHERE id = 10')
    old = next(row["old"] for row in rows if row["table_name"] == "User")
    assert old["id"] == "10"
    assert old["score"] == "1.10"
    assert old["tags"] == '{x,NULL,"y z"}'
    assert json.loads(old["settings"]) == {"a": [1, 2.50]}
    assert next(row["key"] for row in rows if row["table_name"] == "User") == '["10"]'


def test_a_transaction_says_who_and_when(host):
    production(host, "UPDATE \"User\" SET email = 'me@example.com' WHERE id = 11")
    settle(host)
    row = table(
        host,
        "SELECT *, now() - commit_at < interval '1 minute' AS fresh FROM vault.transactions ORDER BY tx DESC LIMIT 1",
    )[0]
    assert (row["db_user"], row["epoch"], row["context_rows"], row["fresh"]) == ("postgres", 1, 1, True)
    assert row["reason"] == "a test of the vault"


def test_masked_values_are_legible_nowhere(host):
    """Neither in the dump, nor in files of the cluster, WAL and statements of the context included."""
    production(
        host,
        "UPDATE \"User\" SET password_hash = 'LEGIBLE-new', phone = 'LEGIBLE-phone' WHERE id = 20;"
        " UPDATE \"Device\" SET token = 'LEGIBLE-x', name = 'n'",
    )
    settle(host)
    ask(host, "CHECKPOINT")
    assert host.run("sudo -u postgres pg_dumpall -p 5433 | grep -c LEGIBLE").stdout.strip() == "0"
    assert host.run("grep -rlaE 'LEGIBLE' /var/lib/postgresql/15/vault").stdout == ""
    row = table(host, "SELECT * FROM public.\"User\" WHERE id = '21'")[0]
    assert row["password_hash"].startswith("enc:")
    assert row["phone"].startswith("hash:")
    assert "token" not in table(host, 'SELECT * FROM public."Device"')[0]


def test_an_unchanged_value_is_not_encrypted_anew(host):
    _, rows = written(host, 'UPDATE "User" SET score = score + 1 WHERE id = 22')
    assert rows[0]["old"]["password_hash"] == rows[0]["new"]["password_hash"]
    _, rows = written(host, "UPDATE \"User\" SET password_hash = 'LEGIBLE-other' WHERE id = 22")
    assert rows[0]["old"]["password_hash"] != rows[0]["new"]["password_hash"]


@pytest.mark.parametrize(
    ("user", "query", "allowed"),
    [
        ("reader", "SELECT count(*) FROM transactions", True),
        ("reader", "SELECT count(*) FROM changes", True),
        ("reader", "SELECT old FROM vault.history", False),
        ("reader", 'SELECT email FROM public."User"', False),
        ("investigator", "SELECT old FROM vault.history LIMIT 1", True),
        ("investigator", "SELECT vault.decrypt(password_hash) FROM public.\"User\" WHERE id = '30'", False),
        ("investigator", "SELECT * FROM vault.secret", False),
        ("investigator", "BEGIN READ WRITE; DELETE FROM vault.history", False),
        ("restorer", "SELECT vault.decrypt(password_hash) FROM public.\"User\" WHERE id = '30'", True),
        ("restorer", "SELECT * FROM vault.secret", False),
        ("restorer", "BEGIN READ WRITE; UPDATE vault.seal SET rows = 0", False),
    ],
)
def test_who_may_ask_what(host, user, query, allowed):
    host.check_output(f"id {user} >/dev/null 2>&1 || useradd {user}")
    done = psql(host, "vault", 5433, query, user)
    assert (done.rc == 0) == allowed, done.stderr
    assert allowed or "permission denied" in done.stderr
    if "decrypt" in query and allowed:
        assert done.stdout.strip() == "LEGIBLE-hash-30"


def test_a_reader_sees_no_before_images_in_audit_log(host):
    query = "SELECT count(*), count(old_data), count(new_data) FROM audit_log"
    rows, old, new = psql(host, "vault", 5433, query, "reader").stdout.strip().split("|")
    assert (int(rows) > 0, old, new) == (True, "0", "0")
    assert int(psql(host, "vault", 5433, query, "investigator").stdout.split("|")[1]) > 0


SEED = [
    """SELECT * FROM audit_log
WHERE table_name = 'User'
  AND action = 'DELETE'
  AND timestamp > NOW() - INTERVAL '2 hours'
ORDER BY timestamp DESC LIMIT 10;""",
    """SELECT * FROM audit_log
WHERE user_name = 'postgres'
  AND timestamp > NOW() - INTERVAL '1 hour'
ORDER BY timestamp DESC;""",
    "SELECT COUNT(*) FROM audit_log WHERE timestamp > NOW() - INTERVAL '1 minute';",
    """SELECT * FROM audit_log
WHERE table_name = 'User'
  AND old_data ->> 'id' = '10'
  AND action = 'DELETE'
ORDER BY timestamp DESC;""",
]


@pytest.mark.parametrize("query", SEED)
def test_the_guides_own_queries_run_as_they_are_written(host, query):
    assert ask(host, query)


def test_nobody_on_production_reaches_the_vault(host):
    certificate = "sslmode=require sslcert=/etc/tovplay/pki/host.crt sslkey=/etc/tovplay/pki/host.key"
    for user in ("postgres", "audit_replicator", "vault_restorer"):
        done = host.run(
            "sudo -u postgres psql -At %s -c 'SELECT 1'",
            f"host=127.0.0.1 port=5433 dbname=vault user={user} {certificate}",
        )
        assert "pg_hba.conf rejects connection" in done.stderr
    assert host.check_output("ss -Hltn | awk '{print $4}' | grep :5433") == "127.0.0.1:5433"
    assert "password" not in ask(host, "SELECT subconninfo FROM pg_subscription")


def test_production_lets_only_the_certificate_in(host):
    where = "host=localhost dbname=TovPlay user=audit_replicator"
    done = host.run("sudo -u postgres psql -At %s -c 'SELECT 1'", f"{where} sslmode=disable")
    assert "pg_hba.conf rejects connection" in done.stderr
    done = host.run("sudo -u postgres psql -At %s -c 'SELECT 1'", f"{where} sslmode=require sslcert=/none")
    assert "certificate" in done.stderr


def test_the_converge_is_what_made_the_second_cluster(host):
    lines = host.check_output("pg_lsclusters --no-header").splitlines()
    assert [line.split()[:4] for line in lines] == [["15", "main", "5432", "online"], ["15", "vault", "5433", "online"]]


SCHEMA_CHANGES = {
    "add with constant": """ALTER TABLE "User" ADD nick text DEFAULT 'it''s';
        UPDATE "User" SET nick = 'n' WHERE id = 40""",
    "rename": """ALTER TABLE "User" RENAME nick TO handle; UPDATE "User" SET handle = 'h' WHERE id = 40""",
    "rename of a masked one": """ALTER TABLE "User" RENAME password_hash TO secret;
        UPDATE "User" SET secret = 'LEGIBLE-2' WHERE id = 41""",
    "and back": """ALTER TABLE "User" RENAME secret TO password_hash; UPDATE "User" SET score = 3 WHERE id = 41""",
    "drop": """ALTER TABLE "User" DROP handle; UPDATE "User" SET score = 4 WHERE id = 41""",
    "type": """ALTER TABLE "User" ALTER score TYPE text USING 'gone'""",
    "after the type": """UPDATE "User" SET score = '5' WHERE id = 41""",
    "table": """ALTER TABLE "Game" RENAME TO "Play"; INSERT INTO "Play" VALUES (1, 'a')""",
    "table back": """ALTER TABLE "Play" RENAME TO "Game"; INSERT INTO "Game" VALUES (2, 'b')""",
    "new": """CREATE TABLE fresh (id int PRIMARY KEY, a int[]);
        INSERT INTO fresh VALUES (1, '{1}'), (2, NULL); DELETE FROM fresh WHERE id = 1""",
    "made with rows": """CREATE TABLE made AS SELECT i AS id FROM generate_series(1, 5) i;
        ALTER TABLE made ADD PRIMARY KEY (id)""",
    "drop and create": """DROP TABLE fresh; CREATE TABLE fresh (id int PRIMARY KEY, b text);
        INSERT INTO fresh VALUES (1, 'x'), (2, 'y')""",
    "partition": """CREATE TABLE "Measure_2027" PARTITION OF "Measure" FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        INSERT INTO "Measure" VALUES (1, '2027-02-01', 1)""",
    "detach and drop": """ALTER TABLE "Measure" DETACH PARTITION "Measure_2027"; DROP TABLE "Measure_2027";""",
    "savepoint": """SAVEPOINT a; ALTER TABLE "User" ADD lost int; ROLLBACK TO a;
        UPDATE "User" SET email = 's' WHERE id = 42""",
}
DROPPED = """SELECT count(*) FROM vault.relation r, jsonb_array_elements(r.columns) c
WHERE c ->> 'kept_as' LIKE '~%~handle'"""


@pytest.mark.parametrize("change", SCHEMA_CHANGES)
def test_replication_goes_on_through_a_change_of_schema(host, change):
    xid, rows = written(host, SCHEMA_CHANGES[change])
    assert table(host, "SELECT * FROM vault.own_finding WHERE kind = 'not_followed'") == []
    ops = [(row["table_name"], row["op"]) for row in rows]
    if change == "new":
        assert ops == [("fresh", "I"), ("fresh", "I"), ("fresh", "D")]
    if change == "drop and create":
        assert ops == [("fresh", "X"), ("fresh", "I"), ("fresh", "I")]
        assert rows[0]["old"] == {"id": "2", "a": None}
    if change == "rename":
        assert (rows[0]["old"]["handle"], rows[0]["new"]["handle"]) == ("n", "h")
    if change == "rename of a masked one":
        assert rows[0]["new"]["secret"].startswith("enc:")
    if change == "detach and drop":
        assert ops == [("Measure_2027", "X")]
    if change == "drop":
        assert "handle" not in rows[0]["new"]
        assert ask(host, DROPPED) != "0"
    if change == "type":
        copied = "SELECT count(*) FROM public.\"User\" WHERE score = 'gone'"
        until(lambda: ask(host, copied) == production(host, 'SELECT count(*) FROM "User"'))
        archive = ask(host, ARCHIVE, name="User")
        assert ask(host, "SELECT count(*) FROM $archive WHERE score <> 'gone'", archive=archive) != "0"
    if change == "made with rows":
        until(lambda: ask(host, "SELECT CASE WHEN to_regclass('public.made') IS NOT NULL THEN 1 ELSE 0 END") == "1")
        until(lambda: ask(host, "SELECT count(*) FROM public.made") == "5")
    if rows:
        assert ask(host, "SELECT xid FROM vault.transactions WHERE tx = $tx", tx=rows[0]["tx"]) == str(xid)


ARCHIVE = """SELECT archived_as FROM vault.relation
WHERE table_name = '$name' AND archived_as IS NOT NULL ORDER BY id DESC LIMIT 1"""


def test_production_and_shadows_are_equal(host):
    settle(host)
    assert host.check_output(f"sudo -u postgres {KEEPER} drift") == ""


def test_a_shadow_is_nobodys_to_edit_by_hand(host):
    done = psql(host, "vault", 5433, "DELETE FROM public.\"User\" WHERE id = '50'")
    assert "shadow tables change by replication only" in done.stderr


def test_a_shadow_that_differs_is_a_finding(host):
    ask(host, 'ALTER TABLE public."User" DISABLE TRIGGER ALL; DELETE FROM public."User" WHERE id = \'50\'')
    ask(
        host,
        'ALTER TABLE public."User" ENABLE ALWAYS TRIGGER vault_1_mask, ENABLE ALWAYS TRIGGER vault_2_note,'
        " ENABLE ALWAYS TRIGGER vault_3_truncate",
    )
    query = "SELECT detail ->> 'table' FROM vault.finding WHERE kind = 'drift'"
    assert until(lambda: ask(host, query), 40).splitlines()[0] == 'public."User"'
    assert '"kind": "drift"' in host.check_output("journalctl -u tovplay-vault-keeper --no-pager")


def test_every_finished_transaction_is_sealed_and_anchored(host):
    settle(host)
    newest = ask(host, "SELECT max(tx) FROM vault.history")
    until(lambda: int(ask(host, "SELECT vault.horizon()")) > int(newest))
    assert ask(host, "SELECT count(*) FROM vault.broken_seals()") == "0"
    assert ask(host, "SELECT bool_and(octet_length(leaves) >= 32 * rows) FROM vault.seal") == "t"
    seals = table(host, "SELECT n, encode(root, 'hex') AS root FROM vault.seal ORDER BY n")
    until(lambda: len(host.file(ANCHORS).content_string.splitlines()) >= len(seals))
    anchors = [json.loads(line) for line in host.file(ANCHORS).content_string.splitlines()]
    assert [(a["n"], a["root"]) for a in anchors[: len(seals)]] == [(s["n"], s["root"]) for s in seals]
    assert f'"root": "{seals[-1]["root"]}"' in host.check_output("journalctl -u tovplay-vault-keeper --no-pager")


EDITS = {
    "edited": (
        "UPDATE vault.history SET old = '{}' WHERE id = $id",
        "UPDATE vault.history SET old = '$old' WHERE id = $id",
    ),
    "attributed to another": (
        "UPDATE audit.context SET db_user = 'mallory' WHERE id = $context",
        "UPDATE audit.context SET db_user = 'postgres' WHERE id = $context",
    ),
    "at another time": (
        "UPDATE vault.sealed_transaction SET commit_at = commit_at - interval '1 day' WHERE tx = $tx",
        "UPDATE vault.sealed_transaction SET commit_at = commit_at + interval '1 day' WHERE tx = $tx",
    ),
}
SEALED = """SELECT h.id, h.tx, replace(h.old::text, chr(39), chr(39) || chr(39)) AS old, c.id AS context
FROM vault.history h JOIN audit.context c USING (tx) WHERE h.old IS NOT NULL ORDER BY h.id LIMIT 1"""


@pytest.mark.parametrize("edit", EDITS)
def test_what_the_vaults_superuser_edits_is_found(host, edit):
    row = table(host, SEALED)[0]
    there, back = EDITS[edit]
    ask(host, there, **row)
    broken = table(host, "SELECT n FROM vault.broken_seals()")
    ask(host, back, **row)
    assert len(broken) == 1
    assert ask(host, "SELECT count(*) FROM vault.broken_seals()") == "0"


def test_an_edit_that_is_sealed_anew_contradicts_the_anchors(host):
    """A superuser can compute roots; the lines outside stay, since the keeper's account cannot take the file's flag."""
    done = host.run("sudo -u postgres sh -c %s", f": > {ANCHORS}")
    assert done.rc != 0
    assert "a" in host.check_output(f"lsattr {ANCHORS}").split()[0]
    assert "ermitted" in host.run(f"rm {ANCHORS}").stderr


def test_the_vault_may_be_away_and_loses_nothing(host):
    host.check_output("systemctl stop postgresql@15-vault")
    started = time.monotonic()
    for number in range(3):
        production(host, "INSERT INTO \"Game\" VALUES ($id, 'while away')", id=1000 + number)
    production(host, 'DELETE FROM "Game" WHERE id = 1000')
    kept = production(
        host,
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 0 FROM pg_replication_slots"
        " WHERE slot_name = 'tovplay_vault'",
    )
    assert kept == "t"
    assert production(host, "SHOW max_slot_wal_keep_size") == "10GB"
    assert time.monotonic() - started < 20, "production waited for the vault"
    host.check_output("systemctl start postgresql@15-vault")
    settle(host)
    rows = table(host, "SELECT op FROM vault.history WHERE coalesce(new, old) ->> 'title' = 'while away' ORDER BY id")
    assert [row["op"] for row in rows] == ["I", "I", "I", "D"]
    alarm = "journalctl -u tovplay-vault-keeper --no-pager | grep -c vault_alarm"
    assert int(host.check_output(alarm)) > 0


def test_metrics_can_be_scraped(host):
    # The test before has stopped and started the vault; both are a few seconds behind it.
    for name in ("slot_active", "applying"):
        until(lambda name=name: metrics(host)[f"tovplay_vault_{name}"] == 1)
    found = metrics(host)
    assert found["tovplay_vault_lag_bytes"] < 16_000_000
    assert found["tovplay_vault_slot_retained_bytes"] < 256_000_000


def test_a_lost_slot_opens_an_epoch_with_the_gap_named(host):
    ask(host, "ALTER SUBSCRIPTION tovplay_vault DISABLE")
    host.check_output("systemctl stop tovplay-vault-keeper")
    until(
        lambda: production(host, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'tovplay_vault'") == "t"
    )
    production(host, "SELECT pg_drop_replication_slot('tovplay_vault'); INSERT INTO \"Game\" VALUES (2000, 'unseen')")
    host.check_output("systemctl start tovplay-vault-keeper")
    until(lambda: ask(host, "SELECT max(n) FROM vault.epoch") == "2")
    settle(host)
    # The gap ends when the new baseline is whole.
    gap = until(
        lambda: (found := table(host, "SELECT * FROM vault.gap WHERE kind = 'epoch'")[0])["to_lsn"] and found, 40
    )
    assert gap["detail"]["reason"] == "production has lost the slot"
    assert gap["from_lsn"] and gap["from_at"] < gap["to_at"]
    until(lambda: ask(host, "SELECT count(*) FROM public.\"Game\" WHERE id = '2000'") == "1")
    _, rows = written(host, 'DELETE FROM "Game" WHERE id = 2000')
    assert [row["op"] for row in rows] == ["D"]
    assert ask(host, "SELECT epoch FROM vault.transactions WHERE tx = $tx", tx=rows[0]["tx"]) == "2"
    assert ask(host, "SELECT count(*) FROM vault.broken_seals()") == "0"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"audit_vault_tables": [{"name": "User", "columns": {"x": "secret"}}]},
            "column x of User has the policy 'secret'; choose plain",
        ),
        (
            {"audit_vault_people": [{"name": "dana", "may": "rule"}]},
            "dana may 'rule'; choose read, investigate, restore",
        ),
        (
            {"audit_vault_pki_directory": "/etc/none"},
            "has no /etc/none/host.crt, and production lets the vault in by its",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_refused_in_one_sentence_before_anything_changes(refusal, variables, sentence):
    refusal(sentence, **variables)
