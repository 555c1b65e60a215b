"""A thousand hostile users against the server, upstream's mkauth.py and real logins; auth_query."""

from __future__ import annotations

import json
import random

import pytest
from ansible.module_utils import pg_scram
from ansible.module_utils.pgbouncer_userlist import parse
from conftest import APP, DEBIAN, HOST, MONITOR, console, in_each_version, on_host, succeed

testinfra_hosts = [f"docker://{HOST}"]
LIVE = "/etc/tovplay/pgbouncer/userlist.txt"
LETTERS = "abcXYZ019_.-"
# No brace: Ansible would take it for a template, which is the inventory's business.
HOSTILE = "@\"'\\;%$#&|<>()[]!?*=,:/ \u05d0\u05e9\u05b0e\u0301\u00e9\u00df\u0640\U0001f600"
# What SASLprep maps, folds, prohibits or mixes up in direction.
TRICKY = "\u00a0\u00ad\u200b\u2000\u2168\u00aa\ufb01\u0340\u0627\u05d0\u0661a1\U0001f100\U0001f600\ufeff\u1806"
SPECIAL = [
    '"',
    "\\",
    "@",
    " a b ",
    "it's",
    '""',
    "raz@tovtech.org;--",
    "\u05e9\u05dc\u05d5\u05dd",
    "caf\u00e9",
    "cafe\u0301",
]


