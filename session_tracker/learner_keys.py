"""One key per learner and realm, in a store of their own: destroying it erases every copy.

What must be forgettable is encrypted under these keys wherever it lies: in the database, in its
write-ahead log, in backups. The keys are wrapped by the key ring and kept *apart* from the
database, so that no backup of the database alone can bring back what was erased (ADR 0019). The
keyed hashes by which identity numbers are found lie here too, for the same reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from session_tracker.store.database import parse_url
from session_tracker.store.writer import storage_error
from verifier.clock import Clock
from verifier.errors import ConfigurationError, Conflict, SealBroken
from verifier.keys import KeyRing

WRAP_PURPOSE: Final = "learner-key"
INDEX_PURPOSE: Final = "identity-index"
_MAGIC: Final = b"BLK\x01"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_BUSY_TIMEOUT_MS: Final = 10_000

_metadata: Final = MetaData()
_keys: Final = Table(
    "learner_keys",
    _metadata,
    Column("learner_id", Text, primary_key=True),
    Column("realm", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False, doc="sealed by the key ring"),
    Column("made_ms", BigInteger, nullable=False),
)
_identities: Final = Table(
    "identity_index",
    _metadata,
    Column("digest", Text, primary_key=True, doc="keyed hash: key-id.hex"),
    Column("learner_id", Text, nullable=False, index=True),
)
_destroyed: Final = Table(
    "destroyed_keys",
    _metadata,
    Column("learner_id", Text, primary_key=True),
    Column("realm", Text, primary_key=True),
    Column("destroyed_ms", BigInteger, primary_key=True),
)


class Realm(StrEnum):
    """What is forgotten together."""

    PERSON = "person"
    """Name, identity number, the words of an appeal."""
    FACE = "face"
    """Templates, evidence pictures, fingerprints of frames."""


class LearnerKey:
    """Seals and opens what belongs to one learner (AES-256-GCM)."""

    def __init__(self, learner_id: str, realm: Realm, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._about = f"benren learner v1\x00{realm}\x00{learner_id}\x00".encode()
        self._tags = hmac.digest(key, b"benren learner tags v1", hashlib.sha256)

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        """Encrypt for this learner and this purpose only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _MAGIC + nonce + self._cipher.encrypt(nonce, plaintext, self._context(purpose))

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` returned. Raises SealBroken."""
        start = len(_MAGIC) + _NONCE_BYTES
        if not is_sealed(sealed):
            raise SealBroken("This was not sealed under a learner's key.")
        try:
            nonce = sealed[len(_MAGIC) : start]
            return self._cipher.decrypt(nonce, sealed[start:], self._context(purpose))
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error

    def tag(self, purpose: str, plaintext: bytes) -> str:
        """Give the keyed hash by which the same text is known again: HMAC-SHA256, hex.

        Once the key is destroyed, nobody can tell what it was of.
        """
        said = self._context(purpose) + b"\x00" + plaintext
        return hmac.new(self._tags, said, hashlib.sha256).hexdigest()

    def _context(self, purpose: str) -> bytes:
        return self._about + purpose.encode()


def is_sealed(blob: bytes) -> bool:
    """Tell whether this lies under a learner's key."""
    return blob.startswith(_MAGIC)


class LearnerKeys:
    """The store of the learners' keys. `open` before use, `close` after."""

    def __init__(self, url: str | URL, keyring: KeyRing, clock: Clock) -> None:
        self._url = parse_url(url)
        self._keyring = keyring
        self._clock = clock
        self._engine: AsyncEngine | None = None

    @classmethod
    def beside(cls, database: URL, keyring: KeyRing, clock: Clock) -> LearnerKeys:
        """Keep the keys of a SQLite database in a file beside it, of any other within it.

        For tests and small set-ups. Within the same database they are in its backups too: name
        another place with `learner_keys_url` where backups are made.
        """
        if database.get_backend_name() != "sqlite":
            return cls(database, keyring, clock)
        return cls(database.set(database=f"{database.database}.keys"), keyring, clock)

    @property
    def place(self) -> str:
        """Where they are kept, without a password."""
        return self._url.render_as_string(hide_password=True)

    async def open(self) -> None:
        """Connect, and make the tables where there are none. Raises StorageError."""
        self._engine = _engine(self._url)
        try:
            async with self._engine.begin() as connection:
                await connection.run_sync(_metadata.create_all)
        except (SQLAlchemyError, OSError) as error:
            await self.close()
            raise storage_error(error) from error

    async def close(self) -> None:
        """Let go of the store; twice is fine."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def is_virgin(self) -> bool:
        """Tell whether no key was ever made here."""
        async with self._begin() as connection:
            for table in (_keys, _destroyed):
                if await connection.scalar(select(func.count()).select_from(table)):
                    return False
        return True

    async def get(self, learner_id: str, realm: Realm) -> LearnerKey | None:
        """Give a learner's key, or None where it was never made or is destroyed."""
        async with self._begin() as connection:
            return await self._read(connection, learner_id, realm)

    async def ensure(
        self, learner_id: str, realm: Realm, *, erased_ms: int | None = None
    ) -> LearnerKey:
        """Give a learner's key, made where there is none; durable when this returns.

        `erased_ms` says when what lay under it was erased last (UTC ms): a key that is no newer
        should be gone and is destroyed, and the one that is made is newer, whatever the clock says.
        """
        made_ms = self._clock.stamp().utc_ms
        if erased_ms is not None:
            await self.destroy(learner_id, realm, made_by_ms=erased_ms)
            made_ms = max(made_ms, erased_ms + 1)
        found = await self.get(learner_id, realm)
        if found is not None:
            return found
        raw = secrets.token_bytes(_KEY_BYTES)
        values = {
            "learner_id": learner_id,
            "realm": str(realm),
            "wrapped": self._keyring.seal(WRAP_PURPOSE, raw, _wrap_context(learner_id, realm)),
            "made_ms": made_ms,
        }
        try:
            async with self._begin() as connection:
                await connection.execute(insert(_keys), values)
        except IntegrityError:  # somebody else was quicker
            found = await self.get(learner_id, realm)
            if found is None:
                raise
            return found
        return LearnerKey(learner_id, realm, raw)

    async def destroy(
        self, learner_id: str, *realms: Realm, made_by_ms: int | None = None
    ) -> tuple[Realm, ...]:
        """Destroy keys for good; gives those that were there. What they sealed stays noise.

        With `made_by_ms` (UTC ms) a key that was made later stays.
        """
        gone = []
        now = self._clock.stamp().utc_ms
        async with self._begin() as connection:
            for realm in realms:
                mine = (_keys.c.learner_id == learner_id) & (_keys.c.realm == str(realm))
                if made_by_ms is not None:
                    mine &= _keys.c.made_ms <= made_by_ms
                if (await connection.execute(delete(_keys).where(mine))).rowcount:
                    gone.append(realm)
                    note = {"learner_id": learner_id, "realm": str(realm), "destroyed_ms": now}
                    await connection.execute(insert(_destroyed), note)
            if Realm.PERSON in realms:
                await connection.execute(
                    delete(_identities).where(_identities.c.learner_id == learner_id)
                )
        return tuple(gone)

    async def destroy_older(self, realm: Realm, erased: Mapping[str, int]) -> int:
        """Destroy again what a restored backup brought back: keys made before their erasure.

        `erased` says when, by learner (UTC ms); returns how many there were.
        """
        risen = await self.older(realm, erased)
        for learner_id in risen:
            await self.destroy(learner_id, realm)
        return len(risen)

    async def older(self, realm: Realm, erased: Mapping[str, int]) -> tuple[str, ...]:
        """Name the learners whose keys were made before their erasure, and are there."""
        async with self._begin() as connection:
            query = select(_keys.c.learner_id, _keys.c.made_ms).where(_keys.c.realm == str(realm))
            return tuple(
                row.learner_id
                for row in await connection.execute(query)
                if row.made_ms <= erased.get(row.learner_id, -1)
            )

    async def index(self, learner_id: str, identity_number: str) -> None:
        """Make a learner findable by an identity number. Raises Conflict where it is another's."""
        digests = self._keyring.digests(INDEX_PURPOSE, identity_number.encode())
        try:
            async with self._begin() as connection:
                if await _owners(connection, digests) - {learner_id}:
                    raise _taken()
                await connection.execute(
                    delete(_identities).where(_identities.c.learner_id == learner_id)
                )
                values = {"digest": digests[0], "learner_id": learner_id}
                await connection.execute(insert(_identities), values)
        except IntegrityError as error:  # somebody else was quicker
            raise _taken() from error

    async def find(self, identity_number: str) -> str | None:
        """Give the learner with this identity number, or None."""
        digests = self._keyring.digests(INDEX_PURPOSE, identity_number.encode())
        async with self._begin() as connection:
            return next(iter(await _owners(connection, digests)), None)

    async def _read(
        self, connection: AsyncConnection, learner_id: str, realm: Realm
    ) -> LearnerKey | None:
        query = select(_keys.c.wrapped).where(
            _keys.c.learner_id == learner_id, _keys.c.realm == str(realm)
        )
        wrapped = await connection.scalar(query)
        if wrapped is None:
            return None
        context = _wrap_context(learner_id, realm)
        raw = self._keyring.open(WRAP_PURPOSE, bytes(wrapped), context)
        return LearnerKey(learner_id, realm, raw)

    @contextlib.asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise ConfigurationError("The store of the learners' keys is not open.")
        try:
            async with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except (SQLAlchemyError, OSError) as error:
            raise storage_error(error) from error


async def _owners(connection: AsyncConnection, digests: tuple[str, ...]) -> set[str]:
    query = select(_identities.c.learner_id).where(_identities.c.digest.in_(digests))
    return set((await connection.scalars(query)).all())


def _taken() -> Conflict:
    return Conflict(
        "A learner with this identity number is registered already.",
        remedy="Find that learner with POST /v1/staff/learners:find.",
    )


def _wrap_context(learner_id: str, realm: Realm) -> bytes:
    return f"{realm}\x00{learner_id}".encode()


def _engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    if url.get_backend_name() != "sqlite":
        return engine

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # What is deleted is overwritten, in the one file there is: no log keeps a copy.
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.execute("PRAGMA journal_mode = DELETE")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine
