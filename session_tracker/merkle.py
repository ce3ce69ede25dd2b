"""The Merkle tree of RFC 9162 over stored leaf hashes, read in blocks of 256.

The arithmetic of paths and proofs is pymerkle's; this module only tells it where the hashes lie.
Of every full block of 256 leaves the root is stored (level 1), of every 256 such roots their
root (level 2), and so on: a proof in a ledger of a million entries reads at most six blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from pymerkle import BaseMerkleTree, ConsistencyProof, InvalidProof

BLOCK = 256
"""Hashes per block; a power of two, so that a block is a perfect subtree."""
_BLOCK_BITS = 8


def leaf_hash(body: bytes) -> bytes:
    """SHA-256 of 0x00 and the stored bytes (RFC 9162, 2.1.1): 32 bytes."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children (RFC 9162, 2.1.1): 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Give the root over a power of two of hashes."""
    level = list(hashes)
    if not level or len(level) & (len(level) - 1):
        raise ValueError(f"a perfect subtree has a power of two of hashes, not {len(level)}")
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


class RunningRoot:
    """The root while leaves are appended, in logarithmic memory: for walks over a whole ledger."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        width, node = 1, leaf
        while self._peaks and self._peaks[-1][0] == width:
            node = node_hash(self._peaks.pop()[1], node)
            width *= 2
        self._peaks.append((width, node))
        self.size += 1

    def root(self) -> bytes:
        """Give the root of the leaves taken so far; of none: SHA-256 of nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        node = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            node = node_hash(left, node)
        return node


class Blocks(Protocol):
    """Where the stored hashes are."""

    def size(self) -> int:
        """Count the leaves."""
        ...

    def block(self, level: int, position: int) -> Sequence[bytes]:
        """Up to 256 hashes: leaves (level 0), or roots of full blocks of the level below."""
        ...


class HashTree(BaseMerkleTree):  # type: ignore[misc]  # pymerkle has no types
    """A read-only tree over stored blocks."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__("sha256")
        self._blocks = blocks

    def _encode_entry(self, data: bytes) -> bytes:
        return data

    def _store_leaf(self, data: bytes, digest: bytes) -> int:
        raise NotImplementedError("entries are appended by the store, in its transactions")

    def _get_size(self) -> int:
        return self._blocks.size()

    def _get_leaf(self, index: int) -> bytes:
        position = index - 1
        return self._blocks.block(0, position // BLOCK)[position % BLOCK]

    def _get_leaves(self, offset: int, width: int) -> Iterable[bytes]:
        return [self._get_leaf(i + 1) for i in range(offset, offset + width)]

    def _get_subroot(self, offset: int, width: int) -> bytes:
        level = (width.bit_length() - 1) // _BLOCK_BITS
        unit = BLOCK**level
        first = offset // unit
        hashes = self._blocks.block(level, first // BLOCK)
        start = first % BLOCK
        return perfect_root(hashes[start : start + width // unit])

    def root(self, size: int | None = None) -> bytes:
        """Give the root over the first `size` leaves (default: all)."""
        return bytes(self.get_root(size))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Give the audit path of the leaf at `index` (from 0), in the order of RFC 9162."""
        return list(self.prove_inclusion(index + 1, size).path[1:])

    def consistency(self, earlier: int, later: int | None = None) -> dict[str, object]:
        """Prove that the first `earlier` leaves stand unchanged in the first `later`."""
        return dict(self.prove_consistency(earlier, later).serialize())


def root_from_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Follow an audit path to its root (RFC 9162, 2.1.3.2); ValueError where it cannot fit."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not inside a tree of {size}")
    fn, sn, node = index, size - 1, leaf
    for step in path:
        if sn == 0:
            raise ValueError("the path is too long")
        if fn & 1 or fn == sn:
            node = node_hash(step, node)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = node_hash(node, step)
        fn >>= 1
        sn >>= 1
    if sn:
        raise ValueError("the path is too short")
    return node


def inclusion_holds(
    *, index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether `path` proves that `leaf` is at `index` of the tree of `size` leaves under `root`."""
    try:
        return root_from_path(index, size, leaf, path) == root
    except ValueError:
        return False


def consistency_holds(
    proof: dict[str, object],
    *,
    earlier: int,
    earlier_root: bytes,
    later: int,
    later_root: bytes,
) -> bool:
    """Whether `proof` (of :meth:`HashTree.consistency`) joins the two heads."""
    try:
        ConsistencyProof.deserialize(proof).verify(
            earlier_root, later_root, prior_size=earlier, later_size=later, algorithm="sha256"
        )
    except InvalidProof:
        return False
    return True


__all__ = [
    "BLOCK",
    "Blocks",
    "HashTree",
    "RunningRoot",
    "consistency_holds",
    "inclusion_holds",
    "leaf_hash",
    "node_hash",
    "perfect_root",
    "root_from_path",
]
