"""Ask the running server: memory, log, TLS, who may do what, and what happens to a bad or interrupted converge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid

import pytest
from passwords import APP, PASSWORDS

testinfra_hosts = ["docker://tovplay-postgresql"]

LOG = "/var/log/tovplay/postgresql"
CONF = "/etc/postgresql/15/main/conf.d/10-tovplay.conf"
MARKER = "/var/lib/tovplay/applied/postgresql"


def sql(host, query, database="postgres"):
    """As the superuser, through the socket."""
    return host.check_output("sudo -u postgres psql -X -At -v ON_ERROR_STOP=1 -d %s -c %s", database, query)


def sql_as(host, role, query, database="TovPlay", address="127.0.0.1", extra="", name="verifier"):
    where = f"host={address} dbname={database} user={role} connect_timeout=5 application_name={name} {extra}"
    return host.run("PGPASSWORD=%s psql -X -At -v ON_ERROR_STOP=1 %s -c %s", PASSWORDS.get(role, "wrong"), where, query)


def started_at(host):
    return sql(host, "SELECT pg_postmaster_start_time()")


def log_lines(host):
    return [json.loads(line) for line in host.check_output(f"cat {LOG}/*.json").splitlines()]


def lines_until_goodbye(host, name, sessions=1):
    """The log writes a session's last line a moment after the client is gone."""
    count = f"grep -h 'disconnection.*{name}' {LOG}/*.json | wc -l"
    host.check_output("timeout 10 sh -c %s", f"until [ $({count}) = {sessions} ]; do sleep 0.05; done")
    return log_lines(host)


@pytest.fixture(scope="module")
def tables(host):
    """Two of the application's tables, made by the migrator after the privileges were set."""
    done = sql_as(
        host,
        "tovplay_migrator",
        'DROP TABLE IF EXISTS "Game", "User";'
        'CREATE TABLE "User" (id serial PRIMARY KEY, email text); CREATE TABLE "Game" (id int, player int)',
    )
    assert done.rc == 0, done.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("shared_buffers", "128MB"),  # 25 % of 512 MB
        ("effective_cache_size", "384MB"),  # 75 %
        ("maintenance_work_mem", "32MB"),  # a sixteenth
        ("work_mem", "1310kB"),  # (512 - 128) MB over 100 connections with 3 sorts each
        ("max_connections", "100"),
        ("wal_level", "logical"),
        ("track_commit_timestamp", "on"),
        ("archive_mode", "on"),
        ("archive_command", "/bin/true"),
        ("max_replication_slots", "10"),
        ("max_wal_senders", "10"),
        ("max_slot_wal_keep_size", "10GB"),
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("log_destination", "jsonlog"),
        ("log_truncate_on_rotation", "off"),
        ("ssl", "on"),
    ],
)
def test_setting(host, setting, value):
    assert sql(host, f"SHOW {setting}") == value


def test_nothing_waits_for_a_restart(host):
    assert sql(host, "SELECT name FROM pg_settings WHERE pending_restart") == ""


def test_it_listens_where_it_should_and_nowhere_else(host):
    sockets = host.check_output("ss -Hltn 'sport = :5432'").splitlines()
    assert sorted(line.split()[3] for line in sockets) == ["127.0.0.1:5432", "172.17.0.1:5432"]
    assert "docker.service" in host.check_output("systemctl show postgresql@15-main -p After")


def test_tls_with_the_certificate_of_the_host(host):
    done = sql_as(
        host,
        APP,
        "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        address="localhost",
        extra="hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=/etc/tovplay/pki/ca.crt",
    )
    assert done.stdout.strip() == "t|TLSv1.3", done.stderr


