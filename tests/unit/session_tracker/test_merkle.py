"""The tree against the published vectors of Certificate Transparency, and against itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_tracker.merkle import (
    BLOCK,
    Block,
    HashTree,
    RunningRoot,
    consistency_holds,
    inclusion_holds,
    leaf_hash,
    perfect_root,
    root_from_path,
)

# The leaves and roots of google/certificate-transparency's merkle tree tests (RFC 6962, 2.1.3's
# shape; RFC 9162 hashes alike).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Stored:
    """Blocks over a list of leaf hashes, as the store lays them out."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) >= BLOCK:
            below = self._levels[-1]
            full = len(below) // BLOCK
            self._levels.append(
                [perfect_root(below[i * BLOCK : (i + 1) * BLOCK]) for i in range(full)]
            )

    def size(self) -> int:
        """Count the leaves."""
        return len(self._levels[0])

    def block(self, level: int, position: int, needed: int) -> Block:
        """Give one block."""
        block = Block(self._levels[level][position * BLOCK : (position + 1) * BLOCK])
        assert block.width >= needed
        return block


def hashes(count: int) -> list[bytes]:
    """Leaf hashes of so many different bodies."""
    return [leaf_hash(str(i).encode()) for i in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    """Roots of one to eight leaves are those that Certificate Transparency published."""
    leaves = [leaf_hash(body) for body in LEAVES[:size]]
    assert HashTree(Stored(leaves)).root().hex() == ROOTS[size - 1]
    running = RunningRoot()
    for leaf in leaves:
        running.append(leaf)
    assert running.root().hex() == ROOTS[size - 1]


def test_root_of_nothing() -> None:
    """The root of an empty ledger is SHA-256 of nothing."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert RunningRoot().root().hex() == empty
    assert HashTree(Stored([])).root().hex() == empty


@given(size=st.integers(1, 700), data=st.data())
def test_inclusion_proofs_hold_and_only_for_their_leaf(size: int, data: st.DataObject) -> None:
    """A proof leads from its own leaf to the root, and from no other leaf or index."""
    leaves = hashes(size)
    tree = HashTree(Stored(leaves))
    index = data.draw(st.integers(0, size - 1))
    path, root = tree.inclusion(index), tree.root()
    assert inclusion_holds(index=index, size=size, leaf=leaves[index], path=path, root=root)
    other = leaf_hash(b"another")
    assert not inclusion_holds(index=index, size=size, leaf=other, path=path, root=root)
    if size > 1:
        wrong = (index + 1) % size
        assert not inclusion_holds(index=wrong, size=size, leaf=leaves[index], path=path, root=root)


@given(earlier=st.integers(1, 700), more=st.integers(0, 700))
def test_consistency_proofs_hold_and_find_a_rewritten_past(earlier: int, more: int) -> None:
    """An earlier head is proven to be the beginning; a rewritten one is not."""
    leaves = hashes(earlier + more)
    tree = HashTree(Stored(leaves))
    before, after = tree.root(earlier), tree.root()
    proof = tree.consistency(earlier)
    assert consistency_holds(
        proof, earlier=earlier, earlier_root=before, later=len(leaves), later_root=after
    )
    rewritten = HashTree(Stored([leaf_hash(b"rewritten"), *leaves[1:earlier]])).root()
    assert not consistency_holds(
        proof, earlier=earlier, earlier_root=rewritten, later=len(leaves), later_root=after
    )


def test_running_root_agrees_with_the_stored_tree_across_blocks() -> None:
    """Both ways to a root agree before, at and after the edges of blocks."""
    leaves = hashes(2 * BLOCK + 3)
    running = RunningRoot()
    for count, leaf in enumerate(leaves, start=1):
        running.append(leaf)
        if count in (1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 3):
            assert HashTree(Stored(leaves[:count])).root() == running.root()


@pytest.mark.parametrize("path_length", [0, 1, 3])
def test_a_path_of_the_wrong_length_is_refused(path_length: int) -> None:
    """A path too short or too long is an error, not another root."""
    with pytest.raises(ValueError, match=r"too (short|long)"):
        root_from_path(0, 4, leaf_hash(b"x"), [leaf_hash(b"y")] * path_length)


def test_a_perfect_subtree_needs_a_power_of_two() -> None:
    """Three hashes are no perfect subtree."""
    with pytest.raises(ValueError, match="power of two"):
        perfect_root(hashes(3))
