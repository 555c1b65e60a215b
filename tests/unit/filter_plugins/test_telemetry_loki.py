"""Loki's configuration in its three shapes, judged by Loki itself."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from platform_flows import ROLE, load

from filter_plugins.telemetry_loki import go_memory_limit, loki_config, memory_bytes

DEFAULTS = {
    name.removeprefix("loki_stack_"): value
    for part in ("common", "store")
    for name, value in load(ROLE / f"defaults/main/{part}.yml").items()
} | {"min_ready": "0s"}
S3 = {
    "endpoint": "s3.example:9000",
    "bucketnames": "loki",
    "region": "eu",
    "access_key_id": "id",
    "secret_access_key": "secret",
    "s3forcepathstyle": True,
    "insecure": False,
}
MANY = {
    "storage": "s3",
    "s3": S3,
    "ring_members": ["10.0.0.1:7946", "10.0.0.2:7946"],
    "instance_address": "10.0.0.1",
    "replication_factor": 2,
    "min_ready": "15s",
}


@pytest.mark.parametrize("inputs", [{}, {"storage": "s3", "s3": S3}, MANY], ids=["files", "s3", "many"])
def test_loki_accepts_it(inputs, binary, tmp_path):
    path = tmp_path / "loki.yaml"
    path.write_text(yaml.safe_dump(loki_config({**DEFAULTS, **inputs})), encoding="utf-8")
    done = subprocess.run([binary("loki"), f"-config.file={path}", "-verify-config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_can_be_deleted_before_its_time():
    config = loki_config(DEFAULTS)
    assert config["limits_config"]["deletion_mode"] == "disabled"
    assert config["compactor"]["retention_enabled"] is True
    periods = {one["selector"]: one["period"] for one in config["limits_config"]["retention_stream"]}
    assert periods['{log_class="audit"}'] == "2160h"
    assert periods['{log_class="debug"}'] == "168h"
    assert config["limits_config"]["retention_period"] == "2160h"  # a class that nobody listed


def test_what_a_shipper_may_send_is_never_refused():
    limits = loki_config(DEFAULTS)["limits_config"]
    assert limits["max_line_size"] == f"{4 * DEFAULTS['max_line_bytes']}B"
    assert int(limits["reject_old_samples_max_age"][:-1]) > DEFAULTS["clock_behind_seconds"]
    assert int(limits["creation_grace_period"][:-1]) > DEFAULTS["clock_ahead_seconds"]


def test_only_three_labels_come_in():
    attributes = loki_config(DEFAULTS)["limits_config"]["otlp_config"]["resource_attributes"]
    assert attributes == {
        "ignore_defaults": True,
        "attributes_config": [{"action": "index_label", "attributes": ["job", "host", "log_class"]}],
    }


@pytest.mark.parametrize(("limit", "size"), [("512m", 536870912), ("2g", 2147483648), ("1024K", 1048576)])
def test_memory(limit, size):
    assert memory_bytes(limit) == size


def test_memory_in_another_notation_is_refused():
    with pytest.raises(AnsibleFilterError, match="write it as 512m or 2g"):
        go_memory_limit("512 MiB")
