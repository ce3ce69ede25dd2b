"""The Merkle tree as the database holds it: a full block is one row, and what was read is kept.

Of every full block of 256 hashes a *tile* is stored, the hashes in one row (as logs that are read
as tiles do); the blocks at the right edge, which still grow, are rows of entries and nodes. Which
blocks a proof needs is found by a rehearsal on nothing, so that all of its tiles are read in one
query.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

from sqlalchemy import Connection, Select, TextClause, func, select, text

from session_tracker.merkle import BLOCK, HASH_BYTES, Block, HashTree
from session_tracker.store.schema import ledger_entries, ledger_nodes
from verifier.errors import StorageError

T = TypeVar("T")
Place = tuple[int, int]
"""Level of a block and its position there."""

_CACHED_BLOCKS: Final = 2_048
"""They hold every node over half a million entries in 33 MiB."""


class BlockCache:
    """The blocks used last. What is in a ledger never changes: a block only grows."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Place, Block] = OrderedDict()
        self.seen = 0
        """Entries known to be there."""

    def get(self, place: Place, needed: int) -> Block | None:
        """Give a block where it is there with so many hashes."""
        found = self._kept.get(place)
        if found is None or found.width < needed:
            return None
        self._kept.move_to_end(place)
        return found

    def put(self, place: Place, block: Block) -> None:
        """Keep a block as read in a committed view."""
        self._kept[place] = block
        self._kept.move_to_end(place)
        if len(self._kept) > _CACHED_BLOCKS:
            self._kept.popitem(last=False)

    def take(self, other: BlockCache) -> None:
        """Keep what another one holds, too: of a transaction that has been committed since."""
        for place, block in other._kept.items():
            self.put(place, block)
        self.seen = max(self.seen, other.seen)


class _Blank(Block):
    """A block of a rehearsal: it is asked, and what it answers is used for nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(())

    def node(self, start: int, width: int) -> bytes:
        del start, width
        return bytes(HASH_BYTES)


_BLANK: Final = _Blank()


class _Rehearsal:
    """Blocks that are not there, and the note of which were asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.wanted: dict[Place, int] = {}
        """Place -> hashes needed of it."""

    def size(self) -> int:
        return self._size

    def block(self, level: int, position: int, needed: int) -> Block:
        place = level, position
        self.wanted[place] = max(needed, self.wanted.get(place, 0))
        return _BLANK


class _Found:
    """The blocks of one proof, held until it is done whatever the cache forgets."""

    def __init__(self, size: int, blocks: dict[Place, Block]) -> None:
        self._size = size
        self._blocks = blocks

    def size(self) -> int:
        return self._size

    def block(self, level: int, position: int, needed: int) -> Block:
        found = self._blocks[level, position]
        if found.width < needed:
            raise StorageError(
                f"The ledger lacks hashes of block {level}/{position}.",
                remedy="Check it with `benren ledger verify`.",
            )
        return found


def from_memory(work: Callable[[HashTree], T], size: int, kept: BlockCache) -> T | None:
    """Do `work` on the tree of `size` entries from blocks in memory; None where they do not do."""
    if size > kept.seen:
        return None
    found = {}
    for place, needed in _wanted(work, size).items():
        block = kept.get(place, needed)
        if block is None:
            return None
        found[place] = block
    return work(HashTree(_Found(size, found)))


def from_database(
    work: Callable[[HashTree], T], size: int | None, connection: Connection, kept: BlockCache
) -> T:
    """Do `work` on the tree as it is stored.

    Nothing of a ledger ever changes, so that no consistent view is needed to read some of it.
    `size`: how many entries the work is about; None: all of them.
    """
    if size is None or size > kept.seen:
        last = connection.scalar(select(func.max(ledger_entries.c.idx)))
        size = 0 if last is None else last + 1
        kept.seen = max(kept.seen, size)
    found: dict[Place, Block] = {}
    missing: dict[Place, int] = {}
    for place, needed in _wanted(work, size).items():
        block = kept.get(place, needed)
        if block is None:
            missing[place] = needed
        else:
            found[place] = block
    for place, block in _read(connection, missing).items():
        kept.put(place, block)
        found[place] = block
    return work(HashTree(_Found(size, found)))


def _wanted(work: Callable[[HashTree], object], size: int) -> dict[Place, int]:
    rehearsal = _Rehearsal(size)
    work(HashTree(rehearsal))
    return rehearsal.wanted


def _read(connection: Connection, places: dict[Place, int]) -> dict[Place, Block]:
    """Read blocks: full ones from their tiles, those that still grow from entries and nodes."""
    if not places:
        return {}
    found = {}
    names = {f"{'lp'[part]}{i}": place[part] for i, place in enumerate(places) for part in (0, 1)}
    for level, position, hashes in connection.execute(_tiles(len(places)), names):
        parts = [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]
        found[level, position] = Block(parts)
    for place in places:
        if place not in found:
            found[place] = Block(connection.scalars(_growing(*place)).all())
    return found


@cache
def _tiles(count: int) -> TextClause:
    """Give the query for so many tiles: level and position l0 and p0, l1 and p1 and so on."""
    places = " OR ".join(f"(level = :l{i} AND position = :p{i})" for i in range(count))
    return text(f"SELECT level, position, hashes FROM ledger_tiles WHERE {places}")  # noqa: S608


def _growing(level: int, position: int) -> Select[bytes]:
    start = position * BLOCK
    if level == 0:
        key = ledger_entries.c.idx
        query = select(ledger_entries.c.leaf_hash)
    else:
        key = ledger_nodes.c.position
        query = select(ledger_nodes.c.hash).where(ledger_nodes.c.level == level)
    return query.where(key >= start, key < start + BLOCK).order_by(key)
