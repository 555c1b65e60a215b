"""Sources as data: what is accepted, what is refused and with which words."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from filter_plugins.telemetry import log_flows, log_formats, log_mounts, log_sources_of

FORMATS = {"text": {"parser": "none"}, "json": {"parser": "json"}}
ENVELOPES = {"none": {}, "docker": {"container": "attrs.tag"}}
SOURCE = {"name": "s", "paths": ["/var/log/s.log"], "job": "j", "log_class": "c", "format": "text"}


def test_defaults_are_filled_in():
    assert log_flows([SOURCE], FORMATS, ENVELOPES) == [
        {
            "name": "s",
            "paths": ["/var/log/s.log"],
            "rotated": [],
            "envelope": "none",
            "envelope_fields": {},
            "filename": False,
            "routes": [{"when": {}, "job": "j", "log_class": "c", "format": "text"}],
        }
    ]


def route(**changes):
    return {"routes": [{"when": {"line": "x"}, "job": "j", "log_class": "c", "format": "text", **changes}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Bad Name"}, "log source 'Bad Name': a name is made of a-z"),
        ({"paths": []}, "log source s: it has no paths"),
        ({"paths": ["s.log"]}, "path 's.log' is not absolute"),
        ({"rotated": ["s.log.1"]}, "path 's.log.1' is not absolute"),
        ({"path": ["/x"]}, "unknown key path; known are"),
        ({"envelope": "podman"}, "unknown envelope 'podman'; known are docker, none"),
        ({"format": "xml"}, "unknown format 'xml'; known are json, text"),
        ({"job": None}, "job None is no label value"),
        ({"log_class": 'a"}'}, "is no label value"),
        (route(when={"container": "x"}), "`when` cannot look at 'container'; possible are line"),
        (route(when={"line": "("}), "pattern '(' of `when` is wrong"),
        (route(level="x"), "unknown key level"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_name_the_source_and_the_remedy(changes, words):
    with pytest.raises(AnsibleFilterError) as refusal:
        log_flows([{**SOURCE, **changes}], FORMATS, ENVELOPES)
    assert words in str(refusal.value)


def test_a_name_used_twice_is_refused():
    with pytest.raises(AnsibleFilterError, match="the name is used twice"):
        log_flows([SOURCE, SOURCE], FORMATS, ENVELOPES)


def test_an_unknown_parser_is_refused():
    with pytest.raises(AnsibleFilterError, match="log format x: unknown parser 'xml'"):
        log_formats({"x": {"parser": "xml"}})


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [(["all"], True), (["databases"], True), (["app"], False), (None, True)],
)
def test_a_source_belongs_to_the_hosts_of_its_groups(groups, wanted):
    source = {"name": "s"} | ({"groups": groups} if groups else {})
    assert (log_sources_of([source], ["databases"]) == [source]) is wanted


def test_mounts_are_the_known_roots_and_the_rest_on_its_own():
    flows = log_flows(
        [{**SOURCE, "paths": ["/var/log/a/*.log", "/srv/app/logs/[a-z].log", "/var/logs/b.log"]}], FORMATS, ENVELOPES
    )
    mounts = log_mounts(flows, ["/var/log"])
    assert [mount["source"] for mount in mounts] == ["/srv/app/logs", "/var/log", "/var/logs"]
    assert all(mount["read_only"] and mount["source"] == mount["target"] for mount in mounts)
