"""What the vault's own SQL decides, on a real PostgreSQL."""

from __future__ import annotations

import json


def test_a_table_made_anew_under_its_name_waits_for_the_stream(world):
    """The keeper sees production's catalog before the vault has replayed the old table's last rows and its DROP."""
    world.production.execute("CREATE TABLE public.game (id int PRIMARY KEY, name text)")
    world.production.commit()
    world.track("game")
    world.production.execute("DROP TABLE public.game")
    world.production.execute("CREATE TABLE public.game (id int PRIMARY KEY, title text)")
    world.production.commit()
    oid, columns = world._describe("game")
    seen = json.dumps([{"schema": "public", "table": "game", "oid": oid, "columns": columns}])
    assert world.vault.execute("SELECT vault.adopt(%s)", (seen,)).fetchall() == []
    live = "SELECT source_relid <> %s FROM vault.relation WHERE valid_to IS NULL"
    assert world.vault.execute(live, (oid,)).fetchall() == [(True,)]
    # A worker that fails has met what no event told: then the catalog counts.
    assert world.vault.execute("SELECT vault.adopt(%s, true)", (seen,)).fetchall() == [("shadow of public.game",)]


def test_a_shadow_that_somebody_dropped_is_made_anew(world):
    world.production.execute("CREATE TABLE public.game (id int PRIMARY KEY, name text)")
    world.production.commit()
    world.track("game")
    oid, columns = world._describe("game")
    world.vault.execute("DROP TABLE public.game")
    seen = json.dumps([{"schema": "public", "table": "game", "oid": oid, "columns": columns}])
    assert world.vault.execute("SELECT vault.adopt(%s, true)", (seen,)).fetchall() == [("shadow of public.game",)]
    assert world.vault.execute("SELECT count(*) FROM public.game").fetchone() == (0,)
