"""Which images have to be built at all: where a registry answers, hosts pull upstream's."""

from __future__ import annotations

import requests

from .catalog import Catalog
from .progress import say

# Any answer of the registry API will do; without credentials it is 401 (distribution specification, end-1).
ADDRESS = "https://registry-1.docker.io/v2/"
OURS = "tovplay/"


def answers(address: str = ADDRESS, seconds: float = 5) -> bool:
    """Whether a container registry can be reached from this machine."""
    try:
        return requests.get(address, timeout=seconds).status_code in (200, 401)
    except requests.RequestException:
        return False


def names_to_build(catalog: Catalog, source: str) -> list[str]:
    """Names of the images to build for `source`; empty means every image."""
    pulled = source == "registry" or (source == "auto" and answers())
    if source == "auto":
        say(
            "A registry answers: hosts pull upstream's images, only our own are built."
            if pulled
            else "No registry answers: every image is built from package registries."
        )
    return [image.name for image in catalog.images.values() if image.ref.startswith(OURS)] if pulled else []
