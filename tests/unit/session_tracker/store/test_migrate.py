"""Migrations: up, down, interrupted, the tables the code believes in, databases from the future."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from session_tracker.merkle import BLOCK
from session_tracker.store import migrate, tables_people
from session_tracker.store.database import Database
from session_tracker.store.schema import APPEND_ONLY, metadata
from session_tracker.store.testing import PostgresServer
from session_tracker.store.writer import NewEntry
from verifier.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[4]
T = TypeVar("T")
_KILLED_WHILE_MIGRATING = """
import asyncio, os, signal, sys
from alembic.operations import Operations
from session_tracker.store.database import Database

url, left = sys.argv[1], int(sys.argv[2])
original = Operations.create_table

def create_table(self, *given, **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *given, **named)

Operations.create_table = create_table
asyncio.run(Database(url).open())
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/tracker.sqlite3"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


class Session:
    """Runs synchronous steps, each in a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, step: Callable[[Connection], T]) -> T:
        """Run one step and commit."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(step)


@pytest_asyncio.fixture
async def session(url: str) -> AsyncIterator[Session]:
    """An engine as the store makes it."""
    engine = Database(url)._engine(write=True, size=1)
    yield Session(engine)
    await engine.dispose()


def shape(connection: Connection) -> dict[str, Any]:
    """Everything about tables and triggers that a migration may change."""
    found = inspect(connection)
    tables = {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)),
            sorted(str(i["column_names"]) for i in found.get_indexes(name)),
            sorted(str(u["column_names"]) for u in found.get_unique_constraints(name)),
        )
        for name in found.get_table_names()
    }
    return {**tables, "triggers": sorted(triggers(connection))}


def triggers(connection: Connection) -> set[tuple[str, str]]:
    """Name the triggers with their tables."""
    if connection.dialect.name == "sqlite":
        query = "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = "SELECT event_object_table, trigger_name FROM information_schema.triggers"
    return {(row[0], row[1]) for row in connection.execute(text(query))}


def difference(connection: Connection) -> list[Any]:
    """What the migrated tables and the code's differ in."""
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def test_migrated_tables_are_those_of_the_code(session: Session) -> None:
    """What the migrations make and what the code believes differ in nothing."""
    await session.run(migrate.upgrade)
    assert await session.run(difference) == []
    assert await session.run(migrate.version) == migrate.newest()


async def test_up_down_and_up_again(session: Session) -> None:
    """Going back leaves nothing, and going forward again gives the triggers anew."""
    await session.run(migrate.upgrade)
    before = await session.run(shape)
    await session.run(migrate.downgrade)
    names = await session.run(lambda connection: inspect(connection).get_table_names())
    assert names == ["alembic_version"]
    await session.run(migrate.upgrade)
    assert await session.run(shape) == before
    assert {table for table, _ in await session.run(triggers)} >= {
        *APPEND_ONLY,
        *tables_people.APPEND_ONLY,
    }


async def test_every_step_goes_back_and_forward(session: Session) -> None:
    """Each migration alone can be taken back and done again, to the same tables."""
    for number in range(1, int(migrate.newest()) + 1):
        step = f"{number:04}"
        before = await session.run(shape)
        await session.run(lambda connection, to=step: migrate.upgrade(connection, to))
        there = await session.run(shape)
        await session.run(lambda connection: migrate.downgrade(connection, "-1"))
        after = await session.run(shape)
        after.pop("alembic_version")
        before.pop("alembic_version", None)
        assert after == before
        await session.run(lambda connection, to=step: migrate.upgrade(connection, to))
        assert await session.run(shape) == there


async def test_tiles_are_filled_from_the_hashes_that_are_there(url: str, session: Session) -> None:
    """A ledger from before revision 0008 has the same tiles afterwards as one written since."""
    database = Database(url)
    await database.open()
    entries = [
        NewEntry(subject="s", key=str(i), kind="note", body=f"{i}".encode())
        for i in range(2 * BLOCK + 40)
    ]
    await database.write(lambda transaction: transaction.append(entries))
    await database.close()
    query = text("SELECT level, position, hashes FROM ledger_tiles ORDER BY level, position")
    written = await session.run(lambda connection: connection.execute(query).all())
    assert [(level, position) for level, position, _ in written] == [(0, 0), (0, 1)]
    await session.run(lambda connection: migrate.downgrade(connection, "0007"))
    await session.run(migrate.upgrade)
    assert await session.run(lambda connection: connection.execute(query).all()) == written


async def test_tiles_of_the_levels_above(session: Session) -> None:
    """A full block of nodes is a tile, too; a block that lacks hashes stops no migration."""
    await session.run(lambda connection: migrate.upgrade(connection, "0007"))
    nodes = [(1, position, bytes([position]) * 32) for position in range(BLOCK)]
    insert = text("INSERT INTO ledger_nodes VALUES (:level, :position, :hash)")
    values = [
        {"level": level, "position": position, "hash": node}
        for level, position, node in [*nodes, (2, 0, b"x" * 32)]
    ]
    await session.run(lambda connection: connection.execute(insert, values))
    await session.run(migrate.upgrade)
    query = text("SELECT level, position, hashes FROM ledger_tiles")
    (row,) = await session.run(lambda connection: connection.execute(query).all())
    assert tuple(row) == (1, 0, b"".join(node for _, _, node in nodes))


