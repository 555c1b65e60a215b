"""Undo against a real PostgreSQL and the vault's own SQL: after it every table equals what it was."""

from __future__ import annotations

import json


def test_a_wiped_table_comes_back(world, whodunit):
    world.production.execute(
        'CREATE TABLE public."User" (id serial PRIMARY KEY, email text UNIQUE, amount numeric(12,4), raw bytea, tags text[],'
        " doc jsonb, at timestamptz, n float8);"
        " INSERT INTO public.\"User\" SELECT i, 'u' || i || E'@x\\t\\\\\\n', i / 7.0, sha256(i::text::bytea), ARRAY['a\"b', NULL, ''],"
        " '{\"a\": [1.50, null]}', now() - i * interval '1 hour', i / 3.0 FROM generate_series(1, 100) i"
    )
    world.production.commit()
    world.track("User")
    before = world.rows('public."User"')
    identifier = world.commit('DELETE FROM public."User"')
    assert world.rows('public."User"') == []
    report = json.loads(whodunit("last", "--json"))
    assert report["incident"] == identifier
    assert report["changes"] == [{"table": "public.User", "op": "D", "operation": "deleted", "rows": 100}]
    plan = whodunit("undo", identifier)
    assert "100  lost rows come back" in plan
    assert world.rows('public."User"') == []
    whodunit("undo", identifier, "--apply")
    assert world.rows('public."User"') == before
