"""Fingerprints of a learner's frames, kept for a while, so that no recording earns hours later.

They come with the events of streams and go back to the verifier, opaque, with the learner's next
streams. Each minute or two of a session is one row, sealed under the learner's face key: erasing
the face erases them. Those of the last two minutes are in memory only, and are given out from
there; what cannot be stored yet stays there. A crash loses no more, a stop nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, insert, select

from session_tracker.learner_keys import LearnerKeys, Realm
from session_tracker.live import Live
from session_tracker.store.database import Database
from session_tracker.store.learners import has_face
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.store.writer import Transaction
from verifier.clock import Clock
from verifier.errors import SealBroken
from verifier.types import StreamEvent

BYTES: Final = 64
PART: Final = 24
"""Fingerprints of one row: two minutes at one per 5 s."""
MOST: Final = 20_000
"""The newest that go to the verifier: 28 hours of study."""
_PURPOSE: Final = "frame-fingerprints"
_DAY_MS: Final = 86_400_000


@dataclass(slots=True, kw_only=True)
class _Collected:
    """Fingerprints of one session that are not stored yet."""

    learner_id: str
    days: int
    prints: bytearray = field(default_factory=bytearray)
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fingerprints:
    """Collects, keeps and gives them; `erasure` and `housekeeping` forget them."""

    def __init__(self, database: Database, keys: LearnerKeys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._collected: dict[str, _Collected] = {}
        """By session, what is not stored yet."""

    def note(self, live: Live, event: StreamEvent) -> bool:
        """Collect an event's fingerprint; tells whether it is time to `keep`."""
        if not event.fingerprint or not live.policy.retention.replay_fingerprint_days:
            return False
        collected = self._collected.get(live.id)
        if collected is None:
            days = live.policy.retention.replay_fingerprint_days
            collected = _Collected(learner_id=live.record.learner_id, days=days)
            self._collected[live.id] = collected
        collected.prints += bytes.fromhex(event.fingerprint)
        return len(collected.prints) >= PART * BYTES

    async def keep(self, session_id: str) -> None:
        """Store what was collected of a session. Raises StorageError; nothing is lost then."""
        collected = self._collected.get(session_id)
        if collected is not None:
            # A write goes on where its caller is cancelled: so does what follows from it.
            await asyncio.shield(self._keep(session_id, collected))

    async def _keep(self, session_id: str, collected: _Collected) -> None:
        async with collected.storing:
            prints = bytes(collected.prints)
            if prints:
                await self._store(session_id, collected, prints)
                del collected.prints[: len(prints)]
            if not collected.prints and self._collected.get(session_id) is collected:
                del self._collected[session_id]

    async def keep_all(self) -> None:
        """Store what was collected of all sessions: at the end. Raises StorageError."""
        for session_id in [*self._collected]:
            await self.keep(session_id)

    async def _store(self, session_id: str, collected: _Collected, prints: bytes) -> None:
        learner_id = collected.learner_id
        key = await self._keys.get(learner_id, Realm.FACE)
        if key is None:  # erased meanwhile
            return
        row = {
            "session_id": session_id,
            "learner_id": learner_id,
            "prints": key.seal(_PURPOSE, prints),
            "keep_until_ms": self._clock.stamp().utc_ms + collected.days * _DAY_MS,
        }

        async def job(tx: Transaction) -> None:
            if not await has_face(tx.connection, learner_id):  # erased since the key was read
                return
            mine = frame_fingerprints.c.session_id == session_id
            last = select(func.max(frame_fingerprints.c.part)).where(mine)
            part = 1 + int(await tx.connection.scalar(last) or 0)
            await tx.connection.execute(insert(frame_fingerprints), {**row, "part": part})

        await self._database.write(job)

    async def earlier(self, learner_id: str) -> bytes:
        """Give the newest fingerprints of all of a learner's sessions, one after the other.

        Those that are not stored yet come last: the running session's own are among them.
        """
        key = await self._keys.get(learner_id, Realm.FACE)
        if key is None:
            return b""
        query = (
            select(frame_fingerprints.c.prints)
            .where(
                frame_fingerprints.c.learner_id == learner_id,
                frame_fingerprints.c.keep_until_ms >= self._clock.stamp().utc_ms,
            )
            .order_by(frame_fingerprints.c.keep_until_ms.desc(), frame_fingerprints.c.part.desc())
            .limit(MOST // PART)
        )
        async with self._database.read() as connection:
            sealed = list((await connection.scalars(query)).all())
        found = []
        for one in reversed(sealed):
            try:
                found.append(key.open(_PURPOSE, one))
            except SealBroken:  # sealed under a key that was destroyed
                continue
        mine = (one for one in self._collected.values() if one.learner_id == learner_id)
        found += [bytes(one.prints) for one in mine]
        return b"".join(found)[-MOST * BYTES :]