async def test_approvals_of_older_faces_wait_again(session: Session) -> None:
    """Revision 0009: who was approved by another face than the newest, where staff approve."""
    await session.run(lambda connection: migrate.upgrade(connection, "0008"))
    people = {"old": ("initial", 1, 2), "new": ("initial", 2, 2), "free": ("refresher", 1, 2)}
    for learner, (track, approved, newest) in people.items():
        values = {"id": learner, "track": track, "approved": approved, "newest": newest}
        for statement in (
            "INSERT INTO learners VALUES (:id, 'principal', :track, 'x', 'b', 1)",
            "INSERT INTO registrations VALUES (:id, 'approved', '[\"seen\"]', :approved, 1, 'me')",
            "INSERT INTO templates (learner_id, version, provenance, enrolled_ms)"
            " VALUES (:id, 1, 'id_photo', 1), (:id, :newest, 'id_photo', 1)",
        ):
            await session.run(lambda c, s=statement, v=values: c.execute(text(s), v))
    await session.run(migrate.upgrade)
    query = text("SELECT learner_id, state FROM registrations")
    found = await session.run(lambda connection: connection.execute(query).all())
    assert {row[0]: row[1] for row in found} == {
        "old": "waiting",
        "new": "approved",
        "free": "approved",
    }


async def test_a_course_has_one_certificate_in_force(session: Session) -> None:
    """Revision 0009 lets revoked ones be replaced; going back keeps the one that holds."""
    await session.run(migrate.upgrade)
    learner = "INSERT INTO learners VALUES ('l', 'principal', 'initial', 'x', 'b', 1)"
    await session.run(lambda connection: connection.execute(text(learner)))

    def issue(number: str, revoked: int | None) -> Callable[[Connection], object]:
        insert = text(
            "INSERT INTO certificates (number, learner_id, programme, course, document, issued_ms,"
            " revoked_ms) VALUES (:number, 'l', 'p', 1, :document, 1, :revoked)"
        )
        values = {"number": number, "document": b"{}", "revoked": revoked}
        return lambda connection: connection.execute(insert, values)

    for number, revoked in (("a", 5), ("b", 7), ("c", None)):
        await session.run(issue(number, revoked))
    with pytest.raises(IntegrityError):
        await session.run(issue("d", None))
    await session.run(lambda connection: migrate.downgrade(connection, "0008"))
    query = text("SELECT number FROM certificates")
    left = await session.run(lambda connection: connection.execute(query).all())
    assert [row[0] for row in left] == ["c"]
    with pytest.raises(IntegrityError):
        await session.run(issue("e", 9))
    await session.run(migrate.upgrade)
    await session.run(issue("e", 9))


async def test_upgrading_twice_changes_nothing(session: Session) -> None:
    """A second start of the same release finds everything done."""
    await session.run(migrate.upgrade)
    before = await session.run(shape)
    await session.run(migrate.upgrade)
    assert await session.run(shape) == before


async def test_a_database_of_a_newer_release_is_refused(session: Session) -> None:
    """An older program does not touch tables that it does not know."""
    await session.run(migrate.upgrade)
    later = text("UPDATE alembic_version SET version_num = '9999'")
    await session.run(lambda connection: connection.execute(later))
    with pytest.raises(ConfigurationError, match="9999") as caught:
        await session.run(migrate.upgrade)
    assert "newer" in caught.value.remedy


async def test_a_tool_beside_the_service_migrates_nothing(url: str, session: Session) -> None:
    """It writes where the version is its own; else it says so, and changes nothing."""
    await session.run(lambda connection: migrate.upgrade(connection, "0008"))
    before = await session.run(shape)
    database = Database(url)
    with pytest.raises(ConfigurationError, match="version 0008"):
        await database.open_beside()
    assert not database.is_open
    assert await session.run(shape) == before
    await session.run(migrate.upgrade)
    await database.open_beside()
    await database.probe()
    await database.close()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps of a start are one transaction: half a migration is none."""
    await session.run(lambda connection: migrate.upgrade(connection, "0001"))
    before = await session.run(shape)

    def upgrade_and_fail(connection: Connection) -> None:
        migrate.upgrade(connection)
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        await session.run(upgrade_and_fail)
    assert await session.run(shape) == before
    assert await session.run(migrate.version) == "0001"
    await session.run(migrate.upgrade)
    assert await session.run(difference) == []


@pytest.mark.slow
@pytest.mark.parametrize("tables_made", [0, 7, 14])
async def test_killed_while_migrating(url: str, tables_made: int) -> None:
    """SIGKILL in the middle of a migration: nothing of it is there, the next start does it all."""
    command = [sys.executable, "-c", _KILLED_WHILE_MIGRATING, url, str(tables_made)]
    killed = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        command, check=False, cwd=ROOT, capture_output=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    engine = Database(url)._engine(write=True, size=1)
    names = await Session(engine).run(lambda connection: inspect(connection).get_table_names())
    await engine.dispose()
    assert names == []
    database = Database(url)
    await database.open()
    async with database.read() as connection:
        assert await connection.run_sync(migrate.version) == migrate.newest()
    await database.close()
