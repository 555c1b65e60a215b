"""What the filters of role component say about images and mounts."""

from __future__ import annotations

from filter_plugins.component import docker_volumes, image_ids


def test_every_name_of_an_image_leads_to_it():
    images = [
        {"Id": "sha256:a", "RepoTags": ["grafana/loki:3.7.8", "site:5000/grafana/loki:3.7.8"]},
        {"Id": "sha256:b", "RepoTags": None},
        {"Id": "sha256:c", "RepoTags": []},
    ]
    assert image_ids(images) == {"grafana/loki:3.7.8": "sha256:a", "site:5000/grafana/loki:3.7.8": "sha256:a"}
    assert image_ids([]) == {}


def test_a_mount_is_written_as_docker_reads_it():
    mounts = [{"source": "/a", "target": "/b", "read_only": True}, {"source": "/c", "target": "/d"}]
    assert docker_volumes(mounts) == ["/a:/b:ro", "/c:/d:rw"]
