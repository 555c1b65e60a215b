"""The cache: archives of `docker save` by content key, and index.json, which hosts read to load them."""

from __future__ import annotations

import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .catalog import Catalog, Image
from .keys import image_key


@dataclass(frozen=True)
class Store:
    """The folder `images/` of the cache."""

    folder: Path

    def archive(self, image: Image, key: str) -> Path:
        return self.folder / f"{image.name}-{key}.tar"

    def write_index(self, catalog: Catalog) -> None:
        """Write index.json from the archives that are there, so that it never promises one that is not."""
        index = {}
        for image in catalog.images.values():
            if not (image.context / "Dockerfile").is_file():
                continue
            key = image_key(catalog, image)
            archive = self.archive(image, key)
            if archive.is_file():
                index[image.ref] = {"archive": archive.name, "image_id": image_id(archive), "key": key}
        write_atomically(self.folder / "index.json", json.dumps(index, indent=2, sort_keys=True) + "\n")

    def remove_stale(self, image: Image, key: str) -> None:
        """Remove archives of the same image under other keys."""
        for path in self.folder.iterdir():
            if re.fullmatch(rf"{re.escape(image.name)}-[0-9a-f]{{16}}\.tar", path.name) and path != self.archive(
                image, key
            ):
                path.unlink()


def image_id(archive: Path) -> str:
    """The id that a Docker engine gives to the archive's image: the digest of its configuration."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("manifest.json")
        if member is None:
            raise tarfile.ReadError(f"{archive} has no manifest.json")
        config = json.load(member)[0]["Config"]
    return "sha256:" + Path(config).name.removesuffix(".json")


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
