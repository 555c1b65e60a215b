"""The userlist as a value: what is refused, what round-trips, what a plan changes."""

from __future__ import annotations

import pytest
from ansible.module_utils import pg_scram
from ansible.module_utils.pgbouncer_userlist import (
    Drift,
    Entry,
    EntryError,
    ServerRole,
    Userlist,
    UserlistError,
    UserlistSyntaxError,
    Wanted,
    check_entry,
    check_wanted,
    parse,
    plan,
    render,
)
from hypothesis import given
from hypothesis import strategies as st

APP = "raz@tovtech.org"
STORED = str(pg_scram.derive("pencil", b"0123456789abcdef", 2))
OTHER = str(pg_scram.derive("other", b"fedcba9876543210", 2))
MD5 = pg_scram.md5_secret("pencil", "alice")


def userlist(**secrets: str) -> Userlist:
    return Userlist(tuple(Entry(name, secret) for name, secret in secrets.items()))


def mint(password: str) -> pg_scram.Verifier:
    """A salt that a test can predict."""
    return pg_scram.derive(password, b"freshly made salt", 2)


def daemon_reads(text: str) -> dict[str, str]:
    """load_auth_file() of PgBouncer 1.18's src/loader.c, statement by statement, on bytes."""
    data, at, users = text.encode() + b"\0", 0, {}

    def find_quote(at: int, start: bool) -> int:
        while data[at] and data[at] != ord('"'):
            at += 1
        while data[at : at + 2] == b'""' and not start:
            at += 2
            while data[at] and data[at] != ord('"'):
                at += 1
        return at

    while data[at]:
        while data[at] and data[at : at + 1].isspace():
            at += 1
        if not data[at]:
            break
        if data[at] == ord(";"):
            while data[at] and data[at] != ord("\n"):
                at += 1
            continue
        fields = []
        for limit in (128, 2048):
            begin = at if not fields else find_quote(at, True)
            end = find_quote(begin + 1, False) if data[begin] == ord('"') else begin
            if data[begin] != ord('"') or data[end] != ord('"') or end - begin - 1 >= limit:
                return users
            fields.append(data[begin + 1 : end].replace(b'""', b'"').decode())
            at = end + 1
        users[fields[0]] = fields[1]
        while data[at] and data[at] != ord("\n"):
            at += 1
    return users


FIELDS = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30)
HOSTILE = st.text(st.sampled_from("\"'\\;@ =%$#a\u05d0e\u0301"), min_size=1, max_size=40)


@given(st.dictionaries(FIELDS | HOSTILE, FIELDS | HOSTILE | st.just(""), max_size=8))
def test_what_is_rendered_is_what_the_daemon_reads(secrets):
    text = render(userlist(**secrets))
    assert parse(text).secrets == secrets
    assert daemon_reads(text) == secrets


@given(st.text(st.sampled_from('"a \t\n;\\@\u05d0\r\x0b'), max_size=60))
def test_what_is_accepted_is_what_the_daemon_reads(text):
    try:
        accepted = parse(text).secrets
    except UserlistSyntaxError:
        return
    assert daemon_reads(text) == accepted


READABLE = [
    ("nothing", "", {}),
    ("at-sign", '"raz@tovtech.org" "x"\n', {APP: "x"}),
    ("inner-quotes-doubled", '"a""b" "c""""d"', {'a"b': 'c""d'}),
    ("third-field-of-mkauth-1.18", '"a" "b" ""\n', {"a": "b"}),
    ("tabs-blank-lines-crlf", '\r\n\t"a"\t"b"\r\n\n"c" "d"\r\n', {"a": "b", "c": "d"}),
    ("comment", '; "x" "y"\n"a" "b"', {"a": "b"}),
    ("backslash-is-no-escape", '"a\\" "b\\"', {"a\\": "b\\"}),
    ("nfc-and-nfd-are-two-users", '"\u00e9" "1"\n"e\u0301" "2"', {"\u00e9": "1", "e\u0301": "2"}),
    ("empty-secret-of-mkauth", '"a" ""', {"a": ""}),
]


@pytest.mark.parametrize(("text", "secrets"), [row[1:] for row in READABLE], ids=[row[0] for row in READABLE])
def test_parse(text, secrets):
    assert parse(text).secrets == secrets


