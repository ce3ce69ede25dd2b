"""The Merkle tree of RFC 9162 over stored leaf hashes, read in blocks of 256.

The arithmetic of paths and proofs is pymerkle's; this module only tells it where the hashes lie.
Of every full block of 256 leaves the root is stored (level 1), of every 256 such roots their
root (level 2), and so on: a proof in a ledger of a million entries reads at most six blocks, and
most of them are in memory (see `stored_tree`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from pymerkle import BaseMerkleTree, ConsistencyProof, InvalidProof

BLOCK = 256
"""Hashes per block; a power of two, so that a block is a perfect subtree."""
_BLOCK_BITS = 8
HASH_BYTES = 32


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

    def append(self, node: bytes, width: int = 1) -> None:
        """Take the next leaf hash, or the root over the next `width` leaves (a power of two)."""
        self.size += width
        peaks = self._peaks
        while peaks and peaks[-1][0] == width:
            node = node_hash(peaks.pop()[1], node)
            width *= 2
        peaks.append((width, node))

    def root(self) -> bytes:
        """Give the root of the leaves taken so far; of none: SHA-256 of nothing."""
        return self.root_with(())

    def root_with(self, more: Sequence[tuple[int, bytes]]) -> bytes:
        """Give the root once the subtrees in `more` have followed, each narrower than before."""
        peaks = [*self._peaks, *more]
        if not peaks:
            return hashlib.sha256(b"").digest()
        node = peaks[-1][1]
        for _, left in reversed(peaks[:-1]):
            node = node_hash(left, node)
        return node

    @property
    def peaks(self) -> Sequence[tuple[int, bytes]]:
        """Widths and roots of the perfect subtrees so far, the widest first."""
        return tuple(self._peaks)


class Block:
    """Up to 256 hashes and every node above them: 16 KiB, looked up and never hashed again."""

    __slots__ = ("_levels", "width")

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self.width = len(hashes)
        level = list(hashes)
        self._levels = [b"".join(level)]
        while len(level) > 1:
            level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(b"".join(level))

    def node(self, start: int, width: int) -> bytes:
        """Give the root over the `width` (a power of two) hashes from `start` (a multiple)."""
        first = start // width * HASH_BYTES
        return self._levels[width.bit_length() - 1][first : first + HASH_BYTES]


class Blocks(Protocol):
    """Where the stored hashes are."""

    def size(self) -> int:
        """Count the leaves."""
        ...

    def block(self, level: int, position: int, needed: int) -> Block:
        """Give at least `needed` hashes: leaves (level 0), or roots of full blocks below."""
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
        position, start = divmod(index - 1, BLOCK)
        return self._blocks.block(0, position, start + 1).node(start, 1)

    def _get_leaves(self, offset: int, width: int) -> Iterable[bytes]:
        return [self._get_leaf(i + 1) for i in range(offset, offset + width)]

    def _get_subroot(self, offset: int, width: int) -> bytes:
        level = (width.bit_length() - 1) // _BLOCK_BITS
        unit = BLOCK**level
        position, start = divmod(offset // unit, BLOCK)
        units = width // unit
        return self._blocks.block(level, position, start + units).node(start, units)

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
    "HASH_BYTES",
    "Block",
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
