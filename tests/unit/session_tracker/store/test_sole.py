"""One tracker per database: who is refused, who is not, and what becomes of a lock that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from session_tracker.events import Closed, SystemFault
from session_tracker.policy import load_policy
from session_tracker.store import sole
from session_tracker.store.database import Database
from session_tracker.store.schema import ledger_entries
from session_tracker.store.testing import PostgresServer
from session_tracker.store.writer import NewEntry
from session_tracker.testing import Studio
from verifier.errors import ConfigurationError, StorageError

HOLDER = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1111838291 AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that waits for nobody."""
    monkeypatch.setattr(sole, "WAIT_S", 0)


def another(studio: Studio) -> Studio:
    """A tracker of another process on the same database, not started."""
    return Studio(studio.url, policy=studio.policy, keyring=studio.keyring)


@pytest.mark.both_databases
@pytest.mark.usefixtures("impatient")
async def test_a_second_tracker_is_refused_and_touches_nothing(studio: Studio) -> None:
    """The sessions of the first go on without fault or end; later there is room for another."""
    lesson = await studio.open()
    await lesson.watch(60)
    second = another(studio)
    with pytest.raises(ConfigurationError, match="Another tracker serves this database") as caught:
        await second.service.start()
    assert "one tracker per database" in caught.value.remedy
    await lesson.watch(60)
    facts = await studio.service.facts(lesson.id)
    assert not [fact for fact in facts if isinstance(fact, SystemFault | Closed)]
    await studio.stop()
    await second.service.start()
    await second.stop()


@pytest.mark.both_databases
async def test_a_start_waits_for_the_process_before_it_to_end(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor may start the new one while the old one is still putting things away."""
    looked = asyncio.Event()
    kind = sole.FileLock if studio.url.startswith("sqlite") else sole.SessionLock
    real = kind.attempt

    async def attempt(self: Any) -> bool:
        taken = await real(self)
        looked.set()
        return taken

    monkeypatch.setattr(kind, "attempt", attempt)
    second = another(studio)
    starting = asyncio.create_task(second.service.start())
    seen = asyncio.create_task(looked.wait())
    await asyncio.wait({starting, seen}, return_when=asyncio.FIRST_COMPLETED)
    assert not starting.done()
    await studio.stop()
    await starting
    await second.stop()


@pytest.mark.both_databases
@pytest.mark.usefixtures("impatient")
async def test_tools_work_beside_a_tracker(studio: Studio) -> None:
    """What reads, and what writes a little, asks for no lock; nor does it let go of the other's."""
    reader = Database(studio.url)
    await reader.open_to_read()
    writer = Database(studio.url)
    await writer.open()
    entry = NewEntry(subject="s", key="k", kind="note", body=b"{}")
    await writer.write(lambda tx: tx.append([entry]))
    async with reader.read() as connection:
        query = select(ledger_entries.c.key).where(ledger_entries.c.subject == "s")
        assert list((await connection.scalars(query)).all()) == ["k"]
    await reader.close()
    await writer.close()
    with pytest.raises(ConfigurationError, match="Another tracker"):
        await another(studio).service.start()


@pytest.mark.usefixtures("impatient")
async def test_a_link_to_the_database_is_the_same_database(studio: Studio, tmp_path: Path) -> None:
    """By whatever name the file is reached."""
    link = tmp_path / "elsewhere.sqlite3"
    link.symlink_to(tmp_path / "tracker.sqlite3")
    second = Studio(f"sqlite:///{link}", policy=studio.policy, keyring=studio.keyring)
    with pytest.raises(ConfigurationError, match="Another tracker"):
        await second.service.start()


async def test_a_lock_file_that_was_removed_ends_all_writing(
    studio: Studio, tmp_path: Path
) -> None:
    """Somebody else could hold another file of that name: nothing is written, and it says why."""
    await studio.service.probe()
    (tmp_path / "tracker.sqlite3.lock").unlink()
    with pytest.raises(StorageError, match="was removed") as caught:
        await studio.service.probe()
    assert "Restart" in caught.value.remedy
    await studio.restart()
    await studio.service.probe()


@pytest_asyncio.fixture
async def served(postgres: PostgresServer, migrated: str) -> AsyncIterator[tuple[Studio, str]]:
    """A tracker on PostgreSQL, and the name of its database."""
    name = postgres.create(template=migrated)
    studio = Studio(postgres.url(name), policy=load_policy("demo"))
    await studio.start()
    yield studio, name
    await studio.stop()
    postgres.drop(name)


def cut(postgres: PostgresServer, name: str) -> None:
    """Have the server end the connection that holds the lock."""
    pid = postgres.execute(HOLDER, database=name)
    postgres.execute(f"SELECT pg_terminate_backend({pid}, 5000)")


@pytest.mark.postgres
async def test_a_lost_lock_is_taken_again_where_nobody_came(
    served: tuple[Studio, str], postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The lesson goes on, and the lock is held as before."""
    studio, name = served
    lesson = await studio.open()
    await lesson.watch(60)
    before = postgres.execute(HOLDER, database=name)
    cut(postgres, name)
    await lesson.watch(60)
    assert (await lesson.view()).play
    assert postgres.execute(HOLDER, database=name) not in ("", before)
    assert "the lock of the only tracker was lost" in caplog.text
    assert "is held again" in caplog.text


@pytest.mark.postgres
@pytest.mark.usefixtures("impatient")
async def test_whoever_lost_the_lock_to_another_writes_no_more(
    served: tuple[Studio, str], postgres: PostgresServer
) -> None:
    """While the other serves, and after it: what the first remembers is old until a restart."""
    studio, name = served
    lesson = await studio.open()
    await lesson.watch(60)
    cut(postgres, name)
    second = another(studio)
    second.clock.advance(studio.clock.stamp().monotonic_ms)
    await second.service.start()
    studio.clock.advance(5_000)
    with pytest.raises(StorageError, match="Another tracker serves this database now"):
        await studio.verifier.frame(lesson.id, identity=True)
    await second.stop()
    for _ in range(2):
        with pytest.raises(StorageError, match="has served this database meanwhile") as caught:
            await studio.service.probe()
    assert "Restart" in caught.value.remedy
    await studio.restart()
    await studio.service.probe()
    assert (await studio.service.audit()).intact