def test_no_role_is_more_than_it_must_be(host):
    query = """SELECT rolname FROM pg_roles WHERE rolname <> 'postgres' AND rolname NOT LIKE 'pg\\_%'
               AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication)"""
    assert sql(host, query) == ""
    assert sql(host, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tovplay_owner'") == "f"
    assert sql(host, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'TovPlay'") == "tovplay_owner"


def test_the_migrator_makes_tables_that_belong_to_the_owner(host, tables):
    owners = sql(host, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", "TovPlay")
    assert owners == "tovplay_owner"


def test_the_application_reads_and_writes(host, tables):
    done = sql_as(
        host,
        APP,
        """INSERT INTO "User" (email) VALUES ('a@example.org'); UPDATE "User" SET email = 'b@example.org';
           SELECT count(*) FROM "User"; DELETE FROM "User" """,
    )
    assert done.rc == 0, done.stderr
    assert done.stdout.split() == ["1"] or "1" in done.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        'TRUNCATE "User"',
        'DROP TABLE "User"',
        'ALTER TABLE "User" ADD COLUMN x int',
        'ALTER TABLE "User" DISABLE TRIGGER ALL',
        'CREATE RULE r AS ON DELETE TO "User" DO INSTEAD NOTHING',
        'CREATE TRIGGER t BEFORE DELETE ON "User" EXECUTE FUNCTION suppress_redundant_updates_trigger()',
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (id int)",
        "DROP SCHEMA public CASCADE",
        'DROP DATABASE "TovPlay"',
        "CREATE ROLE mine",
        "SET ROLE tovplay_owner",
        "SET session_replication_role = replica",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
def test_the_application_may_not(host, tables, statement):
    done = sql_as(host, APP, statement)
    assert done.rc != 0
    assert any(text in done.stderr for text in ("permission denied", "must be owner", "must be superuser")), done.stderr


@pytest.mark.parametrize(
    ("role", "database", "address", "expected"),
    [
        (APP, "postgres", "127.0.0.1", "pg_hba.conf rejects connection"),
        (APP, "TovPlay", "172.17.0.1", "pg_hba.conf rejects connection"),
        ("postgres", "postgres", "127.0.0.1", "pg_hba.conf rejects connection"),
        ("pgbouncer_auth", "TovPlay", "172.17.0.1", "pg_hba.conf rejects connection"),
        ("nobody", "TovPlay", "127.0.0.1", "authentication failed"),
        ("tovplay_migrator", "TovPlay", "172.17.0.1", None),
        ("tovplay_monitor", "TovPlay", "127.0.0.1", None),
        ("pgbouncer_auth", "TovPlay", "127.0.0.1", None),
    ],
)
def test_who_comes_in_from_where(host, role, database, address, expected):
    done = sql_as(host, role, "SELECT 1", database, address)
    if expected:
        assert done.rc != 0
        assert expected in done.stderr
    else:
        assert done.rc == 0, done.stderr


def test_the_monitor_sees_everybody_and_changes_nothing(host, tables):
    assert sql_as(host, "tovplay_monitor", "SELECT count(*) FROM pg_stat_activity WHERE query IS NOT NULL").rc == 0
    assert "permission denied" in sql_as(host, "tovplay_monitor", 'SELECT * FROM public."User"').stderr


def test_every_log_line_is_json_and_its_reader_is_the_group(host):
    assert len(log_lines(host)) > 10
    files = f"ls {LOG}/*.json | wc -l"
    before = host.check_output(files)
    sql(host, "SELECT pg_rotate_logfile()")  # a new file, so that its mode is today's setting
    host.check_output("timeout 10 sh -c %s", f"until [ $({files}) -gt {before} ]; do sleep 0.1; done")
    assert host.check_output(f"stat -c '%a %U %G' {LOG}") == "2750 postgres adm"
    assert set(host.check_output(f"stat -c '%a %U %G' {LOG}/*.json").splitlines()) == {"640 postgres adm"}


def test_a_failed_login_is_logged_with_its_address(host):
    name = f"probe-{uuid.uuid4().hex}"  # as the database: a session that fails has no application_name yet
    assert sql_as(host, "nobody", "SELECT 1", database=name).rc != 0
    assert sql_as(host, APP, "SELECT 1", name=name).rc == 0
    lines = [line for line in lines_until_goodbye(host, name) if line.get("dbname") == name]
    failed = [line for line in lines if "password authentication failed" in line["message"]]
    assert {(x["user"], x["remote_host"], x["error_severity"]) for x in failed} == {("nobody", "127.0.0.1", "FATAL")}


def test_logins_slow_and_failing_statements_are_logged(host):
    name = f"probe-{uuid.uuid4().hex}"
    sql_as(host, APP, "SELECT pg_sleep(0.6)", name=name)
    sql_as(host, APP, "SELECT no_such_column", name=name)
    lines = lines_until_goodbye(host, name, sessions=2)
    sessions = {line["session_id"] for line in lines if line.get("application_name") == name}
    lines = [line for line in lines if line["session_id"] in sessions]
    messages = " ".join(line["message"] for line in lines)
    assert messages.count("connection received") == messages.count("connection authorized") == 2
    assert messages.count("disconnection: session time") == 2
    assert "statement: SELECT pg_sleep(0.6)" in messages
    assert [x["statement"] for x in lines if x["error_severity"] == "ERROR"] == ["SELECT no_such_column"]


def test_old_log_files_go_and_young_ones_stay(host):
    host.check_output(f"touch -m -d '8 days ago' {LOG}/old.json && touch -m -d '6 days ago' {LOG}/young.json")
    host.check_output("systemd-tmpfiles --clean /etc/tmpfiles.d/tovplay-postgresql.conf")
    assert not host.file(f"{LOG}/old.json").exists
    assert host.file(f"{LOG}/young.json").exists
    host.check_output(f"rm {LOG}/young.json")
    assert host.check_output("systemctl is-active systemd-tmpfiles-clean.timer") == "active"


def verifier(password, salt=b"0123456789abcdef", iterations=4096):
    """What another tool would store for the same password, with a salt of its own (RFC 5802)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    keys = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    stored, server = (base64.b64encode(key).decode() for key in keys)
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


def test_a_second_converge_keeps_foreign_salts_and_foreign_access_rules(host, converge):
    """And with them ends at changed=0."""
    theirs = verifier(PASSWORDS[APP])
    sql(host, f"ALTER ROLE \"{APP}\" PASSWORD '{theirs}'")
    foreign = "host\tall\tbackup\t10.1.0.0/16\treject   # theirs"
    hba = "/etc/postgresql/15/main/pg_hba.conf"
    host.check_output("printf '%%s\\n' %s >> %s", foreign, hba)
    done = converge()
    assert "changed=0" in done.stdout, done.stdout[-3000:]
    assert theirs in sql(host, "SELECT array_agg(rolpassword) FROM pg_authid")
    assert sql_as(host, APP, "SELECT 1").rc == 0
    lines = host.file(hba).content_string.splitlines()
    assert lines[0].startswith("# BEGIN tovplay")
    assert lines[-1] == foreign
    assert lines.index(foreign) > lines.index("# END tovplay")


def test_a_restart_only_for_what_needs_one(host, converge):
    before = started_at(host)
    host.check_output(f"cp -a {CONF} /root/with-100.conf")
    done = converge(postgresql_log_min_duration_ms=750, postgresql_settings={"random_page_cost": 1.1})
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql(host, "SHOW log_min_duration_statement") == "750ms"
    assert sql(host, "SHOW random_page_cost") == "1.1"
    assert started_at(host) == before, "restarted for settings that a reload applies"
    done = converge(postgresql_max_connections=110)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Restart for max_connections]" in " ".join(done.stdout.split())
    assert sql(host, "SHOW max_connections") == "110"
    assert started_at(host) != before


def test_an_interrupted_converge_is_finished_by_the_next(host, converge):
    """Files in place, server not yet restarted: what a kill between the two leaves behind. Also leads back to 100."""
    assert sql(host, "SHOW max_connections") == "110"
    host.check_output(f"cp -a /root/with-100.conf {CONF} && rm {MARKER}")
    done = converge()
    assert done.returncode == 0, done.stdout[-3000:]
    assert sql(host, "SHOW max_connections") == "100"
    assert host.file(MARKER).exists


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"random_page_coast": 1}, 'unrecognized configuration parameter "random_page_coast"'),
        ({"checkpoint_timeout": "soon"}, 'invalid value for parameter "checkpoint_timeout"'),
    ],
)
def test_what_postgresql_refuses_never_lands(host, refusal, settings, sentence):
    before = host.file(CONF).content_string, started_at(host)
    said = refusal(sentence, postgresql_settings=settings)
    assert "the old files are untouched" in said
    assert (host.file(CONF).content_string, started_at(host)) == before
    assert host.check_output("ls -A /etc/postgresql/15/main/conf.d") == "10-tovplay.conf"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"__postgresql_platform": "/nowhere"}, "role postgresql knows Debian 12 and 13"),
        ({"postgresql_version": 13}, "Debian 12 has PostgreSQL 15, not 13; set platform_versions.postgresql"),
        ({"postgresql_tls_directory": "/etc/none"}, "has no /etc/none/host.crt; run ansible-playbook site.yml"),
        ({"postgresql_roles": [{"nam": "x"}]}, "missing required arguments: name"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_refused_in_one_sentence_before_anything_changes(refusal, variables, sentence):
    refusal(sentence, **variables)


def test_everything_that_is_wrong_is_said_at_once(refusal):
    """Each sentence has its table in the unit tests; here they reach the user, without the secrets."""
    said = refusal(
        "'tovplay_migrator' has an empty password; put its vault_* value",
        vault_postgresql_app_password="CHANGEME-4711",
        vault_postgresql_migrator_password="",
        postgresql_max_connections=1000,
        postgresql_settings={"wal_level": "minimal"},
        postgresql_listen_addresses=["*"],
    )
    assert f"'{APP}' still has a placeholder as its password" in said
    assert "512 MB bear 128 connections of 3 x 1 MB work_mem" in said
    assert "postgresql_settings may not set wal_level" in said
    assert "has '*'; write an address" in said
    assert "4711" not in said


def test_a_setting_that_alter_system_overrides_is_named(host, refusal):
    sql(host, "ALTER SYSTEM SET log_lock_waits = off")
    try:
        refusal("log_lock_waits in /var/lib/postgresql/15/main/postgresql.auto.conf comes last; take the line out")
    finally:
        sql(host, "ALTER SYSTEM RESET log_lock_waits")


def test_an_application_that_owns_its_tables_is_refused_or_relieved(host, converge, refusal):
    sql(host, 'DROP TABLE IF EXISTS "Old"', "TovPlay")
    sql(host, f'CREATE TABLE "Old" (id int); ALTER TABLE "Old" OWNER TO "{APP}"', "TovPlay")
    refusal(f'{APP} owns 1 objects, such as "Old", and an owner can TRUNCATE and DROP')
    database = {"name": "TovPlay", "owner": "tovplay_owner", "writers": [APP], "reassign_from": [APP]}
    database |= {"creators": ["tovplay_migrator"], "connectors": ["tovplay_monitor", "pgbouncer_auth"]}
    done = converge(postgresql_databases=[database])
    assert done.returncode == 0, done.stdout[-3000:]
    assert "permission denied" in sql_as(host, APP, 'TRUNCATE "Old"').stderr
    assert sql_as(host, APP, 'DELETE FROM "Old"').rc == 0
    sql(host, 'DROP TABLE "Old"', "TovPlay")


def test_privileges_that_somebody_widened_are_taken_back(host, converge, tables):
    sql(host, f'GRANT TRUNCATE ON "User" TO "{APP}"; GRANT CREATE ON SCHEMA public TO "{APP}"', "TovPlay")
    sql(host, f'REVOKE DELETE ON "Game" FROM "{APP}"; GRANT CONNECT ON DATABASE "TovPlay" TO PUBLIC', "TovPlay")
    assert converge().returncode == 0
    assert "permission denied" in sql_as(host, APP, 'TRUNCATE "User"').stderr
    assert "permission denied" in sql_as(host, APP, "CREATE TABLE mine (id int)").stderr
    assert sql_as(host, APP, 'DELETE FROM "Game"').rc == 0
    public = "SELECT has_database_privilege('public', 'TovPlay', 'CONNECT')"
    assert sql(host, public) == "f"


def test_no_password_and_no_verifier_in_any_log(host):
    logs = host.check_output(f"cat {LOG}/* /var/log/postgresql/*")
    assert not [role for role, password in PASSWORDS.items() if password in logs]


def test_it_comes_back_after_a_reboot_of_postgresql(host):
    """Last: the unit starts the cluster by itself and takes both addresses again."""
    host.check_output("systemctl restart postgresql@15-main")
    host.check_output("timeout 20 sh -c 'until pg_isready -q -h 172.17.0.1; do sleep 0.2; done'")
    assert host.check_output("systemctl is-enabled postgresql@15-main").startswith("enabled")
