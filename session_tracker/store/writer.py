"""One writer: many jobs share one durable transaction, and the ledger gets no holes.

Every write of the process goes through one queue. Jobs that wait together are committed
together, so that one fsync serves many events; where a batch fails, each of its jobs runs again
alone, so that only the faulty one fails. Where jobs of several callers come one after the other, a
batch waits a moment for more (`GATHER_S`): a commit costs more than what is in it. A job may
therefore run twice: it must have no effect but on its transaction. Nothing is acknowledged before
the commit has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from session_tracker.merkle import BLOCK, leaf_hash, perfect_root
from session_tracker.store.schema import (
    ledger_entries,
    ledger_nodes,
    ledger_tiles,
    playback_reports,
)
from verifier.errors import Overloaded, StorageError

T = TypeVar("T")

GATHER_S: Final = 0.02
"""So long a small batch waits for more, where the last ones were of several jobs."""
CROWDED: Final = 1.1
"""Mean jobs of a batch from which on it waits; whoever is alone never has two jobs at once."""
ENOUGH: Final = 16
"""Jobs that wait for no more."""
_LOCK_ID: Final = 0x42454E52
"""Of PostgreSQL's advisory lock: one appender at a time among all processes ("BENR")."""

_UPSERT_PRESENCE: Final = text(
    "INSERT INTO presence_runs (session_id, run, first_ms, last_ms, track, faces_max, samples)"
    " VALUES (:session_id, :run, :first_ms, :last_ms, :track, :faces_max, :samples)"
    " ON CONFLICT (session_id, run) DO UPDATE SET last_ms = excluded.last_ms,"
    " faces_max = excluded.faces_max, samples = excluded.samples"
)
_STREAM_POSITION: Final = text("UPDATE streams SET last_event_id = :event_id WHERE id = :stream_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A leaf to be."""

    subject: str
    key: str
    """Unique within the subject."""
    kind: str
    body: bytes
    """Canonical JSON; exactly these bytes are hashed and stored."""


class Announcer(Protocol):
    """Who is told of what the ledger takes in, inside the same transaction."""

    async def entries(
        self, connection: AsyncConnection, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take note of rows of ``ledger_entries`` that were just inserted."""
        ...

    async def head(self, connection: AsyncConnection, head: Mapping[str, Any]) -> None:
        """Take note of a head that was just signed, as it is published."""
        ...

    def committed(self) -> None:
        """Learn that what was noted so far is durable."""
        ...


@dataclass(slots=True)
class Transaction:
    """What a job may do: statements on `connection` at once, and rows that go in at the end."""

    connection: AsyncConnection
    announcer: Announcer | None = None
    _next: int | None = None
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _presence: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    _playback: list[dict[str, Any]] = field(default_factory=list)
    _positions: dict[str, int] = field(default_factory=dict)

    async def append(self, entries: Sequence[NewEntry]) -> list[int]:
        """Append to the ledger; returns the indices, counted from 0."""
        if not entries:
            return []
        if self._next is None:
            last = await self.connection.scalar(select(func.max(ledger_entries.c.idx)))
            self._next = 0 if last is None else last + 1
        first = self._next
        for entry in entries:
            self._entries.append(
                {
                    "idx": self._next,
                    "subject": entry.subject,
                    "key": entry.key,
                    "kind": entry.kind,
                    "body": entry.body,
                    "leaf_hash": leaf_hash(entry.body),
                }
            )
            self._next += 1
        return list(range(first, self._next))

    def put_presence(self, row: dict[str, Any]) -> None:
        """Insert or extend a presence run."""
        self._presence[row["session_id"], row["run"]] = row

    def add_playback(self, row: dict[str, Any]) -> None:
        """Insert a playback report; a `seq` that is taken fails the job with IntegrityError."""
        self._playback.append(row)

    def set_position(self, stream_id: str, event_id: int) -> None:
        """Note the last event of a stream that is durable."""
        self._positions[stream_id] = event_id

    async def flush(self) -> None:
        """Send what was collected."""
        if self._presence:
            await self.connection.execute(_UPSERT_PRESENCE, list(self._presence.values()))
        if self._playback:
            await self.connection.execute(insert(playback_reports), self._playback)
        if self._positions:
            rows = [{"stream_id": s, "event_id": e} for s, e in self._positions.items()]
            await self.connection.execute(_STREAM_POSITION, rows)
        await self.flush_entries()

    async def flush_entries(self) -> None:
        """Send the ledger entries collected so far, so that `connection` sees them."""
        if self._entries:
            await self.connection.execute(insert(ledger_entries), self._entries)
            await self._store_nodes(self._entries[0]["idx"], self._entries[-1]["idx"])
            if self.announcer is not None:
                await self.announcer.entries(self.connection, self._entries)
            self._entries = []

    async def announce_head(self, head: Mapping[str, Any]) -> None:
        """Tell whoever listens of a head that this transaction signs."""
        if self.announcer is not None:
            await self.announcer.head(self.connection, head)

    async def _store_nodes(self, first: int, last: int) -> None:
        """Store root and hashes of every block of 256 that was filled now, level by level."""
        level, column, key = 1, ledger_entries.c.leaf_hash, ledger_entries.c.idx
        condition = None
        while filled := range(first // BLOCK, (last + 1) // BLOCK):
            rows, tiles = [], []
            for position in filled:
                start = position * BLOCK
                query = select(column).where(key >= start, key < start + BLOCK).order_by(key)
                if condition is not None:
                    query = query.where(condition)
                hashes = list((await self.connection.scalars(query)).all())
                rows.append({"level": level, "position": position, "hash": perfect_root(hashes)})
                tile = b"".join(hashes)
                tiles.append({"level": level - 1, "position": position, "hashes": tile})
            await self.connection.execute(insert(ledger_tiles), tiles)
            await self.connection.execute(insert(ledger_nodes), rows)
            first, last = filled[0], filled[-1]
            column, key = ledger_nodes.c.hash, ledger_nodes.c.position
            condition = ledger_nodes.c.level == level
            level += 1


Job = Callable[[Transaction], Awaitable[T]]


@dataclass(slots=True)
class _Waiting:
    job: Job[Any]
    done: asyncio.Future[Any]


class Writer:
    """The queue and the task that empties it."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        announcer: Announcer | None = None,
        guard: Callable[[AsyncConnection], Awaitable[None]] | None = None,
        batch: int = 256,
        queue: int = 4096,
    ) -> None:
        """`guard` is asked first in every transaction; where it raises, nothing is written."""
        self._engine = engine
        self._guard = guard
        self._announcer = announcer
        self._batch = batch
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(queue)
        self._task: asyncio.Task[None] | None = None
        self._crowd = 1.0
        """Mean number of jobs of the last batches."""

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run(), name="tracker-writer")

    async def stop(self) -> None:
        """Finish what is queued, then stop."""
        if self._task is None:
            return
        await self._queue.join()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def write(self, job: Job[T]) -> T:
        """Run `job` in a transaction and return its result once that is durable.

        Raises IntegrityError as it comes, whatever else the job raises, Overloaded where the
        queue is full, and StorageError where the database cannot be written.
        """
        if self._task is None or self._task.done():
            raise StorageError("The store is closed.")
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull as error:
            raise Overloaded("Too many writes are waiting.", remedy="Try again shortly.") from error
        # The job goes on where its caller was cancelled: callers must not assume either way.
        return await asyncio.shield(waiting.done)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            try:
                if self._crowd > CROWDED and self._queue.qsize() < ENOUGH:
                    await asyncio.sleep(GATHER_S)
                while len(batch) < self._batch and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                self._crowd += (len(batch) - self._crowd) / 8
                await self._commit(batch)
            finally:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(StorageError("The store was closed."))
                    self._queue.task_done()

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            results = await self._transact([waiting.job for waiting in batch])
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            if len(batch) == 1:
                _fail(batch[0].done, storage_error(error))
                return
            for waiting in batch:
                await self._commit([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(result)
        if self._announcer is not None:
            self._announcer.committed()

    async def _transact(self, jobs: list[Job[Any]]) -> list[Any]:
        async with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID}
                )
            if self._guard is not None:
                await self._guard(connection)
            transaction = Transaction(connection, self._announcer)
            results = [await job(transaction) for job in jobs]
            await transaction.flush()
            return results


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # seen: a caller that was cancelled will not look


