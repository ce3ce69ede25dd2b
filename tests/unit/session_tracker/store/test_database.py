"""The store: one writer, group commit, append-only tables, places that cannot be written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from session_tracker.merkle import BLOCK, HASH_BYTES, leaf_hash, perfect_root
from session_tracker.store.database import Database
from session_tracker.store.schema import (
    APPEND_ONLY,
    ledger_entries,
    ledger_nodes,
    ledger_tiles,
    programmes,
)
from session_tracker.store.testing import PostgresServer
from session_tracker.store.writer import NewEntry, Transaction
from verifier.errors import ConfigurationError, StorageError

pytestmark = pytest.mark.both_databases

ROOT = Path(__file__).resolve().parents[4]
PROGRAMME = {"name": "p", "version": "1", "digest": "d", "document": "{}", "registered_ms": 1}


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, empty database."""
    made = Database(database_url)
    await made.open()
    yield made
    await made.close()


def leaf(key: str, subject: str = "s") -> NewEntry:
    """An entry that says nothing."""
    return NewEntry(subject=subject, key=key, kind="note", body=key.encode())


async def append(database: Database, *entries: NewEntry) -> list[int]:
    """Append in a transaction of its own."""

    async def job(tx: Transaction) -> list[int]:
        return await tx.append(entries)

    return await database.write(job)


async def indices(database: Database) -> list[int]:
    """The indices of all entries, in order."""
    async with database.read() as connection:
        query = select(ledger_entries.c.idx).order_by(ledger_entries.c.idx)
        return list((await connection.scalars(query)).all())


async def test_many_writers_leave_no_hole(database: Database) -> None:
    """Entries appended at the same time get all the indices from 0 on, each once."""
    got = await asyncio.gather(*(append(database, leaf(f"k{i}")) for i in range(300)))
    assert sorted(index for (index,) in got) == list(range(300))
    assert await indices(database) == list(range(300))


async def test_a_faulty_job_fails_alone(database: Database) -> None:
    """Of jobs committed together only the one that is wrong fails, and it leaves no hole."""
    await append(database, leaf("taken"))

    async def broken(tx: Transaction) -> None:
        await tx.append([leaf("half")])
        raise KeyError("a mistake")

    results = await asyncio.gather(
        append(database, leaf("a")),
        append(database, leaf("taken")),
        database.write(broken),
        append(database, leaf("b")),
        return_exceptions=True,
    )
    assert isinstance(results[1], IntegrityError)
    assert isinstance(results[2], KeyError)
    assert await indices(database) == [0, 1, 2]


async def test_a_job_is_whole_or_nothing(database: Database) -> None:
    """Where the entry cannot be appended, the row beside it is not there either."""
    await append(database, leaf("taken"))

    async def job(tx: Transaction) -> None:
        await tx.connection.execute(insert(programmes), PROGRAMME)
        await tx.append([leaf("taken")])

    with pytest.raises(IntegrityError):
        await database.write(job)
    async with database.read() as connection:
        assert (await connection.execute(select(programmes))).all() == []


async def test_roots_of_full_blocks_are_stored(database: Database) -> None:
    """Each 256 entries leave the root of their block, however the batches fell."""
    bodies = [f"{i}".encode() for i in range(2 * BLOCK + 10)]
    for start in range(0, len(bodies), 100):
        part = range(start, min(start + 100, len(bodies)))
        await append(database, *(leaf(str(i)) for i in part))
    async with database.read() as connection:
        rows = (await connection.execute(select(ledger_nodes))).all()
    expected = [
        perfect_root([leaf_hash(body) for body in bodies[i * BLOCK : (i + 1) * BLOCK]])
        for i in range(2)
    ]
    assert [(row.level, row.position, row.hash) for row in rows] == [
        (1, 0, expected[0]),
        (1, 1, expected[1]),
    ]


