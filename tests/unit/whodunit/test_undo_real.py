"""Undo against a real PostgreSQL and the vault's own SQL: after it every table equals what it was."""

from __future__ import annotations

import json

import pytest

USERS = """
CREATE TABLE public."User" (id serial PRIMARY KEY, email text UNIQUE, amount numeric(12,4), raw bytea, tags text[],
  doc jsonb, at timestamptz, n float8, size int GENERATED ALWAYS AS (length(email)) STORED);
INSERT INTO public."User" SELECT i, 'u' || i || E'@x\\t\\\\\\n,"', i / 7.0, sha256(i::text::bytea), 
  ARRAY['a"b', NULL, ''], '{"a": [1.50, null]}', now() - i * interval '1 hour', i / 3.0 FROM generate_series(1, 100) i;
SELECT setval('public."User_id_seq"', 100);
"""


@pytest.fixture
def users(world):
    world.production.execute(USERS)
    world.production.commit()
    world.track("User")
    return world


def test_a_wiped_table_comes_back(users, whodunit):
    before = users.rows('public."User"')
    identifier = users.commit('DELETE FROM public."User"')
    assert users.rows('public."User"') == []
    report = json.loads(whodunit("last", "--json"))
    assert report["incident"] == identifier
    assert report["changes"] == [{"table": "public.User", "op": "D", "operation": "deleted", "rows": 100}]
    plan = whodunit("undo", identifier)
    assert "100  lost rows come back" in plan
    assert users.rows('public."User"') == []
    whodunit("undo", identifier, "--apply")
    assert users.rows('public."User"') == before
    assert "100  are already as they were" in whodunit("undo", identifier)


def test_only_the_net_change_is_undone(users, whodunit):
    before = users.rows('public."User"')
    identifier = users.commit(
        "UPDATE public.\"User\" SET email = 'blank' || id WHERE id::int <= 10",
        "UPDATE public.\"User\" SET email = 'again' || id WHERE id::int <= 5",
        'DELETE FROM public."User" WHERE id::int BETWEEN 4 AND 20',
        "INSERT INTO public.\"User\" (id, email) VALUES ('4', 'another'), ('200', 'new')",
        "INSERT INTO public.\"User\" (id, email) VALUES ('300', 'gone again')",
        'DELETE FROM public."User" WHERE id::int = 300',
        "UPDATE public.\"User\" SET id = '1000' WHERE id::int = 30",
        db_user="alice",
    )
    whodunit("undo", identifier, "--apply")
    assert users.rows('public."User"') == before


def test_rows_edited_since_are_left_alone_and_listed(users, whodunit):
    before = users.rows('public."User"')
    identifier = users.commit("UPDATE public.\"User\" SET email = 'blank' || id")
    users.commit(
        "UPDATE public.\"User\" SET email = 'mine' WHERE id::int = 7", 'DELETE FROM public."User" WHERE id::int = 8'
    )
    plan = whodunit("undo", identifier)
    assert '["7"]: the row was changed since' in plan or "[7]: the row was changed since" in plan
    assert "1  left alone: the row is gone since" in plan
    whodunit("undo", identifier, "--apply")
    now = users.rows('public."User"')
    assert len(set(before) - set(now)) == 2
    assert any(",mine," in row for row in now)
    whodunit("undo", identifier, "--apply", "--force")
    assert users.rows('public."User"') == before


