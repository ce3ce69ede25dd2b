"""The ledger: canonical entries, one Merkle tree over them, signed heads, proofs.

An entry's body is canonical JSON (RFC 8785) with whole numbers only; its bytes are what is stored
and what is hashed. A *head* is size, root and time under an Ed25519 signature. What is cut off
after the last head that somebody else holds cannot be proven by anyone: publish the heads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import func, insert, select

from session_tracker.merkle import HashTree
from session_tracker.store.database import Database
from session_tracker.store.schema import ledger_entries, ledger_heads
from session_tracker.store.writer import NewEntry, Transaction
from session_tracker.stored_tree import BlockCache, from_database, from_memory
from verifier.clock import Clock
from verifier.errors import BadRequest, NotFound, StorageError
from verifier.keys import KeyRing, canonical_json

T = TypeVar("T")
_log = logging.getLogger("benren.tracker")

HEAD_PURPOSE: Final = "ledger-head"
RECORDS_PURGED: Final = "records_purged"
"""Kind of the entry that names sessions whose rows were removed after the years of retention."""
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What explains an entry after rules and thresholds have changed."""

    policy: str
    """``name@version``; empty where no programme is concerned."""
    models: Mapping[str, str]
    """Role -> ``id@sha256``."""
    profile: str
    """Version of the threshold profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A leaf as stored."""

    index: int
    """From 0."""
    subject: str
    key: str
    kind: str
    body: bytes
    leaf_hash: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The body, parsed."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A signed statement about the whole ledger."""

    size: int
    root: bytes
    """32 bytes."""
    at_ms: int
    """UTC."""
    signature: str
    """``key-id.base64url`` over :func:`head_payload`."""

    def as_json(self) -> dict[str, Any]:
        """Give the head as it is published."""
        return {
            "size": self.size,
            "root": self.root.hex(),
            "at_ms": self.at_ms,
            "signature": self.signature,
        }


def head_payload(size: int, root: bytes, at_ms: int) -> bytes:
    """Give the bytes that a head's signature covers."""
    return canonical_json({"at_ms": at_ms, "root": root.hex(), "size": size})


def read_head(value: Mapping[str, Any]) -> Head:
    """Read a head as published: exactly its four members, in the one way they are written.

    Raises KeyError, TypeError or ValueError where it is none.
    """
    size, root, at_ms, signature = (value[name] for name in ("size", "root", "at_ms", "signature"))
    if type(size) is not int or type(at_ms) is not int or type(signature) is not str:
        raise TypeError("a head has whole numbers and a signature")
    head = Head(size=size, root=bytes.fromhex(root), at_ms=at_ms, signature=signature)
    if head.as_json() != dict(value):
        raise ValueError("this is not how a head is written")
    return head


def entry(
    *,
    subject: str,
    key: str,
    kind: str,
    at_ms: int,
    context: Context,
    reason: str = "",
    data: Mapping[str, Any],
) -> NewEntry:
    """Make a leaf. `data` holds whole numbers, strings, booleans, None, lists and maps of them."""
    body = canonical_json(
        {
            "v": FORMAT,
            "subject": subject,
            "key": key,
            "kind": kind,
            "at_ms": at_ms,
            "policy": context.policy,
            "models": dict(context.models),
            "profile": context.profile,
            "reason": reason,
            "data": dict(data),
        }
    )
    return NewEntry(subject=subject, key=key, kind=kind, body=body)


class HeadsFile(Protocol):
    """Where heads are published, for others to keep."""

    @property
    def last_size(self) -> int:
        """Size of the newest head that is there; -1 without any."""
        ...

    def add(self, heads: Sequence[Head]) -> None:
        """Write down the heads that are not there yet."""
        ...


