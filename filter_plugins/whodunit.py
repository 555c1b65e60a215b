"""Filter of role `whodunit`."""

from __future__ import annotations

from pathlib import Path


def source_tree(root: str) -> list[dict[str, str]]:
    """Files of a package's source below `root` as `[{path, content}]`; what running it left behind stays out."""
    folder = Path(root)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"path": str(path.relative_to(folder)), "content": path.read_text(encoding="utf-8")}
        for path in found
        if "__pycache__" not in path.parts and not any(part.endswith(".egg-info") for part in path.parts)
    ]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"source_tree": source_tree}