def test_tables_that_refer_to_each_other_come_back_together(world, whodunit):
    world.production.execute(
        "CREATE TABLE public.team (id int PRIMARY KEY, lead int NOT NULL, up int REFERENCES public.team);"
        "CREATE TABLE public.member (id int PRIMARY KEY, team int NOT NULL REFERENCES public.team ON DELETE CASCADE);"
        "CREATE TABLE public.note (id int PRIMARY KEY, member int REFERENCES public.member ON DELETE CASCADE);"
        "WITH t AS (INSERT INTO public.team SELECT i, i, nullif(i - 1, 0) FROM generate_series(1, 9) i)"
        " INSERT INTO public.member SELECT i, i FROM generate_series(1, 9) i;"
        "ALTER TABLE public.team ADD FOREIGN KEY (lead) REFERENCES public.member DEFERRABLE INITIALLY IMMEDIATE;"
        "INSERT INTO public.note SELECT i, i FROM generate_series(1, 9) i;"
    )
    world.production.commit()
    world.track("member", "note", "team")
    tables = ("public.team", "public.member", "public.note")
    before = [world.rows(each) for each in tables]
    world.production.execute("SET CONSTRAINTS ALL DEFERRED")
    identifier = world.commit("DELETE FROM public.note", "DELETE FROM public.team", "DELETE FROM public.member")
    assert "public.member + public.team, public.note" in whodunit("undo", identifier)
    whodunit("undo", identifier, "--apply")
    assert [world.rows(each) for each in tables] == before


def test_rows_whose_parent_is_gone_are_named(world, whodunit):
    world.production.execute(
        "CREATE TABLE public.game (id int PRIMARY KEY); INSERT INTO public.game VALUES (1), (2);"
        "CREATE TABLE public.score (id int PRIMARY KEY, game int REFERENCES public.game);"
        "INSERT INTO public.score VALUES (1, 1), (2, 2)"
    )
    world.production.commit()
    world.track("game", "score")
    identifier = world.commit("DELETE FROM public.score")
    world.commit("DELETE FROM public.game WHERE id::int = 2", pg_session_id="6731a000.ff")
    assert "1  left alone: the row it refers to is gone" in whodunit("undo", identifier, "--apply")
    assert world.rows("public.score") == ["(1,1)"]


def test_a_dropped_table_is_made_again(users, whodunit):
    before = users.rows('public."User"')
    users.production.execute("SET search_path = public")
    oid = users.production.execute("SELECT 'public.\"User\"'::regclass::oid::bigint").fetchone()[0]
    users.production.commit()
    identifier = users.commit(
        'DROP TABLE public."User"',
        replay=[
            "INSERT INTO audit.ddl (at, event, tag, statement, object_type, schema_name, object_name, relid)"
            " VALUES (clock_timestamp(), 'sql_drop', 'DROP TABLE', 'DROP TABLE \"User\"', 'table', 'public',"
            f" 'public.\"User\"', {oid})"
        ],
    )
    report = json.loads(whodunit("last", "--json"))
    assert report["changes"][0] == {"table": "public.User", "op": "X", "operation": "dropped", "rows": 100}
    whodunit("undo", identifier, "--apply")
    assert users.rows('public."User"') == before
    assert users.production.execute("SELECT nextval('public.\"User_id_seq\"')").fetchone() == (101,)


def test_secrets_come_back_without_being_shown(world, whodunit):
    world.production.execute(
        "CREATE TABLE public.account (id int PRIMARY KEY, password text NOT NULL, token text, pin text NOT NULL);"
        "INSERT INTO public.account VALUES (1, 'hunter2', 'tok-123', 'pin-456')"
    )
    world.production.commit()
    policies = {("account", "password"): "encrypt", ("account", "token"): "hash", ("account", "pin"): "exclude"}
    world.track("account", policies=policies)
    identifier = world.commit(
        "DELETE FROM public.account WHERE id::int = 1 OR password = 'hunter2'", table_name="public.account"
    )
    shown = whodunit("last") + whodunit("last", "--json")
    assert "hunter2" not in shown and "tok-123" not in shown
    plan = whodunit("undo", identifier, fails=True)
    assert "--fill 'public.account.pin=…'" in plan
    assert "column token is not restored: its policy is hash" in plan
    whodunit("undo", identifier, "--apply", "--fill", "public.account.pin=unset")
    assert world.rows("public.account") == ["(1,hunter2,,unset)"]


