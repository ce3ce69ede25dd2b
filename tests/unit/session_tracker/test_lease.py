"""Leases: one holder per learner, and fencing numbers that only grow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import insert

from session_tracker import lease
from session_tracker.store.database import Database
from session_tracker.store.schema import learners
from session_tracker.store.writer import Transaction
from verifier.errors import Conflict

pytestmark = pytest.mark.both_databases

LEARNER = {
    "id": "l",
    "category": "principal",
    "track": "initial",
    "industry": "furniture",
    "business_ref": "b",
    "created_ms": 0,
}


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with one learner."""
    made = Database(database_url)
    await made.open()

    async def job(tx: Transaction) -> None:
        await tx.connection.execute(insert(learners), LEARNER)

    await made.write(job)
    yield made
    await made.close()


async def take(database: Database, session: str, epoch: int, expires_ms: int = 100) -> None:
    """Take the learner's lease."""

    async def job(tx: Transaction) -> None:
        await lease.take(
            tx.connection, learner_id="l", session_id=session, epoch=epoch, expires_ms=expires_ms
        )

    await database.write(job)


async def extend(database: Database, session: str, epoch: int, expires_ms: int) -> None:
    """Note a heartbeat."""

    async def job(tx: Transaction) -> None:
        await lease.extend(
            tx.connection, learner_id="l", session_id=session, epoch=epoch, expires_ms=expires_ms
        )

    await database.write(job)


async def held(database: Database) -> lease.Lease | None:
    """Look at the learner's lease."""
    async with database.read() as connection:
        return await lease.current(connection, "l")


async def test_a_heartbeat_extends_the_lease(database: Database) -> None:
    """The holder goes on holding as long as it is heard of."""
    assert await held(database) is None
    await take(database, "a", 1)
    await extend(database, "a", 1, 500)
    found = await held(database)
    assert found is not None
    assert (found.session_id, found.live(499), found.live(500)) == ("a", True, False)


async def test_the_older_holder_is_fenced_off(database: Database) -> None:
    """After another session took over, late heartbeats of the older one are refused."""
    await take(database, "a", 1)
    await take(database, "b", 2)
    with pytest.raises(Conflict, match="another device by now"):
        await extend(database, "a", 1, 900)
    found = await held(database)
    assert found is not None
    assert found.session_id == "b"


@pytest.mark.parametrize("epoch", [1, 2])
async def test_an_epoch_is_used_once(database: Database, epoch: int) -> None:
    """Of two sessions that took over at once the one with the older number loses."""
    await take(database, "b", 2)
    with pytest.raises(Conflict, match="another device"):
        await take(database, "a", epoch)


async def test_released_is_free(database: Database) -> None:
    """A session that ended leaves an expired lease; releasing a foreign one does nothing."""
    await take(database, "a", 1)

    async def job(tx: Transaction) -> None:
        await lease.release(tx.connection, session_id="somebody else")
        await lease.release(tx.connection, session_id="a")

    await database.write(job)
    found = await held(database)
    assert found is not None
    assert not found.live(0)