async def test_hashes_of_full_blocks_are_stored_as_tiles(database: Database) -> None:
    """Each 256 entries leave their hashes in one row, one after the other."""
    bodies = [f"{i}".encode() for i in range(2 * BLOCK + 10)]
    await append(database, *(leaf(str(i)) for i in range(len(bodies))))
    async with database.read() as connection:
        rows = (await connection.execute(select(ledger_tiles))).all()
    hashes = b"".join(leaf_hash(body) for body in bodies)
    size = BLOCK * HASH_BYTES
    assert [(row.level, row.position, row.hashes) for row in rows] == [
        (0, 0, hashes[:size]),
        (0, 1, hashes[size : 2 * size]),
    ]


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
async def test_the_database_itself_refuses_changes(
    database: Database, table: str, statement: str
) -> None:
    """Nobody can update or delete what is in the ledger, not even past our own code."""
    await append(database, *(leaf(str(i)) for i in range(BLOCK)))
    async with database.read() as connection:
        root = await connection.scalar(select(ledger_nodes.c.hash))

    async def head(tx: Transaction) -> None:
        await tx.connection.execute(
            text("INSERT INTO ledger_heads VALUES (256, :root, 1, 'k.s')"), {"root": root}
        )

    await database.write(head)
    columns = {"ledger_entries": "kind", "ledger_nodes": "hash", "ledger_tiles": "hashes"}
    column = columns.get(table, "root")
    change = statement.format(table, column, "'x'")

    async def attempt(tx: Transaction) -> None:
        await tx.connection.execute(text(change))

    with pytest.raises(IntegrityError, match="append-only"):
        await database.write(attempt)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "values",
    [
        "(1, 's', 'k0', 'note', X'00', X'00')",
        "(0, 's', 'new', 'note', X'00', X'00')",
        "(5, 's', 'new', 'note', X'00', X'00')",
    ],
    ids=["same key", "same index", "hole"],
)
async def test_replacing_is_refused_too(database_url: str, database: Database, values: str) -> None:
    """INSERT OR REPLACE from another program cannot push an entry out or leave a hole."""
    await append(database, leaf("k0"))
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(f"INSERT OR REPLACE INTO ledger_entries VALUES {values}")  # noqa: S608
    finally:
        other.close()


async def test_readers_cannot_write(database: Database) -> None:
    """A connection for reading refuses to write."""
    with pytest.raises(StorageError, match=r"read-?only"):
        async with database.read() as connection:
            await connection.execute(insert(programmes), PROGRAMME)


@pytest.mark.sqlite_only
async def test_pragmas(database: Database) -> None:
    """SQLite keeps what it acknowledged: WAL, synchronous=FULL, foreign keys."""

    async def job(tx: Transaction) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        return [await tx.connection.scalar(text(f"PRAGMA {name}")) for name in names]

    assert await database.write(job) == ["wal", 2, 1, 1]


@pytest.mark.sqlite_only
async def test_a_full_disk_is_said_and_survived(database: Database) -> None:
    """A database that cannot grow answers with StorageError; afterwards everything goes on."""
    await append(database, leaf("before"))

    async def limit(tx: Transaction) -> None:
        pages = await tx.connection.scalar(text("PRAGMA page_count"))
        await tx.connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await database.write(limit)
    big = NewEntry(subject="s", key="big", kind="note", body=b"x" * 1_000_000)
    with pytest.raises(StorageError, match="full") as caught:
        await append(database, big)
    assert "Free some disk space" in caught.value.remedy

    async def widen(tx: Transaction) -> None:
        await tx.connection.execute(text("PRAGMA max_page_count = 1000000"))

    await database.write(widen)
    assert await append(database, leaf("after")) == [1]


async def test_a_missing_directory_is_named_before_anything_starts(tmp_path: Path) -> None:
    """The error says which directory is missing and what to do."""
    with pytest.raises(ConfigurationError, match="nowhere does not exist") as caught:
        await Database(f"sqlite:///{tmp_path}/nowhere/db.sqlite3").open()
    assert "Create it" in caught.value.remedy


