"""SIGKILL in the middle of commits: of the writer on SQLite, of the whole server on PostgreSQL.

What was acknowledged is there, nothing is there twice, an entry and its row are there both or
neither, and the tree is whole. A few kills here; fifty of each in `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from session_tracker.audit import audit_database
from session_tracker.policy import load_policy
from session_tracker.store.database import Database
from session_tracker.store.schema import ledger_entries, programmes
from session_tracker.store.testing import PostgresServer
from session_tracker.store.writer import NewEntry, Transaction
from session_tracker.testing import Studio
from verifier.clock import ManualClock
from verifier.errors import StorageError
from verifier.keys import KeyRing

TARGET = Path(__file__).with_name("store_target.py")
ROOT = TARGET.parent.parent.parent
KEYRING = KeyRing.generate(ManualClock())

few_and_many = pytest.mark.parametrize(
    "kills", [3, pytest.param(50, marks=pytest.mark.soak)], ids=["few", "fifty"]
)


async def stored(database: Database) -> tuple[list[str], set[str]]:
    """Keys of the ledger in order, and of the rows beside it; the ledger is audited."""
    async with database.read() as connection:
        query = select(ledger_entries.c.key).order_by(ledger_entries.c.idx)
        keys = list((await connection.scalars(query)).all())
        rows = set((await connection.scalars(select(programmes.c.name))).all())
    audit = await audit_database(database, KEYRING)
    # The bodies are no entries here; everything else has to be right.
    assert {f.what for f in audit.findings if "not an entry" not in f.detail} == set()
    assert audit.entries == len(keys)
    return keys, rows


@pytest_asyncio.fixture
async def forge() -> AsyncIterator[asyncio.subprocess.Process]:
    """The process that forks writers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(TARGET),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    yield process
    process.terminate()
    await process.wait()


@pytest.mark.slow
@few_and_many
async def test_a_writer_killed_in_the_middle_of_commits(
    database_url: str, forge: asyncio.subprocess.Process, kills: int
) -> None:
    """SQLite: the process that writes is the database; killed, it loses nothing acknowledged."""
    assert forge.stdin is not None
    assert forge.stdout is not None
    chance = random.Random(50)
    acknowledged: set[str] = set()
    for number in range(kills):
        forge.stdin.write(f"{number} {database_url}\n".encode())
        await forge.stdin.drain()
        pid = int(await forge.stdout.readline())
        first = (await forge.stdout.readline()).decode()
        acknowledged.add(first.strip())
        await asyncio.sleep(chance.uniform(0, 0.08))
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            while line := await asyncio.wait_for(forge.stdout.readline(), 0.2):
                if line.endswith(b"\n"):
                    acknowledged.add(line.decode().strip())
        database = Database(database_url)
        await database.open()
        keys, rows = await stored(database)
        await database.close()
        assert len(keys) == len(set(keys))
        assert acknowledged <= set(keys) == rows
    assert len(acknowledged) > 10 * kills


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with fsync on."""
    with PostgresServer(durable=True) as made:
        yield made


@pytest.mark.slow
@pytest.mark.postgres
@few_and_many
async def test_a_server_killed_in_the_middle_of_commits(server: PostgresServer, kills: int) -> None:
    """PostgreSQL: postmaster and backends killed; what was not acknowledged may be sent again."""
    chance = random.Random(51)
    database = Database(server.url(server.create()))
    await database.open()
    acknowledged: set[str] = set()

    async def write(key: str) -> bool:
        async def job(tx: Transaction) -> None:
            row = {"name": key, "version": "1", "digest": "d", "document": "{}"}
            await tx.connection.execute(insert(programmes), {**row, "registered_ms": 1})
            await tx.append([NewEntry(subject="s", key=key, kind="note", body=key.encode())])

        try:
            await database.write(job)
        except IntegrityError:  # it was durable, only its acknowledgement was lost
            pass
        except StorageError:
            return False
        acknowledged.add(key)
        return True

    async def writer(name: str) -> str:
        number = 0
        while await write(f"{name}.{number}"):
            number += 1
        return f"{name}.{number}"

    for kill in range(kills):
        tasks = [asyncio.create_task(writer(f"{kill}.{task}")) for task in range(8)]
        await asyncio.sleep(chance.uniform(0.02, 0.15))
        await asyncio.to_thread(server.crash)
        lost = await asyncio.gather(*tasks)
        await asyncio.to_thread(server.start)
        keys, rows = await stored(database)
        assert len(keys) == len(set(keys))
        assert acknowledged <= set(keys) == rows
        assert all([await write(key) for key in lost])  # sent again, not doubled
    keys, rows = await stored(database)
    assert acknowledged == set(keys) == rows
    assert len(keys) == len(rows) > kills
    await database.close()


@pytest.mark.slow
@pytest.mark.postgres
async def test_a_lesson_survives_its_database(server: PostgresServer) -> None:
    """The server dies twice in a lesson: frames come again, credit is that of the facts."""
    studio = Studio(server.url(server.create()), policy=load_policy("demo"))
    await studio.start()
    lesson = await studio.open()
    await lesson.watch(60)
    acknowledged: set[str] = set()
    for _ in range(2):
        await lesson.watch(30)
        studio.clock.advance(5_000)
        await asyncio.to_thread(server.crash)
        with pytest.raises(StorageError):
            await studio.verifier.frame(lesson.id, identity=True)
        await asyncio.to_thread(server.start)
        event = await studio.verifier.frame(lesson.id, identity=True)
        acknowledged.add(f"identity:1:{event.event_id}")
        await studio.service.settled()
    await lesson.close()
    facts = await studio.service.facts(lesson.id)
    keys = [fact.key for fact in facts]
    assert acknowledged <= set(keys)
    assert len(keys) == len(set(keys))
    _, state = await studio.service.session_credit(lesson.id)
    assert state.credit.credited_s > 60
    assert (await studio.service.audit()).intact
    await studio.stop()
