"""Content keys: the same inputs give the same key, and a key that is at hand needs no build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .catalog import Catalog, GoModule, Image

# Raise it when the builder itself starts to make something else from the same folders.
RECIPE = 2

_NOISE = {
    "__pycache__",
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "wheels",
    "bin",
    "rootfs.tar",
    "node_modules",
    "dist",
}


def files_of(folder: Path) -> Iterator[Path]:
    """What belongs to a build context: everything but caches and what the builder lays into it."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in _NOISE or part.endswith(".egg-info") for part in parts):
            yield path


def module_key(catalog: Catalog, module: GoModule) -> str:
    """Key of a Go module's binaries."""
    return _digest(RECIPE, catalog.go_version, _entry(module, catalog.root), _folder(module.folder))


def image_key(catalog: Catalog, image: Image) -> str:
    """Key of an image: its entry with versions, its folder, its binaries and everything it stands on."""
    module = catalog.modules[image.go_module] if image.go_module else None
    return _digest(
        RECIPE,
        _entry(image, catalog.root),
        _folder(image.context),
        module_key(catalog, module) if module else None,
        [image_key(catalog, base) for base in catalog.bases(image)],
        *([_folder(image.npm)] if image.npm else []),
    )


def _entry(item: Image | GoModule, root: Path) -> dict[str, Any]:
    """The entry of images.yml, without what does not reach the image: where the checkout is, and expected minutes."""
    entry = {
        key: str(value.relative_to(root)) if isinstance(value, Path) else value for key, value in asdict(item).items()
    }
    entry.pop("minutes", None)
    for later in ("npm", "pure_wheels", "archive", "tags"):
        if not entry.get(later):
            entry.pop(later, None)  # images without it keep the key that they had before there was such a thing
    return entry


def _folder(folder: Path) -> list[tuple[str, bool, str]]:
    return [
        (
            str(path.relative_to(folder)),
            bool(path.stat().st_mode & 0o100),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in files_of(folder)
    ]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
