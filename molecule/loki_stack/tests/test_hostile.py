"""Lines that nobody should write: kept, marked, and without effect on their neighbours."""

from __future__ import annotations

import time

import pytest
from lines import LOKI, PLAIN, SHIPPERS, docker_line, docker_path, fetch, query, wait_for, write

PIECE = "0123456789abcdef" * 1024  # Docker cuts after 16 kB
RECORD = 262144
each = pytest.mark.parametrize("label", SHIPPERS.values(), ids=SHIPPERS)


@pytest.fixture(scope="module")
def since():
    started = time.time()
    write(
        PLAIN,
        b"good 1\nbad \xff\xfe bytes\ngood 2\nnul \x00 byte\n"
        b"\xef\xbb\xbfmark of order\nline \xe2\x80\xa8 sep \xc2\x85 arator\n"
        b"ends with both\r\n  blanks around  \n\ngood 3\n" + b"\xff" * 100000 + b" only bad bytes\ngood 4\n",
    )
    deep = '{"a":' * 9000 + "1" + "}" * 9000
    container = [
        *(docker_line("other", PIECE) for _ in range(10)),
        docker_line("other", "last piece\n"),
        docker_line("other", "\n"),
        docker_line("other", "after pieces\n"),
        b'{"log":"broken enve\n',
        b"\x00\x00\n",
        docker_line("other", "future\n", moment=started + 4 * 365 * 86400),
        docker_line("other", "good 5\n"),
    ]
    application = [
        docker_line("tovplay-backend", "[" * 20000 + "\n"),
        docker_line("tovplay-backend", deep + "\n"),
        docker_line("tovplay-backend", '{"path":"' + "p€" * 5000 + '","email":"' + "é" * 600 + '"}\n'),
        docker_line("tovplay-backend", '{"user_id":"good 6"}\n'),
    ]
    write(docker_path("other"), b"".join(container))
    write(docker_path("tovplay-backend"), b"".join(application))
    for name in SHIPPERS.values():
        for number in (4, 5, 6):
            assert wait_for(f'{{host="{name}"}} |= "good {number}"', started - 1), f"good {number} of {name}"
    return started - 1


@each
@pytest.mark.parametrize("number", range(1, 7))
def test_neighbours_are_intact(label, number, since):
    assert len(query(f'{{host="{label}"}} |= "good {number}"', since)) == 1


@each
@pytest.mark.parametrize(
    ("search", "line", "marks"),
    [
        ("bad \ufffd", "bad \ufffd\ufffd bytes", {"encoding_error": "utf8"}),
        ("nul ", "nul \x00 byte", {}),
        ("mark of order", "\ufeffmark of order", {}),
        ("sep ", "line \u2028 sep \u0085 arator", {}),
        ("ends with both", "ends with both", {}),
        ("blanks around", "  blanks around  ", {}),
        ("only bad bytes", "\ufffd" * 100000 + " only bad bytes", {"encoding_error": "utf8", "oversize": "true"}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_bytes_are_kept_or_marked(label, search, line, marks, since):
    (entry,) = query(f'{{host="{label}", job="file"}} |= "{search}"', since)
    assert entry.line == line
    assert entry.metadata == {"filename": PLAIN, **marks}


@each
def test_pieces_of_docker_become_one_record(label, since):
    (entry,) = query(f'{{host="{label}", job="docker"}} |= "last piece"', since)
    assert entry.line == PIECE * 10 + "last piece"
    assert len(query(f'{{host="{label}", job="docker"}} |= "after pieces"', since)) == 1


@each
def test_what_docker_did_not_write_is_kept_as_it_is(label, since):
    entries = query(f'{{host="{label}", job="docker"}} | parse_error="docker"', since)
    assert {entry.line for entry in entries} == {'{"log":"broken enve', "\x00\x00"}


@each
def test_a_wrong_clock_loses_no_line(label, since):
    (entry,) = query(f'{{host="{label}", job="docker"}} |= "future"', since)
    assert entry.metadata["event_time"].startswith(time.strftime("%Y", time.gmtime(since + 4 * 365 * 86400)))
    assert abs(entry.time - since) < 60


@each
def test_deep_nesting_does_not_wedge(label, since):
    deep = query(f'{{host="{label}", job="flask-api"}} |= "[[[["', since)
    assert [entry.metadata["parse_error"] for entry in deep] == ["json"]
    assert len(query(f'{{host="{label}", job="flask-api"}} |= `{{"a":{{"a":`', since)) == 1


@each
def test_long_values_are_cut_at_a_character(label, since):
    (entry,) = query(f'{{host="{label}", job="flask-api"}} |= "p€p€"', since)
    assert len(entry.metadata["path"].encode()) in range(4093, 4097)
    assert entry.metadata["email"] == "é" * 256
    assert "parse_error" not in entry.metadata


def test_a_line_of_a_megabyte_is_kept_whole(since):
    """In records of 256 kB, of which each but the last says that it goes on."""
    line = b"".join(b"%07d " % number for number in range(131072))
    write(PLAIN, b"before the megabyte\n" + line + b"end\nafter the megabyte\n")
    assert wait_for('{host="tovplay-loki-stack"} |= "after the megabyte"', since)
    entries = query('{host="tovplay-loki-stack", job="file"} |~ `^\\d{7} \\d{7}|^end$`', since)
    assert "".join(entry.line for entry in sorted(entries, key=lambda one: one.time)) == line.decode() + "end"
    assert [entry.metadata.get("oversize") for entry in entries] == ["true"] * 4 + [None]
    assert all(len(entry.line) <= RECORD for entry in entries)


def test_half_a_line_waits_for_its_rest(since):
    write(PLAIN, b"first half, ")
    time.sleep(2)
    write(PLAIN, b"second half\nno end of line")
    for label in SHIPPERS.values():
        entries = wait_for(f'{{host="{label}"}} |~ "first half|second half"', since)
        assert [entry.line for entry in entries] == ["first half, second half"]


def test_a_last_line_without_end_is_shipped_after_a_while(since):
    (entry,) = wait_for('{host="tovplay-loki-stack"} |= "no end of line"', since)
    assert entry.line == "no end of line"
    write(PLAIN, b"\n")


def test_nothing_was_discarded():
    metrics = fetch(f"{LOKI}/metrics")
    discarded = [line for line in metrics.splitlines() if line.startswith("loki_discarded_samples_total")]
    assert discarded == []
    collector = fetch("http://127.0.0.1:8888/metrics")
    for counter in ("otelcol_exporter_send_failed_log_records", "otelcol_exporter_enqueue_failed_log_records"):
        assert [line for line in collector.splitlines() if line.startswith(counter) and not line.endswith(" 0")] == []
