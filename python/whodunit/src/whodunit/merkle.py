"""RFC 6962 Merkle trees over a stream: as many hashes are kept as the tree is high."""

from __future__ import annotations

from hashlib import sha256


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


class Tree:
    """Leaves go in one by one; the root is that of all so far."""

    def __init__(self) -> None:
        self._complete: list[tuple[int, bytes]] = []  # height and root of complete subtrees, the largest first

    def add(self, digest: bytes) -> None:
        height = 0
        while self._complete and self._complete[-1][0] == height:
            digest = sha256(b"\x01" + self._complete.pop()[1] + digest).digest()
            height += 1
        self._complete.append((height, digest))

    def root(self) -> bytes:
        """Subtrees join from the smallest upwards, which is how RFC 6962 splits at powers of two."""
        if not self._complete:
            return sha256(b"").digest()
        digest = self._complete[-1][1]
        for _, left in reversed(self._complete[:-1]):
            digest = sha256(b"\x01" + left + digest).digest()
        return digest