def test_an_undo_can_be_undone(users, whodunit):
    before = users.rows('public."User"')
    wipe = users.commit('DELETE FROM public."User" WHERE id::int > 40')
    after = users.rows('public."User"')
    whodunit("undo", wipe, "--apply")
    assert users.rows('public."User"') == before
    undone = users.mirror_insert('public."User"', "id > 40", reason=f"undo of {wipe}")
    whodunit("undo", undone, "--apply")
    assert users.rows('public."User"') == after


def test_a_trigger_that_alters_rows_takes_the_undo_back(users, whodunit):
    users.production.execute(
        "CREATE FUNCTION public.shout() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.email := upper(NEW.email); RETURN NEW; END $$;"
        'CREATE TRIGGER shout BEFORE INSERT ON public."User" FOR EACH ROW EXECUTE FUNCTION public.shout()'
    )
    users.production.commit()
    identifier = users.commit('DELETE FROM public."User"')
    assert "nothing was changed; a trigger" in whodunit("undo", identifier, "--apply", fails=True)
    assert users.rows('public."User"') == []


def test_what_was_inserted_by_an_incident_goes(users, whodunit):
    before = users.rows('public."User"')
    identifier = users.commit(
        "INSERT INTO public.\"User\" (id, email) SELECT i, 'x' || i FROM generate_series(101, 300) i"
    )
    assert "200  new rows are removed" in whodunit("undo", identifier, "--apply")
    assert users.rows('public."User"') == before


def test_a_dropped_column_comes_back_with_its_values(users, whodunit):
    before = dict(users.production.execute('SELECT id, email FROM public."User"').fetchall())
    oid, _ = users._describe("User")
    users.production.execute('ALTER TABLE public."User" DROP COLUMN size, DROP COLUMN email')
    _, columns = users._describe("User")
    ddl = (
        "INSERT INTO audit.ddl (at, event, tag, statement, object_type, schema_name, object_name, relid, columns)"
        f" VALUES (clock_timestamp(), '{{}}', 'ALTER TABLE', 'ALTER TABLE', '{{}}', 'public', '{{}}', {oid}, {{}})"
    )
    identifier = users.commit(
        "SELECT 1",
        replay=[
            ddl.format("sql_drop", "table column", 'public."User".email', "NULL"),
            ddl.format("ddl_command_end", "table", 'public."User"', f"$json${json.dumps(columns)}$json$"),
        ],
        command="ALTER",
    )
    assert "Column public.User.email text: 100 values come back" in whodunit("undo", identifier, "--apply")
    assert dict(users.production.execute('SELECT id, email FROM public."User"').fetchall()) == before


def test_a_random_history_over_several_transactions_is_undone(world, whodunit):
    """What SQL folds is what the model folds: any mixture of changes goes back to where it began."""
    world.production.execute(
        "CREATE TABLE public.dice (a int, b text, v int, PRIMARY KEY (b, a));"
        "INSERT INTO public.dice SELECT i % 5, i::text, i FROM generate_series(1, 20) i"
    )
    world.production.commit()
    world.track("dice")
    before = world.rows("public.dice")
    began = world._value(world.production, "SELECT clock_timestamp()::text")
    for seed in range(12):
        b, other = str(seed * 7 % 23), str(seed * 5 % 29 + 40)
        world.commit(
            f"DELETE FROM public.dice WHERE b = '{b}'",
            f"INSERT INTO public.dice (a, b, v) VALUES ('{seed % 5}', '{b}', '{seed}')",
            f"UPDATE public.dice SET b = '{other}' WHERE b = '{seed}'",
            f"UPDATE public.dice SET v = '{seed + 100}' WHERE b IN ('{other}', '{seed * 3 % 20}')",
            f"DELETE FROM public.dice WHERE b = '{seed * 11 % 31}'",
        )
    assert world.rows("public.dice") != before
    whodunit("undo", "--since", began.replace(" ", "T"), "--apply")
    assert world.rows("public.dice") == before