UNREADABLE = [
    ("no-quotes", "a b", 1, "doubled"),
    ("no-secret", '"a"', 1, "doubled"),
    ("single-quote-inside", '"ok" "x"\n"a"b" "c"', 2, "doubled"),
    ("fields-touch", '"a""b"', 1, "doubled"),
    ("open-quote-swallows-next-line", '"a" "b\n"c" "d"', 1, "doubled"),
    ("smuggled-user", '"evil" ""\n"admin2" "pw" "" trailing', 2, "doubled"),
    ("duplicate", '"a" "1"\n"b" "2"\n"a" "3"', 3, "already on line 1"),
    ("byte-order-mark", '\ufeff"a" "b"', 1, "doubled"),
    ("nul", '"a" "b"\n; \0', 2, "NUL"),
    ("control-character", '"a\x07" "b"', 1, r"control character .*U\+0007"),
    ("empty-name", '"" "b"', 1, "empty"),
    ("long-name", f'"{"n" * 128}" "b"', 1, "128 bytes as written"),
    ("long-secret", f'"a" "{"s" * 2048}"', 1, "2048 bytes as written"),
]


@pytest.mark.parametrize(("text", "line", "why"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_parse_refuses(text, line, why):
    with pytest.raises(UserlistSyntaxError, match=why) as caught:
        parse(text)
    assert caught.value.line_no == line


LIMITS = [
    ("name-fits", "n" * 127, "s", True),
    ("name-too-long", "n" * 128, "s", False),
    ("doubled-quotes-fit", '"' * 63, "s", True),
    ("doubled-quotes-count-twice", '"' * 64, "s", False),
    ("hebrew-fits", "\u05d0" * 63, "s", True),
    ("hebrew-counts-bytes", "\u05d0" * 64, "s", False),
    ("secret-fits", "a", "s" * 2047, True),
    ("secret-too-long", "a", "s" * 2048, False),
    ("lone-surrogate", "a\udc80", "s", False),
    ("line-separator", "a", "s\u2028", False),
]


@pytest.mark.parametrize(("name", "secret", "fits"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_limits_are_the_daemons(name, secret, fits):
    if fits:
        check_entry(name, secret)
        assert daemon_reads(render(userlist(**{name: secret}))) == {name: secret}
    else:
        with pytest.raises(EntryError):
            check_entry(name, secret)


REFUSED = [
    ("twice", [Wanted("a", password="x"), Wanted("a", password="y")], "listed twice"),
    ("empty-name", [Wanted("", password="x")], "name is empty"),
    ("newline-in-name", [Wanted("a\n", password="x")], r"line break \(U\+000A\) at position 2"),
    ("newline-in-password", [Wanted("a", password="x\ny")], r"the password .*U\+000A"),
    ("no-password", [Wanted("a")], "needs a password"),
    ("empty-password", [Wanted("a", password="")], "needs a password"),
    ("long-password", [Wanted("a", password="x" * 2048)], "2048 bytes"),
    ("name-postgresql-cuts", [Wanted("n" * 64, password="x")], "cuts names at 63"),
    ("plain-not-auth-user", [Wanted("a", method="plain", password="x")], "auth_user only"),
    ("plain-too-long-to-log-in", [Wanted("auth", method="plain", password="x" * 1025)], "over 1024 bytes"),
    ("looks-like-scram", [Wanted("a", password=STORED)], "looks like a stored secret"),
    ("looks-like-broken-scram", [Wanted("a", password=STORED[:-9])], "looks like a stored secret"),
    ("looks-like-md5", [Wanted("a", method="md5", password=MD5)], "looks like a stored secret"),
    ("verifier-is-a-password", [Wanted("a", method="verifier", verifier="secret")], "neither SCRAM-SHA-256 nor md5"),
    ("verifier-and-password", [Wanted("a", method="verifier", verifier=STORED, password="x")], "takes no password"),
    ("verifier-without-method", [Wanted("a", verifier=STORED)], "set method to verifier"),
    ("verifier-of-nobody", [Wanted("a", method="verifier", server_role=False)], "no PostgreSQL role to copy from"),
]


@pytest.mark.parametrize(("users", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_check_wanted_refuses_and_names_the_user(users, why):
    with pytest.raises(EntryError, match=why) as caught:
        check_wanted(users, "auth")
    assert repr(users[-1].name) in str(caught.value)
    for user in users:
        for secret in (user.password, user.verifier):
            assert not secret or len(secret) < 4 or secret not in str(caught.value)


def test_check_wanted_accepts():
    check_wanted(
        [
            Wanted(APP, password="x" * 1500),
            Wanted("auth", method="plain", password="x" * 1024),
            Wanted("c" * 100, password="x", server_role=False),
            Wanted("copied", method="verifier"),
            Wanted("given", method="verifier", verifier=MD5),
            Wanted("gone", state="absent"),
        ],
        "auth",
    )


def test_an_exclusive_list_of_nobody_is_refused():
    with pytest.raises(UserlistError, match="lock everybody out"):
        check_wanted([Wanted("a", state="absent")], exclusive=True)


PLANS = [
    # id, file, users, server, file after, altered roles
    ("new-user", {}, [Wanted("a", password="pencil")], None, {"a": str(mint("pencil"))}, {}),
    (
        "new-user-goes-to-the-server-too",
        {},
        [Wanted("a", password="pencil")],
        {"a": ServerRole(None)},
        {"a": str(mint("pencil"))},
        {"a": str(mint("pencil"))},
    ),
    ("file-still-fits", {"a": STORED}, [Wanted("a", password="pencil")], None, {"a": STORED}, {}),
    ("both-fit", {"a": STORED}, [Wanted("a", password="pencil")], {"a": ServerRole(STORED)}, {"a": STORED}, {}),
    ("server-fits-file-is-new", {}, [Wanted("a", password="pencil")], {"a": ServerRole(STORED)}, {"a": STORED}, {}),
    (
        "server-wins-over-file",
        {"a": str(mint("pencil"))},
        [Wanted("a", password="pencil")],
        {"a": ServerRole(STORED)},
        {"a": STORED},
        {},
    ),
    (
        "file-fits-server-was-changed",
        {"a": STORED},
        [Wanted("a", password="pencil")],
        {"a": ServerRole(OTHER)},
        {"a": STORED},
        {"a": STORED},
    ),
    (
        "rotated-password",
        {"a": STORED},
        [Wanted("a", password="new")],
        {"a": ServerRole(STORED)},
        {"a": str(mint("new"))},
        {"a": str(mint("new"))},
    ),
    (
        "server-has-md5",
        {},
        [Wanted("alice", password="pencil")],
        {"alice": ServerRole(MD5)},
        {"alice": str(mint("pencil"))},
        {"alice": str(mint("pencil"))},
    ),
    ("md5", {}, [Wanted("alice", method="md5", password="pencil")], None, {"alice": MD5}, {}),
    ("plain", {}, [Wanted("auth", method="plain", password="pw")], {"auth": ServerRole(STORED)}, {"auth": "pw"}, {}),
    ("copied", {}, [Wanted("a", method="verifier")], {"a": ServerRole(STORED)}, {"a": STORED}, {}),
    ("given", {}, [Wanted("a", method="verifier", verifier=STORED)], None, {"a": STORED}, {}),
    (
        "console-only-user-is-not-asked-for",
        {},
        [Wanted("c", password="pencil", server_role=False)],
        {},
        {"c": str(mint("pencil"))},
        {},
    ),
    ("absent", {"a": STORED, "b": OTHER}, [Wanted("a", state="absent")], None, {"b": OTHER}, {}),
    ("absent-already", {"b": OTHER}, [Wanted("a", state="absent")], None, {"b": OTHER}, {}),
    (
        "nologin-is-left-out",
        {"a": STORED},
        [Wanted("a", password="pencil")],
        {"a": ServerRole(STORED, can_login=False)},
        {},
        {},
    ),
    (
        "expired-is-left-out",
        {"a": STORED},
        [Wanted("a", method="verifier")],
        {"a": ServerRole(STORED, expired=True)},
        {},
        {},
    ),
]


@pytest.mark.parametrize(
    ("before", "users", "server", "after", "alter"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS]
)
def test_plan(before, users, server, after, alter):
    change = plan(userlist(**before), users, server=server, mint=mint)
    assert change.after.secrets == after
    assert change.alter == alter
    assert set(change.added) == set(after) - set(before)
    assert set(change.removed) == set(before) - set(after)


@pytest.mark.parametrize(
    ("before", "users", "server", "after", "alter"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS]
)
def test_a_second_run_changes_nothing(before, users, server, after, alter):
    healed = None if server is None else {**server, **{name: ServerRole(secret) for name, secret in alter.items()}}
    again = plan(userlist(**after), users, server=healed, mint=lambda _: pytest.fail("a new salt"))
    assert again.after == again.before
    assert not again.alter


def test_edit_keeps_order_comments_and_strangers():
    text = '; people\n"a" "1"\n; machines\n"b" "2"\n"c" "3"\n'
    users = [Wanted("d", method="verifier", verifier=STORED), Wanted("b", method="verifier", verifier=OTHER)]
    change = plan(parse(text), [*users, Wanted("c", state="absent")])
    assert render(change.after) == f'; people\n"a" "1"\n; machines\n"b" "{OTHER}"\n"d" "{STORED}"\n'


def test_exclusive_holds_exactly_the_listed_users():
    change = plan(parse('; x\n"a" "1"\n"b" "2"'), [Wanted("b", method="verifier", verifier=STORED)], exclusive=True)
    assert render(change.after) == f'"b" "{STORED}"\n'
    assert (change.added, change.changed, change.removed) == ([], ["b"], ["a"])


IMPOSSIBLE = [
    ("no-such-role", [Wanted("a", password="x")], {}, "no such role"),
    ("superuser", [Wanted("a", password="x")], {"a": ServerRole(None, superuser=True)}, "superuser"),
    ("nothing-to-copy", [Wanted("a", method="verifier")], {"a": ServerRole(None)}, "its role has no password"),
    ("nobody-asked", [Wanted("a", method="verifier")], None, "PostgreSQL was not asked"),
]


@pytest.mark.parametrize(
    ("users", "server", "why"), [row[1:] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE]
)
def test_plan_refuses(users, server, why):
    with pytest.raises(EntryError, match=why):
        plan(Userlist(), users, server=server, mint=mint)


def test_a_dry_run_may_stand_before_the_roles_exist():
    users = [Wanted("a", password="x"), Wanted("b", method="verifier")]
    assert plan(Userlist(), users, server={}, tolerate_unknown=True, mint=mint).added == ["a", "b"]


DRIFT = [
    ("equal", STORED, ServerRole(STORED), None),
    ("plain-that-fits", "pencil", ServerRole(STORED), None),
    ("plain-that-does-not", "pen", ServerRole(STORED), "the role's stored secret is another one"),
    ("own-salt", str(mint("pencil")), ServerRole(STORED), "the role's stored secret is another one"),
    ("no-role", STORED, None, "PostgreSQL has no such role"),
    ("nologin", STORED, ServerRole(STORED, can_login=False), "the role may not log in"),
    ("expired", STORED, ServerRole(STORED, expired=True), "the role's VALID UNTIL has passed"),
    ("no-password", STORED, ServerRole(None), "the role has no password"),
]


@pytest.mark.parametrize(("secret", "role", "problem"), [row[1:] for row in DRIFT], ids=[row[0] for row in DRIFT])
def test_drift(secret, role, problem):
    change = plan(userlist(a=secret), [], server={"a": role} if role else {})
    assert change.found_drift == change.left_drift == ((Drift("a", problem),) if problem else ())


def test_repaired_drift_is_gone_from_what_is_left():
    change = plan(userlist(a=STORED), [Wanted("a", password="pencil")], server={"a": ServerRole(OTHER)}, mint=mint)
    assert [d.name for d in change.found_drift] == ["a"]
    assert change.left_drift == ()


def test_diff_and_repr_show_no_secret():
    users = [Wanted(APP, password="a new secret"), Wanted("auth", method="plain", password="in the clear")]
    change = plan(parse(f'"{APP}" "{STORED}"'), users, server={APP: ServerRole(OTHER), "auth": ServerRole(None)})
    diff = change.redacted_diff("/etc/userlist.txt")
    assert diff["before"] == f'"{APP}" scram-sha-256\n'
    assert diff["after"] == f'"{APP}" scram-sha-256 (new secret)\n"auth" plain\n'
    shown = f"{diff} {change!r} {users!r} {change.after!r} {change.after.lines!r} {ServerRole(STORED)!r}"
    for secret in (STORED, OTHER, "a new secret", "in the clear", *change.after.secrets.values()):
        assert secret not in shown