class Ledger:
    """Reads the ledger, proves from it and signs its heads; the store's writer appends."""

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        clock: Clock,
        *,
        heads_file: HeadsFile | None = None,
    ) -> None:
        self._heads_file = heads_file
        self._publishing = asyncio.Lock()
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._cache = BlockCache()

    async def size(self) -> int:
        """Count the entries."""
        async with self._database.read() as connection:
            last = await connection.scalar(select(func.max(ledger_entries.c.idx)))
        return 0 if last is None else int(last) + 1

    async def head(self, *, max_age_ms: int = 0) -> Head:
        """Give the signed head of the ledger as it stands; signs one where entries were added.

        A head at most `max_age_ms` old will do, where there is one.
        """
        newest = await self.newest_head() if max_age_ms else None
        if newest is not None and self._clock.stamp().utc_ms - newest.at_ms < max_age_ms:
            return newest

        async def sign(transaction: Transaction) -> tuple[Head, BlockCache]:
            # Jobs that share this transaction may have added entries: they belong under the head.
            await transaction.flush_entries()
            connection = transaction.connection
            # Not into the cache for all: this transaction may yet be rolled back.
            read = BlockCache()
            size, root = await connection.run_sync(
                lambda view: from_database(_size_and_root, None, view, read)
            )
            query = select(ledger_heads).where(ledger_heads.c.size == size)
            row = (await connection.execute(query)).one_or_none()
            if row is not None:
                return _head(row), read
            at_ms = self._clock.stamp().utc_ms
            signature = self._keyring.sign(HEAD_PURPOSE, head_payload(size, root, at_ms))
            values = {"size": size, "root": root, "at_ms": at_ms, "signature": signature}
            await connection.execute(insert(ledger_heads), values)
            made = Head(size=size, root=root, at_ms=at_ms, signature=signature)
            await transaction.announce_head(made.as_json())
            return made, read

        signed, read = await self._database.write(sign)
        self._cache.take(read)  # committed; proofs are asked for under heads
        try:
            await self.publish()
        except StorageError as error:  # the head is signed and stored: it is published later
            _log.error("%s %s", error, error.remedy)
        return signed

    async def publish(self) -> None:
        """Write heads that the file of heads lacks into it. Raises StorageError."""
        if self._heads_file is None:
            return
        async with self._publishing:
            async with self._database.read() as connection:
                query = select(ledger_heads).where(
                    ledger_heads.c.size >= self._heads_file.last_size
                )
                rows = await connection.execute(query.order_by(ledger_heads.c.size))
                heads = [_head(row) for row in rows]
            await asyncio.to_thread(self._heads_file.add, heads)

    async def newest_head(self) -> Head | None:
        """Give the newest head that was signed; nothing is written."""
        async with self._database.read() as connection:
            query = select(ledger_heads).order_by(ledger_heads.c.size.desc()).limit(1)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _head(row)

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Prove that entry `index` (from 0) is in the tree of the first `size` entries."""

        def prove(tree: HashTree) -> list[bytes]:
            if not 0 <= index < size <= tree.get_size():
                raise BadRequest(
                    f"There is no entry {index} in a ledger of so many entries.",
                    remedy="Ask for an index below size, and a size up to that of the head.",
                )
            return tree.inclusion(index, size)

        return await self._prove(prove, size)

    async def consistency(self, earlier: int, later: int) -> dict[str, object]:
        """Prove that the tree of `earlier` entries is the beginning of the tree of `later`."""

        def prove(tree: HashTree) -> dict[str, object]:
            if not 0 < earlier <= later <= tree.get_size():
                raise BadRequest(
                    f"There is no way from {earlier} to {later} entries.",
                    remedy="Ask for 0 < earlier <= later, up to the size of the head.",
                )
            return tree.consistency(earlier, later)

        return await self._prove(prove, later)

    async def _prove(self, prove: Callable[[HashTree], T], size: int) -> T:
        """Prove from the blocks in memory; where they do not do, from the database."""
        proof = from_memory(prove, size, self._cache)
        if proof is not None:
            return proof
        async with self._database.glance() as connection:
            return await connection.run_sync(
                lambda view: from_database(prove, size, view, self._cache)
            )

    async def entry(self, index: int) -> Entry:
        """Give one entry. Raises NotFound."""
        async with self._database.read() as connection:
            query = select(ledger_entries).where(ledger_entries.c.idx == index)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"The ledger has no entry {index}.")
        return to_entry(row)

    async def of_subject(self, subject: str) -> list[Entry]:
        """Give all entries of a session or a learner, in order."""
        async with self._database.read() as connection:
            query = select(ledger_entries).where(ledger_entries.c.subject == subject)
            rows = (await connection.execute(query.order_by(ledger_entries.c.idx))).all()
        return [to_entry(row) for row in rows]


def _size_and_root(tree: HashTree) -> tuple[int, bytes]:
    return tree.get_size(), tree.root()


def to_entry(row: Any) -> Entry:
    """Turn a row of ``ledger_entries`` into an entry."""
    return Entry(
        index=row.idx,
        subject=row.subject,
        key=row.key,
        kind=row.kind,
        body=bytes(row.body),
        leaf_hash=bytes(row.leaf_hash),
    )


def _head(row: Any) -> Head:
    return Head(size=row.size, root=bytes(row.root), at_ms=row.at_ms, signature=row.signature)