@pytest.mark.sqlite_only
async def test_a_read_only_database_is_refused_at_the_start(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that can only be read is an error with its remedy, not a surprise later."""
    monkeypatch.setattr("session_tracker.store.database.os.access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="read-only") as caught:
        await Database(database_url).open()
    assert "writable" in caught.value.remedy


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Some other file in the place of the database is left alone and named."""
    (tmp_path / "db.sqlite3").write_bytes(b"this is a shopping list, not a database" * 50)
    with pytest.raises(StorageError, match="not a database") as caught:
        await Database(f"sqlite:///{tmp_path}/db.sqlite3").open()
    assert "backup" in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x/y", "not supported"),
        ("sqlite://", "lasts"),
        ("sqlite:///:memory:", "lasts"),
        ("no url", "cannot be read"),
    ],
)
def test_urls_that_cannot_work(url: str, said: str) -> None:
    """A database that does not last or is not supported is refused by name."""
    with pytest.raises(ConfigurationError, match=said):
        Database(url)


async def test_a_closed_store_refuses(database_url: str) -> None:
    """Writing to a store that is closed is an error, not a wait."""
    database = Database(database_url)
    with pytest.raises(ConfigurationError, match="not open"):
        await append(database, leaf("x"))


_FILLS_ITS_DISK = """
import asyncio, resource, signal, sys
from session_tracker.store.database import Database
from session_tracker.store.writer import NewEntry
from verifier.errors import StorageError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def entry(key, size=10):
    return NewEntry(subject="s", key=key, kind="note", body=b"x" * size)

async def main():
    database = Database(sys.argv[1])
    await database.open()
    limit = 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    number = 0
    try:
        while True:
            await database.write(lambda tx: tx.append([entry(str(number), 30_000)]))
            number += 1
    except StorageError as error:
        print(number, error.remedy)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    await database.probe()
    print(await database.write(lambda tx: tx.append([entry("after")])))
    await database.close()

asyncio.run(main())
"""


@pytest.mark.sqlite_only
async def test_a_disk_that_is_full_in_mid_operation(database_url: str) -> None:
    """Writes that the system refuses: nothing half, nothing lost, and on when there is room."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _FILLS_ITS_DISK,
        database_url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    first, after = out.decode().splitlines()
    count, remedy = int(first.split()[0]), first.partition(" ")[2]
    assert count > 5
    assert "disk" in remedy
    assert after == f"[{count}]"
    database = Database(database_url)
    await database.open()
    assert await indices(database) == list(range(count + 1))
    await database.close()


@pytest.mark.postgres
async def test_a_postgres_that_turns_read_only(postgres: PostgresServer) -> None:
    """A standby or a full server refuses to write: said with its remedy, and survived."""
    name = postgres.create()
    database = Database(postgres.url(name))
    await database.open()
    await append(database, leaf("before"))
    change = f"ALTER DATABASE {name} SET default_transaction_read_only"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    postgres.execute(f"{change} = on", end)
    with pytest.raises(StorageError, match="read-only") as caught:
        await append(database, leaf("refused"))
    assert "writable" in caught.value.remedy
    postgres.execute(f"{change} = off", end)
    assert await append(database, leaf("after")) == [1]
    await database.close()
    postgres.drop(name)


async def test_two_processes_append_to_one_ledger(database_url: str) -> None:
    """Two writers that know nothing of each other leave one ledger without hole or double."""
    one, other = Database(database_url), Database(database_url)
    await one.open()
    await other.open()
    got = await asyncio.gather(
        *(append(one, leaf(f"a{i}")) for i in range(60)),
        *(append(other, leaf(f"b{i}")) for i in range(60)),
        *(append(database, leaf("same")) for database in (one, other)),
        return_exceptions=True,
    )
    failed = [result for result in got if isinstance(result, BaseException)]
    assert [type(error) for error in failed] == [IntegrityError]
    assert await indices(one) == list(range(121))
    await one.close()
    await other.close()
