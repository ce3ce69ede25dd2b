"""One tracker per database: a lock that a process holds for as long as it serves sessions.

PostgreSQL keeps it with a connection that does nothing else, SQLite with a file beside the
database; both let go of it when the process dies. It is taken before anything is read, and every
transaction of the holder is held against it first: whoever has lost it writes nothing any more.
Tools that only read, or write a little beside a service that runs, need no lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from verifier.errors import ConfigurationError, StorageError

WAIT_S: Final = 10.0
"""So long a start waits for the process before it to end: longer than a clean end takes."""
_LOOK_EVERY_S: Final = 0.1
_ANSWER_WITHIN_S: Final = 5.0
"""A lock's connection that is silent for longer is given up."""
_LOCK_ID: Final = 0x42454E53
"""Of PostgreSQL's advisory lock ("BENS"); the one of appenders is another."""
_SETTINGS: Final = {
    "application_name": "benren tracker, lock",
    "idle_session_timeout": "0",
    # Of a machine that is gone without a word the server lets go within a minute, not two hours.
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
_log = logging.getLogger("benren.tracker")

Strangers: TypeAlias = Callable[[AsyncConnection], Awaitable[bool]]
"""Tells from the database whether another tracker has served on it since this one began."""


class SoleLock(Protocol):
    """The lock of the one who serves."""

    async def attempt(self) -> bool:
        """Take it, if nobody has it."""
        ...

    async def require(self, connection: AsyncConnection) -> None:
        """Raise StorageError where it is lost; `connection` is in the transaction that asks."""
        ...

    async def release(self) -> None:
        """Let go of it; twice is fine."""
        ...


def sole_lock(url: URL, strangers: Strangers) -> SoleLock:
    """Make the lock of a database."""
    if url.get_backend_name() == "sqlite":
        return FileLock(Path(str(url.database)))
    return SessionLock(url, strangers)


async def take(lock: SoleLock) -> None:
    """Take the lock, waiting a little for whoever is about to end. Raises ConfigurationError."""
    for _ in range(1 + round(WAIT_S / _LOOK_EVERY_S)):
        if await lock.attempt():
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    raise ConfigurationError(
        "Another tracker serves this database.",
        remedy="End it before you start another one, or name another database (database_url): "
        "there is one tracker per database.",
    )


class FileLock:
    """A lock on the file ``DATABASE.lock``, which stays when it is let go of."""

    def __init__(self, database: Path) -> None:
        real = database.resolve()
        self._path = real.with_name(f"{real.name}.lock")
        self._file: int | None = None

    async def attempt(self) -> bool:
        """Take it, if no process has it."""
        self._file = _locked(self._path)
        return self._file is not None

    async def require(self, connection: AsyncConnection) -> None:
        """Raise StorageError where the file was removed: then somebody else may have another."""
        del connection
        if self._file is None or not _is_at(self._file, self._path):
            raise StorageError(
                f"The file {self._path} was removed, so another tracker may serve this database:"
                " this one writes nothing any more.",
                remedy="Restart this service, and leave the file where it is.",
            )

    async def release(self) -> None:
        """Let go of it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class SessionLock:
    """An advisory lock of PostgreSQL, held by a connection of its own.

    Where that connection is lost (the server restarted, say) it is taken again with the next
    write, unless another tracker has come meanwhile: then what this one remembers is old.
    """

    def __init__(self, url: URL, strangers: Strangers) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"server_settings": _SETTINGS},
        )
        self._strangers = strangers
        self._connection: AsyncConnection | None = None

    async def attempt(self) -> bool:
        """Take it, if no connection has it."""
        connection = await self._engine.connect()
        try:
            taken = await connection.scalar(
                text("SELECT pg_try_advisory_lock(:id)"), {"id": _LOCK_ID}
            )
        except BaseException:
            await _drop(connection)
            raise
        if taken:
            self._connection = connection
        else:
            await connection.close()
        return bool(taken)

    async def require(self, connection: AsyncConnection) -> None:
        """Raise StorageError where it is lost and cannot be had again."""
        if await self._answers():
            return
        if not await self.attempt():
            raise StorageError(
                "Another tracker serves this database now: this one writes nothing any more.",
                remedy="End one of the two; restart this one where it is to go on.",
            )
        alone = False
        try:
            alone = not await self._strangers(connection)
        finally:
            if not alone:
                await self.release()
        if not alone:
            raise StorageError(
                "Another tracker has served this database meanwhile:"
                " this one writes nothing any more.",
                remedy="Restart this service: it takes the sessions up as they are now.",
            )
        _log.warning("the lock of the only tracker is held again")

    async def release(self) -> None:
        """Let go of it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            # The server notices a closed connection a moment later than this.
            await connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": _LOCK_ID})
            await connection.close()
        except (SQLAlchemyError, OSError):
            await _drop(connection)

    async def _answers(self) -> bool:
        """Tell whether the connection that holds it is alive; what is silent is given up."""
        connection = self._connection
        if connection is None:
            return False
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            _log.error("the lock of the only tracker was lost: %s", error)
            self._connection = None
            await _drop(connection)
            return False
        return True


async def _drop(connection: AsyncConnection) -> None:
    """Close a connection for good, whatever state it is in."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.close()


def _locked(path: Path) -> int | None:
    """Open and lock a file; None where another process has it. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, path):
            return file
    except BlockingIOError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
