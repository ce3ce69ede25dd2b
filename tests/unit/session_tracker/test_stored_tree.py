"""Blocks of the tree: what is kept in memory, and what a proof reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from sqlalchemy import Connection, event

from session_tracker import stored_tree
from session_tracker.merkle import BLOCK, HashTree, inclusion_holds, leaf_hash
from session_tracker.store.database import Database
from session_tracker.store.testing import tamper
from session_tracker.store.writer import NewEntry
from session_tracker.stored_tree import BlockCache, from_database, from_memory
from verifier.errors import StorageError

pytestmark = pytest.mark.both_databases
SIZE = 2 * BLOCK + 40


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with two full blocks and some more."""
    made = Database(database_url)
    await made.open()
    await append(made, 0, SIZE)
    yield made
    await made.close()


def body(number: int) -> bytes:
    """Bytes like no others."""
    return f"entry {number}".encode()


async def append(database: Database, first: int, count: int) -> None:
    """Append so many entries."""
    entries = [
        NewEntry(subject="s", key=str(i), kind="note", body=body(i))
        for i in range(first, first + count)
    ]
    await database.write(lambda transaction: transaction.append(entries))


@contextmanager
def statements(connection: Connection) -> Iterator[list[str]]:
    """Collect what is asked of the database."""
    asked: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    yield asked
    event.remove(connection, "before_cursor_execute", note)


async def proof(
    database: Database, cache: BlockCache, index: int, size: int
) -> tuple[list[bytes], list[str]]:
    """Prove from the database; with the statements that it took."""

    def work(connection: Connection) -> tuple[list[bytes], list[str]]:
        with statements(connection) as asked:
            path = from_database(lambda tree: tree.inclusion(index, size), size, connection, cache)
        return path, asked

    async with database.read() as connection:
        return await connection.run_sync(work)


def root(size: int) -> bytes:
    """The root of so many entries, worked out from the beginning."""
    return HashTree(Plain([leaf_hash(body(i)) for i in range(size)])).root()


class Plain:
    """Hashes in a list."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        while len(self.levels[-1]) >= BLOCK:
            below = self.levels[-1]
            full = range(0, len(below) // BLOCK * BLOCK, BLOCK)
            roots = [stored_tree.Block(below[i : i + BLOCK]).node(0, BLOCK) for i in full]
            self.levels.append(roots)

    def size(self) -> int:
        """Count the leaves."""
        return len(self.levels[0])

    def block(self, level: int, position: int, needed: int) -> stored_tree.Block:
        """Give a block."""
        del needed
        return stored_tree.Block(self.levels[level][position * BLOCK : (position + 1) * BLOCK])


async def test_a_block_that_is_not_in_memory_costs_one_query(database: Database) -> None:
    """Once the right edge is known, whatever lies in full blocks is read as one row."""
    cache = BlockCache()
    await proof(database, cache, SIZE - 1, SIZE)
    path, asked = await proof(database, cache, 3, SIZE)
    assert len(asked) == 1
    assert "ledger_tiles" in asked[0]
    assert inclusion_holds(index=3, size=SIZE, leaf=leaf_hash(body(3)), path=path, root=root(SIZE))
    path, asked = await proof(database, cache, 4, SIZE)
    assert not asked
    assert inclusion_holds(index=4, size=SIZE, leaf=leaf_hash(body(4)), path=path, root=root(SIZE))


async def test_the_first_proof_reads_all_it_needs_at_once(database: Database) -> None:
    """Of nothing known: how many there are, the tiles, and the two blocks that still grow."""
    path, asked = await proof(database, BlockCache(), 300, SIZE)
    assert len(asked) == 4
    leaf = leaf_hash(body(300))
    assert inclusion_holds(index=300, size=SIZE, leaf=leaf, path=path, root=root(SIZE))


async def test_a_block_that_grew_is_read_again(database: Database) -> None:
    """What was known of the right edge does for older heads, and not for newer ones."""
    cache = BlockCache()
    await proof(database, cache, 0, SIZE)
    await append(database, SIZE, BLOCK)
    size = SIZE + BLOCK
    for index in (0, SIZE - 1, SIZE, size - 1):
        path, _ = await proof(database, cache, index, size)
        leaf = leaf_hash(body(index))
        assert inclusion_holds(index=index, size=size, leaf=leaf, path=path, root=root(size))
    path, _ = await proof(database, cache, 5, SIZE)
    assert inclusion_holds(index=5, size=SIZE, leaf=leaf_hash(body(5)), path=path, root=root(SIZE))


async def test_memory_does_only_where_all_of_it_is_there(database: Database) -> None:
    """A proof from memory is whole, or there is none."""
    cache = BlockCache()

    def early(tree: HashTree) -> list[bytes]:
        return tree.inclusion(1, SIZE)

    assert from_memory(early, SIZE, cache) is None
    await proof(database, cache, 0, SIZE)
    assert from_memory(early, SIZE, cache) is not None
    assert from_memory(lambda tree: tree.inclusion(300, SIZE), SIZE, cache) is None
    assert from_memory(lambda tree: tree.root(), SIZE + 1, cache) is None


async def test_little_memory_is_enough(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof holds its own blocks, even where the cache forgets them at once."""
    monkeypatch.setattr(stored_tree, "_CACHED_BLOCKS", 1)
    path, _ = await proof(database, BlockCache(), 300, SIZE)
    leaf = leaf_hash(body(300))
    assert inclusion_holds(index=300, size=SIZE, leaf=leaf, path=path, root=root(SIZE))


async def test_a_block_with_a_hole_is_an_error_with_a_remedy(
    database: Database, database_url: str
) -> None:
    """Of a damaged ledger nothing is proven."""
    where = {"idx": 2 * BLOCK + 1}
    await tamper(database_url, ("DELETE FROM ledger_entries WHERE idx = :idx", where))
    with pytest.raises(StorageError, match="lacks hashes of block 0/2") as caught:
        await proof(database, BlockCache(), 0, SIZE)
    assert "ledger verify" in caught.value.remedy
