"""What cannot work is refused before the first change, in one sentence that names the remedy."""

from __future__ import annotations

SOURCE = {"name": "x", "paths": ["x.log"], "job": "j", "log_class": "c", "format": "text"}
S3 = {"bucketnames": "b", "access_key_id": "i", "secret_access_key": "s"}
CASES = [
    ({"push_url": "http://watch:3100"}, "or http:// for a Loki on this host only"),
    ({"push_url": "https://watch:3443/loki"}, "loki_stack_push_url is https://HOST:PORT of the gateway"),
    ({"log_sources": []}, "loki_stack_log_sources must name a source"),
    ({"log_sources": [SOURCE]}, "log source x: path 'x.log' is not absolute"),
    ({"queue_bytes": 1048576}, "loki_stack_queue_bytes at least 64 times that"),
    ({"retired_shippers": ["otelcol"]}, "the shipper in use, otelcol, cannot be retired"),
    ({"storage": "s3"}, "storage s3 needs loki_stack_s3 with bucketnames"),
    ({"ring_members": ["10.0.0.1:7946"]}, "several instances (loki_stack_ring_members) need storage s3"),
    ({"storage": "s3", "s3": S3, "ring_members": ["10.0.0.1:7946"]}, "an address of their own"),
    ({"retention": {"audit": "12h"}}, "a retention is a number of hours, at least 24h"),
    ({"retention": {"audit": "90d"}}, "a retention is a number of hours, at least 24h"),
]


def test_settings_that_cannot_work(converge):
    cases = [{"inputs": inputs, "sentence": sentence} for inputs, sentence in CASES]
    done = converge(playbook="refusals.yml", cases=cases)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("refusal | Compare the sentence") == len(CASES)
    assert "changed=0" in done.stdout


def test_a_shipper_that_nobody_knows(refusal):
    refusal("value of loki_stack_shipper must be one of", loki_stack_shipper="fluentd")