def hostile_roles(seed: int, count: int) -> dict[str, str]:
    """Name -> password, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 (not a secret)

    def text(alphabet: str, most: int, least: int = 1) -> str:
        return "".join(dice.choice(alphabet) for _ in range(dice.randint(least, most)))

    names = {name for name in SPECIAL if not name.startswith("pg_")}
    while len(names) < count:
        name = text(LETTERS + HOSTILE, 30)
        if len(name.encode()) <= 63 and not name.startswith("pg_"):
            names.add(name)
    # Not shorter: Ansible blots a password out wherever it appears in an answer, in names too.
    return {name: text(LETTERS + HOSTILE + TRICKY * 2, 16, 8) for name in sorted(names)}


def manage(converge, tmp_path, users, *, check=False, **variables) -> dict:
    """Run the module through Ansible and hand back what it answered."""
    wanted, answer = tmp_path / "users.json", tmp_path / "answer.json"
    wanted.write_text(json.dumps(users))
    variables |= {"userlist_users": str(wanted), "userlist_answer": str(answer)}
    output = succeed(converge(playbook="userlist.yml", check=check, **variables))
    return {**json.loads(answer.read_text()), "output": output}


def lines(content: str) -> set[str]:
    """Lines with their first two fields; mkauth.py of 1.18 writes an empty third."""
    return {line.removesuffix(' ""') if line.count('" "') > 1 else line for line in content.split("\n") if line}


@pytest.fixture
def strangers(version):
    """A thousand roles that may log in to TovPlay, with passwords as four kinds of history left them."""
    roles = hostile_roles(1180 if version.startswith("1.18") else 1241, 1000)
    group = [["CREATE ROLE strangers NOLOGIN", [], []]]
    group += [['GRANT CONNECT ON DATABASE "TovPlay" TO strangers', [], []]]
    statements = []
    for number, (name, password) in enumerate(roles.items()):
        statements.append(["CREATE ROLE {} LOGIN IN ROLE strangers", [name], []])
        if number % 4 == 0:  # the server hashed it: its SASLprep is the judge of ours
            statements.append(["ALTER ROLE {} PASSWORD {}", [name], [password]])
        elif number % 4 == 1:
            statements.append(["SET password_encryption = md5", [], []])
            statements.append(["ALTER ROLE {} PASSWORD {}", [name], [password]])
            statements.append(["RESET password_encryption", [], []])
        elif number % 4 == 2:
            verifier = pg_scram.derive(password, name.encode()[:16], 100 + number)
            statements.append(["ALTER ROLE {} PASSWORD {}", [name], [str(verifier)]])
    on_host("as_postgres", statements=[*group, *statements])
    yield roles
    gone = [["DROP ROLE {}", [name], []] for name in roles]
    gone += [['REVOKE CONNECT ON DATABASE "TovPlay" FROM strangers', [], []], ["DROP ROLE strangers", [], []]]
    on_host("as_postgres", statements=gone)


def entry(number: int, name: str, password: str) -> dict:
    return {"name": name, "method": "verifier"} if number % 4 in (1, 2) else {"name": name, "password": password}


@in_each_version
def test_a_thousand_hostile_roles(host, version, converge, tmp_path, strangers):
    debian = DEBIAN[version]
    users = [entry(number, *role) for number, role in enumerate(strangers.items())]
    by_kind = [[name for number, name in enumerate(strangers) if number % 4 == kind] for kind in range(4)]
    before = set(parse(host.file(LIVE).content.decode()).secrets)

    first = manage(converge, tmp_path, users, userlist_path=LIVE)
    # Only roles without a password got one: for the server's own hashes our SASLprep arrived at the same keys.
    assert sorted(first["altered_roles"]) == sorted(by_kind[3])
    assert sorted(first["added"]) == sorted(strangers)
    assert not [password for password in strangers.values() if password in first["output"]]
    if debian == "bookworm":  # the module does not know the pooler's version
        assert not manage(converge, tmp_path, users, userlist_path=LIVE)["changed"]

    # Upstream's own writer, from the same server, makes the same lines.
    host.check_output(
        "docker cp pgbouncer:/usr/share/pgbouncer/mkauth.py /tmp/mkauth.py && install -d -o postgres /tmp/mk"
    )
    host.check_output("cd /tmp/mk && sudo -u postgres python3 /tmp/mkauth.py /tmp/mk/users.txt 'dbname=postgres'")
    ours, theirs = (lines(host.file(path).content.decode()) for path in (LIVE, "/tmp/mk/users.txt"))  # noqa: S108
    assert len(ours) == len(strangers) + len(before)
    assert ours <= theirs

    # The daemon reads the same thousand names, byte for byte.
    console("RELOAD")
    shown = {row["name"].encode() for row in console("SHOW USERS")[0]} - {b"pgbouncer"}
    assert shown >= {name.encode() for name in [*strangers, *before]}

    # And lets them in: through the pooler, as themselves (md5 roles do not pass pg_hba.conf, which asks for SCRAM).
    tried = [name for name in SPECIAL if name not in by_kind[1]] + by_kind[0][:6] + by_kind[2][:6] + by_kind[3][:6]
    for name in tried:
        person = {"user": name, "password": strangers[name]}
        answer = on_host("query", statement="SELECT session_user::text AS who", **person)
        assert answer.get("rows") == [{"who": name}], (name, answer)
        assert "error" in on_host("query", statement="SELECT 1", user=name, password=strangers[name] + "x")

    # The role's list is exclusive: one converge, and none of them is left.
    succeed(converge(platform_pgbouncer_debian=debian))
    assert set(parse(host.file(LIVE).content.decode()).secrets) == before
    for name in tried[:5]:
        assert "error" in on_host("query", statement="SELECT 1", user=name, password=strangers[name])


def test_passwords_as_the_server_prepares_them():
    """SASLprep where it is hard: 400 passwords of nothing but tricky characters."""
    dice = random.Random(4711)  # noqa: S311 (not a secret)
    passwords = ["".join(dice.choice(TRICKY) for _ in range(dice.randint(1, 6))) for _ in range(400)]
    statements = [["CREATE TEMP TABLE seen (n serial, rolpassword text)", [], []], ["CREATE ROLE prepared", [], []]]
    for password in passwords:
        statements.append(["ALTER ROLE prepared PASSWORD {}", [], [password]])
        taken = "INSERT INTO seen (rolpassword) SELECT rolpassword FROM pg_authid WHERE rolname = 'prepared'"
        statements.append([taken, [], []])
    statements += [["DROP ROLE prepared", [], []], ["SELECT rolpassword FROM seen ORDER BY n", [], []]]
    stored = [row["rolpassword"] for row in on_host("as_postgres", statements=statements, fetch=True)]
    assert len(stored) == len(passwords)
    for password, secret in zip(passwords, stored, strict=True):
        assert pg_scram.matches(password, pg_scram.parse(secret)), ascii(password)


REFUSED = [
    ("control-character", {"name": "a\nb", "password": "xxxxxxxx"}, "control character"),
    ("long-name", {"name": '"' * 64, "password": "xxxxxxxx", "server_role": False}, "128 bytes as written"),
    ("name-postgresql-cuts", {"name": "n" * 64, "password": "xxxxxxxx"}, "cuts names at 63"),
    ("empty-name", {"name": "", "password": "xxxxxxxx"}, "the name is empty"),
    ("looks-stored", {"name": "a", "password": "md5" + "0" * 32}, "looks like a stored secret"),
    ("plain", {"name": "a", "password": "xxxxxxxx", "method": "plain"}, "for auth_user only"),
    ("no-such-role", {"name": "ghost", "password": "xxxxxxxx"}, "PostgreSQL has no such role"),
    ("superuser", {"name": "postgres", "password": "xxxxxxxx"}, "it is a superuser"),
    ("twice", None, "listed twice"),
]


def test_every_refusal_names_the_entry_and_leaves_the_file(host, converge, tmp_path):
    before = host.file(LIVE).content, host.file(LIVE).mtime
    good = {"name": APP["user"], "method": "verifier"}
    cases = [[good, user] if user else [{"name": "a", "password": "xxxxxxxx"}] * 2 for _, user, _ in REFUSED]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    answers = tmp_path / "answers.json"
    output = succeed(
        converge(
            playbook="refused_users.yml",
            userlist_cases=str(tmp_path / "cases.json"),
            userlist_path=LIVE,
            userlist_answers=str(answers),
        )
    )
    for (name, _, why), said in zip(REFUSED, json.loads(answers.read_text()), strict=True):
        assert why in said, (name, said)
        assert said.endswith(f"{LIVE} is as it was.")
    assert "xxxxxxxx" not in output
    assert (host.file(LIVE).content, host.file(LIVE).mtime) == before


def test_drift_is_told_and_healed(converge, tmp_path):
    on_host("as_postgres", statements=[["ALTER ROLE {} PASSWORD {}", [APP["user"]], ["changed behind our back"]]])
    console("RECONNECT")  # what is logged in stays so
    assert "error" in on_host("query", statement="SELECT 1", **APP)
    done = manage(converge, tmp_path, [{"name": APP["user"], "password": APP["password"]}], userlist_path=LIVE)
    assert done["drift"] == [
        {"name": APP["user"], "problem": "the role's stored secret is another one", "repaired": True}
    ]
    assert done["altered_roles"] == [APP["user"]]
    assert "rows" in on_host("query", statement="SELECT 1", **APP)


ASKED = [
    # id, how the role is made, whether it may come in
    ("ordinary", "CREATE ROLE {} LOGIN PASSWORD {}", True),
    ("valid", "CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'", True),
    ("expired", "CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL '2020-01-01'", False),
    ("nologin", "CREATE ROLE {} NOLOGIN PASSWORD {}", False),
    ("superuser", "CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}", False),
]


@in_each_version
def test_auth_query(host, version, converge):
    """No user in the file but the console's; PostgreSQL is asked by a function that tells nobody else."""
    debian = DEBIAN[version]
    inputs = {"platform_pgbouncer_debian": debian, "pgbouncer_auth_query": True}
    inputs["pgbouncer_users"] = [{"name": MONITOR["user"], "password": MONITOR["password"]}]
    names = {row[0]: f'asked "{row[0]}" @\u05d0' for row in ASKED}
    made = [[text, [names[key]], ["a pass word"]] for key, text, _ in ASKED]
    made += [['GRANT CONNECT ON DATABASE "TovPlay" TO {}', [name], []] for name in names.values()]
    on_host("as_postgres", statements=made)
    try:
        succeed(converge(**inputs))
        assert set(parse(host.file(LIVE).content.decode()).secrets) == {MONITOR["user"], "pgbouncer_auth"}
        for key, _, may in ASKED:
            answer = on_host(
                "query", statement="SELECT session_user::text AS who", user=names[key], password="a pass word"
            )
            assert ("rows" in answer) is may, (key, answer)
            assert not may or answer["rows"] == [{"who": names[key]}]
        assert "rows" in on_host("query", statement="SELECT 1", **APP)
        # A password that has expired opens nothing, not even a server connection that is still there (CVE-2025-2291).
        on_host("as_postgres", statements=[["ALTER ROLE {} VALID UNTIL '2020-01-01'", [names["valid"]], []]])
        assert "error" in on_host("query", statement="SELECT 1", user=names["valid"], password="a pass word")
        assert "error" in on_host("query", statement="SELECT 1", user=names["ordinary"], password="a wrong word")

        if debian != "bookworm":
            return  # the function does not know the pooler's version
        lookup = "SELECT * FROM pgbouncer.user_lookup('raz@tovtech.org')"
        assert "permission denied" in on_host("query", statement=lookup, **APP)["error"]
        # A hole that somebody opened is closed, and otherwise nothing is done.
        opened = [["GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO PUBLIC", [], []]]
        opened += [["GRANT USAGE ON SCHEMA pgbouncer TO PUBLIC", [], []]]
        on_host("as_postgres", statements=opened, dbname="TovPlay")
        assert "rows" in on_host("query", statement=lookup, **APP)
        succeed(converge(**inputs))
        assert "permission denied" in on_host("query", statement=lookup, **APP)["error"]
        assert "changed=0" in succeed(converge(**inputs))
    finally:
        gone = [['REVOKE CONNECT ON DATABASE "TovPlay" FROM {}', [name], []] for name in names.values()]
        on_host("as_postgres", statements=gone + [["DROP ROLE {}", [name], []] for name in names.values()])
        succeed(converge(platform_pgbouncer_debian=debian))
    # Back in the file: 1.18 would end itself at this login if it had only been told to reload.
    assert "rows" in on_host("query", statement="SELECT 1", **APP)
    assert "FATAL @" not in host.check_output("docker logs --since 600s pgbouncer 2>&1")
