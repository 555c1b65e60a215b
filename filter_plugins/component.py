"""Filters of the roles around Docker: `component` and `docker_host`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def docker_volumes(mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Bind mounts `[{source, target, read_only}]` in Docker's notation `source:target:ro|rw`."""
    return [f"{m['source']}:{m['target']}:{'ro' if m.get('read_only') else 'rw'}" for m in mounts]


def image_ids(images: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which image each reference with a tag means, `{reference: id}`, from the engine's list of `{Id, RepoTags}`.

    An image without a tag has `RepoTags` null or an empty list.
    """
    return {tag: image["Id"] for image in images for tag in image.get("RepoTags") or []}


def registry_authority_files(authorities: Mapping[str, str]) -> list[dict[str, str]]:
    """Files of /etc/docker that make it trust registries, `{host:port: PEM}` to `certs.d/host:port/ca.crt`."""
    return [{"path": f"certs.d/{name}/ca.crt", "content": pem} for name, pem in sorted(authorities.items())]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "docker_volumes": docker_volumes,
            "image_ids": image_ids,
            "registry_authority_files": registry_authority_files,
        }
