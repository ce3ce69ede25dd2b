"""The database: its engines, its pragmas, its migrations, and the one way to read and to write."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from session_tracker.store import migrate
from session_tracker.store.sole import SoleLock, Strangers, sole_lock, take
from session_tracker.store.writer import Announcer, Job, Transaction, Writer, storage_error
from verifier.errors import ConfigurationError

T = TypeVar("T")

_BUSY_TIMEOUT_MS: Final = 10_000
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Database:
    """One SQLite file or one PostgreSQL database.

    Writes go through one queue (see :mod:`session_tracker.store.writer`); reads have connections
    of their own, which cannot write: `read` gives one view, `glance` is for what never changes.
    """

    def __init__(self, url: str, *, readers: int = 4) -> None:
        self.url = parse_url(url)
        self._readers = readers
        self._write_engine: AsyncEngine | None = None
        self._read_engine: AsyncEngine | None = None
        self._glance_engine: AsyncEngine | None = None
        self._writer: Writer | None = None
        self._sole: SoleLock | None = None
        self.announcer: Announcer | None = None
        """Told of what the ledger takes in; set it before `open`."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def is_open(self) -> bool:
        """Whether it can be written."""
        return self._writer is not None

    async def open(self, *, strangers: Strangers | None = None) -> None:
        """Connect and migrate, which is for whoever serves sessions and for nobody beside it.

        Raises ConfigurationError or StorageError with the remedy.

        With `strangers` as the one process that serves sessions from here (see
        :mod:`session_tracker.store.sole`), which is refused while another one does.
        """
        if self.is_sqlite:
            _check_place(Path(str(self.url.database)))
        if strangers is not None:
            self._sole = sole_lock(self.url, strangers)
        await self._begin_writing(migrate.upgrade)

    async def open_beside(self) -> None:
        """Connect for a tool that writes a little, beside the service or without it.

        Nothing is created or migrated. Raises ConfigurationError where there is no such database
        or it has another version, StorageError where it cannot be written.
        """
        if self.is_sqlite:
            _require_file(Path(str(self.url.database)))
            _check_place(Path(str(self.url.database)))
        await self._begin_writing(migrate.require_newest)

    async def _begin_writing(self, prepare: Callable[[Connection], None]) -> None:
        self._write_engine = self._engine(write=True, size=1)
        self._read_engine = self._engine(write=False, size=self._readers)
        self._glance_engine = self._engine(write=False, size=1, transactions=False)
        try:
            if self._sole is not None:
                await take(self._sole)
            async with self._write_engine.begin() as connection:
                if not self.is_sqlite:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
                await connection.run_sync(prepare)
                # A database that can only be read says so here, before the port opens.
                await connection.execute(text("UPDATE leases SET epoch = epoch WHERE 1 = 0"))
                await connection.run_sync(_prove_writable)
        except (SQLAlchemyError, OSError) as error:
            await self.close()
            raise storage_error(error) from error
        except BaseException:
            await self.close()
            raise
        guard = None if self._sole is None else self._sole.require
        self._writer = Writer(self._write_engine, announcer=self.announcer, guard=guard)
        self._writer.start()

    async def open_to_read(self) -> None:
        """Connect for reading only: nothing is created, migrated or written.

        Raises ConfigurationError where there is no such database or it has another version.
        """
        if self.is_sqlite:
            _require_file(Path(str(self.url.database)))
        self._read_engine = self._engine(write=False, size=1)
        self._glance_engine = self._engine(write=False, size=1, transactions=False)
        try:
            async with self.read() as connection:
                await connection.run_sync(migrate.require_newest)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is queued and let go of the database; closing twice is fine."""
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None
        for engine in (self._write_engine, self._read_engine, self._glance_engine):
            if engine is not None:
                await engine.dispose()
        self._write_engine = self._read_engine = self._glance_engine = None
        if self._sole is not None:
            await self._sole.release()
            self._sole = None

    async def write(self, job: Job[T]) -> T:
        """Run `job` in a transaction and return once it is durable (see ``Writer.write``)."""
        if self._writer is None:
            raise ConfigurationError("The store is not open.")
        return await self._writer.write(job)

    async def barrier(self) -> None:
        """Return once every write that waits now has come to its end."""

        async def job(_: Transaction) -> None:
            return None

        await self.write(job)

    async def probe(self) -> None:
        """Raise StorageError where nothing can be written."""

        async def job(transaction: Transaction) -> None:
            await transaction.connection.run_sync(_prove_writable)

        await self.write(job)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection with one consistent view. Raises StorageError."""
        if self._read_engine is None:
            raise ConfigurationError("The store is not open.")
        try:
            async with self._read_engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise storage_error(error) from error

    @contextlib.asynccontextmanager
    async def glance(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for what never changes, once it is there: statement by statement.

        Without the messages that begin and end a transaction a short look takes half the time.
        Raises StorageError.
        """
        if self._glance_engine is None:
            raise ConfigurationError("The store is not open.")
        try:
            async with self._glance_engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise storage_error(error) from error

    def _engine(self, *, write: bool, size: int, transactions: bool = True) -> AsyncEngine:
        options: dict[str, Any] = {"pool_size": size, "max_overflow": 0}
        if not transactions:
            options |= {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
        if not self.is_sqlite:
            options["pool_pre_ping"] = True
            if not write:
                options.setdefault("isolation_level", "REPEATABLE READ")
                read_only = {"default_transaction_read_only": "on"}
                options["connect_args"] = {"server_settings": read_only}
            return create_async_engine(self.url, **options)
        engine = create_async_engine(self.url, **options)

        @event.listens_for(engine.sync_engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # SQLAlchemy begins, not the driver
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA recursive_triggers = ON")
            if write:
                cursor.execute("PRAGMA secure_delete = ON")  # erased templates are overwritten
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.execute("PRAGMA synchronous = FULL")
            else:
                cursor.execute("PRAGMA query_only = ON")
            cursor.close()

        if transactions:
            _begin_with(engine, "BEGIN IMMEDIATE" if write else "BEGIN")
        return engine


def _begin_with(engine: AsyncEngine, statement: str) -> None:
    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


def _prove_writable(connection: Connection) -> None:
    """Write and take back, inside the transaction: WAL and file must both take a page."""
    nested = connection.begin_nested()
    connection.execute(text("CREATE TABLE benren_probe (x INTEGER)"))
    connection.execute(text("INSERT INTO benren_probe VALUES (1)"))
    nested.rollback()


def parse_url(url: str | URL) -> URL:
    """Read the address of a database that lasts. Raises ConfigurationError."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "The database URL cannot be read.",
            remedy="Write sqlite:///FILE or postgresql://USER@HOST/NAME.",
        ) from error
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigurationError(
            f"{parsed.drivername} databases are not supported.",
            remedy="Write sqlite:///FILE or postgresql://USER@HOST/NAME.",
        )
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "The ledger needs a database that lasts.", remedy="Write sqlite:///FILE."
        )
    return parsed.set(drivername=driver)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(
            f"There is no database {path}.", remedy="Name it with --db, or set database_url."
        )


def _check_place(path: Path) -> None:
    """Say what is wrong with the place of a SQLite file before SQLite says it worse."""
    folder = path.parent
    if not folder.is_dir():
        raise ConfigurationError(
            f"The database's directory {folder} does not exist.",
            remedy="Create it, or name another with database_url.",
        )
    if path.is_dir():
        raise ConfigurationError(f"The database {path} is a directory.", remedy="Name a file.")
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise ConfigurationError(
                f"The database cannot be written: {place} is read-only.",
                remedy="Make the database file and its directory writable for this user.",
            )