def storage_error(error: Exception) -> Exception:
    """Turn a database failure into StorageError with its remedy; leave anything else as it is."""
    if isinstance(error, IntegrityError):
        return error
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some disk space." if full else "Check the database's directory or server."
        wrapped = StorageError(f"The database cannot be reached: {error}.", remedy=remedy)
    elif isinstance(error, SQLAlchemyError):
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        wrapped = StorageError(f"The database refused: {said}.", remedy=_remedy(said))
    else:
        return error
    wrapped.__cause__ = error
    return wrapped


_REMEDIES: Final = (
    (("readonly", "read-only"), "Make the database file and its directory writable for this user."),
    (("full", "no space"), "Free some disk space; nothing that was acknowledged is lost."),
    (("i/o error",), "Check the disk: its room, its health, limits on file sizes."),
    (
        ("unable to open",),
        "Create the database's directory, and make it writable for this user.",
    ),
    (("locked",), "Another program holds the database: end it, or wait."),
    (
        ("malformed", "not a database"),
        "The file is damaged: restore a backup, and check it with `benren ledger verify`.",
    ),
)
"""What databases say, and what to do about it; the first that fits counts."""


def _remedy(said: str) -> str:
    lower = said.lower()
    for words, remedy in _REMEDIES:
        if any(word in lower for word in words):
            return remedy
    return "See the database's own log."


__all__ = ["Announcer", "Job", "NewEntry", "Transaction", "Writer", "storage_error"]
