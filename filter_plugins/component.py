"""Filters of the shared role `component`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def docker_volumes(mounts: Sequence[Mapping[str, object]]) -> list[str]:
    """Bind mounts `[{source, target, read_only}]` in Docker's notation `source:target:ro|rw`."""
    return [f"{m['source']}:{m['target']}:{'ro' if m.get('read_only') else 'rw'}" for m in mounts]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"docker_volumes": docker_volumes}
