"""Writes of many callers gather; whoever is alone waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from session_tracker.store.database import Database
from session_tracker.store.writer import CROWDED, Transaction, Writer


async def nothing(tx: Transaction) -> Transaction:
    """Write nothing, and tell in which transaction."""
    return tx


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    """The writer of an open database."""
    database = Database(f"sqlite:///{tmp_path / 'one.sqlite3'}")
    await database.open()
    assert database._writer is not None
    yield database._writer
    await database.close()


async def test_who_is_alone_does_not_wait(writer: Writer) -> None:
    """One write after the other, however many, is no crowd."""
    for _ in range(30):
        await writer.write(nothing)
    assert writer._crowd == 1.0


async def test_a_crowd_shares_transactions(writer: Writer) -> None:
    """Where callers come in numbers, a small batch waits a moment for more, until they go."""
    await asyncio.gather(*(writer.write(nothing) for _ in range(20)))
    assert writer._crowd > CROWDED
    first = asyncio.create_task(writer.write(nothing))
    for _ in range(5):
        await asyncio.sleep(0)
    assert writer._queue.empty(), "the writer has it"
    more = [asyncio.create_task(writer.write(nothing)) for _ in range(5)]
    transactions = await asyncio.gather(first, *more)
    assert len({id(tx) for tx in transactions}) == 1
    for _ in range(60):
        await writer.write(nothing)
    assert writer._crowd <= CROWDED
