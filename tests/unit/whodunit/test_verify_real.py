"""verify against the vault's real seals, and what a superuser of the vault may try."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def sealed(world, config, tmp_path):
    """Three batches, their anchors in a file as the keeper writes it."""
    world.production.execute("CREATE TABLE public.game (id int PRIMARY KEY, name text)")
    world.production.commit()
    world.track("game")
    for batch in range(3):
        for row in range(4):
            number = batch * 10 + row
            world.commit(f"INSERT INTO public.game VALUES ('{number}', E'na\\\\\\\\me\\t{number}')")
        world.seal()
    anchors = tmp_path / "anchors.jsonl"
    seals = world.vault.execute("SELECT n, encode(root, 'hex') FROM vault.seal ORDER BY n").fetchall()
    world.vault.commit()
    anchors.write_text("".join(json.dumps({"n": n, "root": root}) + "\n" for n, root in seals))
    config.write_text(config.read_text() + f'anchors = "{anchors}"\n')
    return world


def test_an_untouched_vault_agrees_with_its_anchors(sealed, whodunit):
    verdict = json.loads(whodunit("verify", "--json"))
    assert verdict["fault"] is None
    assert (verdict["seals"], verdict["anchored"]) == (3, {"file": 3})
    assert verdict["records"] == 3 * 4 * 3  # history, context and commit time of each


@pytest.mark.parametrize(
    ("tampering", "what", "record"),
    [
        ("DELETE FROM vault.history WHERE new ->> 'id' = '11'", "deleted", "'11'"),
        ("UPDATE vault.history SET new = new || '{\"name\": \"mallory\"}' WHERE new ->> 'id' = '11'", "edited", "'11'"),
        (
            "INSERT INTO vault.history SELECT id + 1000, tx, relation, op, key, old, new, lsn,"
            " recorded_at FROM vault.history"
            " WHERE new ->> 'id' = '11'",
            "inserted",
            "+1000",
        ),
        (
            "UPDATE vault.history h SET id = CASE h.new ->> 'id' WHEN '11' THEN h.id + 1 ELSE h.id - 1 END"
            " WHERE h.new ->> 'id' IN ('11', '12')",
            "edited",
            "swapped",
        ),
    ],
    ids=["delete", "edit", "insert", "reorder"],
)
@pytest.mark.parametrize("noted", [True, False], ids=["leaves", "no leaves"])
def test_the_batch_and_record_are_named(sealed, whodunit, tampering, what, record, noted):
    identifier = sealed._value(sealed.vault, "SELECT id FROM vault.history WHERE new ->> 'id' = '11'")
    if not noted:
        sealed.vault.execute("UPDATE vault.seal SET leaves = NULL")
    sealed.vault.execute("SELECT set_config('vault.moves', 'on', false)")
    sealed.vault.execute(tampering)
    sealed.vault.commit()
    verdict = json.loads(whodunit("verify", "--json", fails=True))
    fault = verdict["fault"]
    assert fault["seal"] == 2
    if noted:
        shown = {"deleted": f"history {identifier - 1} ", "inserted": f"history {identifier + 1000} "}
        assert shown.get(what, f"history {identifier} ") in fault["record"], fault
        assert fault["what"] == what


def test_a_rewritten_seal_is_caught_by_its_anchor(sealed, whodunit):
    sealed.vault.execute("UPDATE vault.seal SET root = sha256('mallory') WHERE n = 2")
    sealed.vault.commit()
    assert "FIRST BAD RECORD: seal 2" in whodunit("verify", fails=True)


def test_a_vault_that_was_cut_off_is_caught(sealed, whodunit):
    sealed.vault.execute("DELETE FROM vault.seal WHERE n = 3")
    sealed.vault.commit()
    assert "it was anchored, and the vault has it no more" in whodunit("verify", fails=True)


@pytest.fixture
def retired(sealed, tmp_path):
    """The whole of today goes, as a day of a month ago would; anchored=False leaves the keeper's line out."""

    def run(*, anchored: bool = True) -> None:
        through = sealed.vault.execute("SELECT through_tx FROM vault.retire(-1)").fetchone()[0]
        sealed.vault.commit()
        if anchored:
            with (tmp_path / "anchors.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": "vault_retired", "day": "today", "through_tx": through}) + "\n")

    return run


def test_days_that_were_dropped_for_their_age_stay_provable(sealed, whodunit, retired):
    retired()
    assert sealed._value(sealed.vault, "SELECT count(*) FROM vault.history") == 0
    said = whodunit("verify")
    assert "3 seals are of days that were dropped: their roots prove any copy" in said
    assert "3 seals and 12 records are as they were" in said  # the commit times stay


def test_a_drop_that_is_not_anchored_is_a_deletion(sealed, whodunit, retired):
    retired(anchored=False)
    said = whodunit("verify", fails=True)
    assert "not anchored, not believed" in said
    assert "FIRST BAD RECORD" in said
    assert "deleted" in said


def test_what_is_left_of_a_dropped_day_cannot_be_changed(sealed, whodunit, retired):
    retired()
    sealed.vault.execute("UPDATE vault.sealed_transaction SET commit_at = commit_at - interval '1 day' WHERE seal = 2")
    sealed.vault.commit()
    assert "edited (batch 2, whose days were dropped; the leaves have no such record)" in whodunit("verify", fails=True)


def test_a_held_day_is_not_dropped_and_lifting_the_hold_is_a_finding(sealed):
    sealed.vault.execute(
        "INSERT INTO vault.legal_hold (from_at, to_at, reason) VALUES (now() - interval '1 min', now(), 'a case')"
    )
    assert sealed.vault.execute("SELECT * FROM vault.retire(-1)").fetchall() == []
    sealed.vault.execute("DELETE FROM vault.legal_hold")
    assert len(sealed.vault.execute("SELECT * FROM vault.retire(-1)").fetchall()) == 1
    kinds = sealed.vault.execute("SELECT kind FROM vault.own_finding ORDER BY id").fetchall()
    assert [kind for (kind,) in kinds] == ["hold_changed", "retired"]


def test_a_day_that_somebody_drops_is_a_finding_and_names_the_first_missing_record(sealed, whodunit):
    day = sealed._value(
        sealed.vault, "SELECT format('vault.history_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'))"
    )
    sealed.vault.execute(f"DROP TABLE {day}")
    sealed.vault.commit()
    found = sealed.vault.execute("SELECT kind, severity, detail ->> 'table' FROM vault.own_finding").fetchall()
    assert found == [("dropped", "critical", day)]
    assert "FIRST BAD RECORD" in whodunit("verify", fails=True)
