"""Fingerprints of a learner's frames, kept for a while, so that no recording earns hours later.

They come with the events of streams and go back to the verifier, opaque, with the learner's next
streams. Each minute or two of a session is one row, sealed under the learner's face key: erasing
the face erases them. Those of the last minute are in memory only; a crash loses no more.
"""

from __future__ import annotations

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


class Fingerprints:
    """Collects, keeps and gives them; `erasure` and `housekeeping` forget them."""

    def __init__(self, database: Database, keys: LearnerKeys, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._collected: dict[str, bytearray] = {}
        """By session, what is not stored yet."""

    def note(self, live: Live, event: StreamEvent) -> bool:
        """Collect an event's fingerprint; tells whether it is time to `keep`."""
        if not event.fingerprint or not live.policy.retention.replay_fingerprint_days:
            return False
        collected = self._collected.setdefault(live.id, bytearray())
        collected += bytes.fromhex(event.fingerprint)
        return len(collected) >= PART * BYTES

    async def keep(self, live: Live) -> None:
        """Store what was collected of a session. Raises StorageError."""
        prints = bytes(self._collected.pop(live.id, b""))
        if not prints:
            return
        learner_id = live.record.learner_id
        key = await self._keys.get(learner_id, Realm.FACE)
        if key is None:  # erased meanwhile
            return
        days = live.policy.retention.replay_fingerprint_days
        row = {
            "session_id": live.id,
            "learner_id": learner_id,
            "prints": key.seal(_PURPOSE, prints),
            "keep_until_ms": self._clock.stamp().utc_ms + days * _DAY_MS,
        }

        async def job(tx: Transaction) -> None:
            if not await has_face(tx.connection, learner_id):  # erased since the key was read
                return
            mine = frame_fingerprints.c.session_id == live.id
            last = select(func.max(frame_fingerprints.c.part)).where(mine)
            part = 1 + int(await tx.connection.scalar(last) or 0)
            await tx.connection.execute(insert(frame_fingerprints), {**row, "part": part})

        await self._database.write(job)

    async def earlier(self, learner_id: str) -> bytes:
        """Give the newest fingerprints of all of a learner's sessions, one after the other."""
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
        return b"".join(found)[-MOST * BYTES :]
