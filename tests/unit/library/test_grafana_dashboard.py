"""The module against a Grafana that is as strict as the real one; with GRAFANA_URL, the first steps against that."""

from __future__ import annotations

import json
import os
import threading
from http.server import ThreadingHTTPServer

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from library import grafana_dashboard
from tests.stand_in import grafana as stand_in

FOLDER = {"uid": "tovplay", "title": "TovPlay"}
LOGIN = {"url_username": "admin", "url_password": "admin"}


def dashboard(uid="audit", **more):
    panel = {"id": 1, "type": "logs", "title": "Lines", "datasource": {"type": "loki", "uid": "loki"}, "targets": []}
    return {"uid": uid, "title": f"Title of {uid}", "panels": [panel], "schemaVersion": 39, **more}


@pytest.fixture(params=[["v1", "v2"], ["v1beta1"], []], ids=["13", "12", "legacy"])
def grafana(request):
    """A stand-in of its own for each test, in each of the three forms of the API."""
    store = stand_in.Store()
    store.settings["apis"] = request.param
    handler = type("Handler", (stand_in.Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    yield store
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    def run(target, *specs, check=False, **params):
        paths = []
        for number, spec in enumerate(specs):
            path = tmp_path / f"{number}.json"
            path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
            paths.append(str(path))
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", None)
        args = {"url": target.url, "files": paths, "folder": FOLDER, "wait": 2, "timeout": 2, **LOGIN, **params}
        args = {key: value for key, value in args.items() if value is not None}
        with (
            patch_module_args(args | {"_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            grafana_dashboard.main()
        out, err = capsys.readouterr()
        result = json.loads(out)
        result["shown"] = " ".join((out + err).split())
        return result

    return run


def writes(store):
    return [entry for entry in store.requests if entry["method"] != "GET"]


def edit(store, uid="audit", **spec):
    last = store.dashboards[uid][-1]
    store.save(uid, {**last["spec"], **spec}, last["folder"], "made it nicer", "eve")


def test_the_second_import_changes_nothing(grafana, run):
    first = run(grafana, dashboard(), dashboard("wipes"))
    assert (first["changed"], first["created"], first["updated"]) == (True, ["audit", "wipes"], [])
    assert first["api"] == ("resources" if grafana.settings["apis"] else "legacy")
    assert grafana.folders == {"tovplay": "TovPlay"}
    assert {uid: entries[-1]["folder"] for uid, entries in grafana.dashboards.items()} == {
        "audit": "tovplay",
        "wipes": "tovplay",
    }
    done = len(writes(grafana))
    second = run(grafana, dashboard(), dashboard("wipes"))
    assert (second["changed"], second["diff"], len(writes(grafana))) == (False, [], done)


def test_what_grafana_migrates_is_no_difference(grafana, run):
    run(grafana, dashboard())
    grafana.settings["migrate"] = True
    assert not run(grafana, dashboard())["changed"]


def test_an_id_and_a_version_in_the_file_are_no_difference(grafana, run):
    run(grafana, dashboard())
    assert not run(grafana, dashboard(id=99, version=7, iteration=1))["changed"]


def test_a_changed_file_is_an_update_with_a_diff_of_its_fields(grafana, run):
    run(grafana, dashboard())
    result = run(grafana, dashboard(title="Who changes what"))
    assert result["updated"] == ["audit"]
    (diff,) = result["diff"]
    gone = set(diff["before"].splitlines()) ^ set(diff["after"].splitlines())
    assert gone == {'  "title": "Title of audit",', '  "title": "Who changes what",'}
    assert grafana.dashboards["audit"][-1]["spec"]["title"] == "Who changes what"


def test_another_folder_is_a_difference(grafana, run):
    run(grafana, dashboard())
    result = run(grafana, dashboard(), folder={"uid": "other", "title": "Other"})
    assert result["updated"] == ["audit"]
    assert grafana.dashboards["audit"][-1]["folder"] == "other"
    assert run(grafana, dashboard(), folder=None)["updated"] == ["audit"]
    assert grafana.dashboards["audit"][-1]["folder"] == ""


def test_check_mode_is_the_same_path_without_the_write(grafana, run):
    dry = run(grafana, dashboard(), check=True)
    assert (writes(grafana), grafana.folders, grafana.dashboards) == ([], {}, {})
    wet = run(grafana, dashboard())
    assert {key: dry[key] for key in ("changed", "created", "diff")} == {
        key: wet[key] for key in ("changed", "created", "diff")
    }
    assert not run(grafana, dashboard(), check=True)["changed"]


def test_an_edit_by_hand_is_shown_and_kept_unless_told(grafana, run):
    mine = f"Mine at {grafana.url}"  # a warning of the same words is printed once in a process
    run(grafana, dashboard())
    edit(grafana, title=mine)
    kept = run(grafana, dashboard(title="New from the file"))
    assert not kept["changed"]
    (found,) = kept["hand_edits"]
    assert found["uid"] == "audit"
    assert "eve" in found["by"]
    assert found["differences"] == [f'$.title: "{mine}" instead of "New from the file"']
    assert "is kept" in kept["shown"]
    assert mine in kept["diff"][0]["before"]
    assert grafana.dashboards["audit"][-1]["spec"]["title"] == mine
    told = run(grafana, dashboard(), overwrite_hand_edits=True)
    assert told["updated"] == ["audit"]
    assert run(grafana, dashboard())["hand_edits"] == []


def test_an_edit_of_a_field_that_the_file_does_not_have_is_kept_too(grafana, run):
    run(grafana, dashboard())
    edit(grafana, refresh="5s")
    result = run(grafana, dashboard())
    assert (result["changed"], len(result["hand_edits"])) == (False, 1)
    assert run(grafana, dashboard(), overwrite_hand_edits=True)["changed"]
    assert "refresh" not in grafana.dashboards["audit"][-1]["spec"]


def test_absent(grafana, run):
    run(grafana, dashboard(), dashboard("wipes"))
    edit(grafana, "wipes", title="Mine")
    result = run(grafana, dashboard(), state="absent", uids=["wipes", "never"], folder=None)
    assert result["deleted"] == ["audit"]
    assert [entry["uid"] for entry in result["hand_edits"]] == ["wipes"]
    again = run(grafana, dashboard(), state="absent", uids=["wipes"], folder=None, overwrite_hand_edits=True)
    assert again["deleted"] == ["wipes"]
    assert not run(grafana, state="absent", uids=["audit", "wipes"])["changed"]


def test_data_sources_are_mapped(grafana, run):
    spec = dashboard(__inputs=[{"name": "DS_LOGS", "type": "datasource"}])
    spec["panels"][0]["datasource"]["uid"] = "${DS_LOGS}"
    refused = run(grafana, spec)
    assert "0.json: $.__inputs wants DS_LOGS; give each in datasources. Nothing was written." in refused["msg"]
    run(grafana, spec, datasources={"DS_LOGS": "vault"})
    assert grafana.dashboards["audit"][-1]["spec"]["panels"][0]["datasource"]["uid"] == "vault"


BAD = [
    ("syntax", '{"title": "x",}', "0.json: line 1, column "),
    ("a list", [], "0.json: $ is a list, not an object"),
    ("no title", {"uid": "x"}, "0.json: $.title is missing"),
    ("no uid", {"title": "x"}, "0.json: $.uid is None"),
    ("uid", dashboard("a b"), "0.json: $.uid is 'a b'"),
    ("panels", dashboard(panels={}), "0.json: $.panels is a object, not a list"),
    ("panel", dashboard(panels=[{"type": "row", "panels": [3]}]), "0.json: $.panels[0].panels[0] is a number"),
    ("two ids", dashboard(panels=[{"type": "a", "id": 1}] * 2), "0.json: $.panels[1].id is 1, as $.panels[0].id"),
    ("key twice", '{"uid": "a", "uid": "b"}', "0.json: key 'uid' stands twice"),
    ("NaN", '{"uid": "a", "x": NaN}', "0.json: NaN is no JSON"),
    ("schema v2", {"title": "x", "elements": {}, "layout": {}}, "0.json: $ is a resource or schema v2"),
    ("answer", {"dashboard": dashboard(), "meta": {}}, "0.json: $.dashboard is the dashboard of an API answer"),
    ("data source", dashboard(annotations={"list": [{"datasource": "nowhere"}]}), "'nowhere', which Grafana"),
]


@pytest.mark.parametrize(("bad", "why"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_file_ends_it_before_any_write(grafana, run, bad, why):
    for specs in ([bad, dashboard("good")], [dashboard("good"), bad]):
        result = run(grafana, *specs)
        assert result["failed"]
        assert why.removeprefix("0.json") in result["msg"]
        assert result["msg"].endswith("Nothing was written.")
    assert writes(grafana) == []


def test_one_uid_or_title_twice_is_refused(grafana, run):
    assert "1.json: $.uid is 'audit', as in" in run(grafana, dashboard(), dashboard())["msg"]
    assert "1.json: $.title is 'T', as in" in run(grafana, dashboard(title="T"), dashboard("b", title="T"))["msg"]
    assert "no such file" in run(grafana, files=["/nowhere/a.json"])["msg"].lower()
    assert writes(grafana) == []


def test_five_megabytes_are_taken(grafana, run):
    large = dashboard(description="x" * 5_000_000)
    assert run(grafana, large)["created"] == ["audit"]
    assert not run(grafana, large)["changed"]


def test_a_token_instead_of_a_password(grafana, run):
    without = {"url_username": None, "url_password": None}
    assert run(grafana, dashboard(), token=stand_in.TOKEN, **without)["changed"]
    refused = run(grafana, dashboard(), token="wrong-token", **without)
    assert "does not accept the token (401)" in refused["msg"]
    assert "wrong-token" not in refused["shown"]
    assert "not both" in run(grafana, token="another-token")["msg"]
    assert "Give a token, or" in run(grafana, **without)["msg"]


def test_a_wrong_password_is_said_and_not_shown(grafana, run):
    result = run(grafana, dashboard(), url_password="Secret-of-mine")
    assert "does not accept user 'admin' and its password (401)" in result["msg"]
    assert "Secret-of-mine" not in result["shown"]


def test_who_may_only_read_is_told_so(grafana, run):
    grafana.settings["viewer"] = True
    assert "this user may not do that (403)" in run(grafana, dashboard())["msg"]


def test_a_restart_is_waited_for(grafana, run):
    grafana.behaviour[:] = [{"drop": "before"}, {"status": 503, "times": 3}]
    assert run(grafana, dashboard())["created"] == ["audit"]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_an_answer_that_is_lost_is_not_written_twice(grafana, run, drop):
    run(grafana)
    method = "POST"
    grafana.behaviour[:] = [{"drop": drop, "method": method}]
    result = run(grafana, dashboard())
    assert result["created"] == ["audit"]
    assert [entry["version"] for entry in grafana.dashboards["audit"]] == [1]


def test_a_slow_one_is_not_waited_for_without_end(grafana, run):
    grafana.behaviour[:] = [{"hang": 2, "times": 50}]
    result = run(grafana, dashboard(), timeout=1, wait=2)
    assert "waited 2 s for it" in result["msg"]


def test_a_fault_of_grafana_is_said_with_its_words(grafana, run):
    grafana.behaviour[:] = [{"status": 500, "method": "POST", "message": "database is locked"}]
    assert "Grafana answered 500: database is locked" in run(grafana, dashboard(), folder=None)["msg"]


def test_somebody_who_is_faster_is_not_trampled(grafana, run, monkeypatch):
    run(grafana, dashboard())
    original, once = grafana_dashboard.plan_present, []

    def while_we_think(*args, **more):
        plan = original(*args, **more)
        if not once:
            once.append(edit(grafana, title="Saved a moment ago"))
        return plan

    monkeypatch.setattr(grafana_dashboard, "plan_present", while_we_think)
    result = run(grafana, dashboard(title="New from the file"))
    assert (result["changed"], [e["uid"] for e in result["hand_edits"]]) == (False, ["audit"])
    assert grafana.dashboards["audit"][-1]["spec"]["title"] == "Saved a moment ago"


def test_a_provisioned_dashboard_is_left_to_its_file(grafana, run):
    run(grafana, dashboard())
    grafana.dashboards["audit"][-1]["provisioned"] = True
    assert "Grafana provisions it from a file of its own" in run(grafana, dashboard(title="x"))["msg"]


def test_nobody_there(grafana, run):
    grafana.url = "http://127.0.0.1:9"
    result = run(grafana, dashboard(), wait=1)
    assert "does not answer" in result["msg"]
    assert "waited 1 s for it" in result["msg"]


def test_the_stand_in_refuses_what_grafana_refuses():
    with pytest.raises(stand_in.Refusal, match="title cannot be empty"):
        stand_in.check_dashboard({"title": " "})
    with pytest.raises(stand_in.Refusal, match="illegal characters"):
        stand_in.check_uid("a b")


@pytest.mark.parametrize("api", ["legacy", "resources"])
def test_a_real_grafana(run, api):
    """GRAFANA_URL, GRAFANA_USER and GRAFANA_PASSWORD name one whose folder `tovplay-test` may be written."""
    # Every other test here asks the stand-in, which runs everywhere.
    if not (url := os.environ.get("GRAFANA_URL")):
        pytest.skip("GRAFANA_URL names no Grafana, and none can be had from package registries")
    target = type("Target", (), {"url": url})
    login = {
        "url_username": os.environ.get("GRAFANA_USER", "admin"),
        "url_password": os.environ.get("GRAFANA_PASSWORD", "admin"),
        "folder": {"uid": "tovplay-test", "title": "Test of the module"},
        "api": api,
    }
    spec = dashboard("tovplay-module-test", panels=[{"id": 1, "type": "text", "title": "t"}])
    run(target, spec, state="absent", overwrite_hand_edits=True, **login)
    assert run(target, spec, check=True, **login)["created"] == ["tovplay-module-test"]
    assert run(target, spec, **login)["created"] == ["tovplay-module-test"]
    assert not run(target, spec, **login)["changed"]
    assert run(target, {**spec, "title": "Another"}, **login)["updated"] == ["tovplay-module-test"]
    assert run(target, spec, state="absent", **login)["deleted"] == ["tovplay-module-test"]
