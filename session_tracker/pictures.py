"""Evidence pictures: what a failed check saw, small, under the learner's key, for reviewers only.

The verifier makes them only where the programme asks (`evidence_pictures`); their digest is part
of the verdict that it signs and of the ledger. They go some days after the appeal window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from session_tracker.learner_keys import LearnerKeys, Realm
from session_tracker.policy import Policy
from session_tracker.store.database import Database
from session_tracker.store.tables_reviews import pictures
from verifier.errors import NotFound

_PURPOSE: Final = "picture"
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A picture that came with the event of a check."""

    fact_key: str
    jpeg: bytes
    sha256: str
    """As the verifier signed it."""
    taken_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A picture that is stored; not the picture itself."""

    fact_key: str
    taken_ms: int
    keep_until_ms: int


class Pictures:
    """Seals and opens."""

    def __init__(self, database: Database, keys: LearnerKeys) -> None:
        self._database = database
        self._keys = keys

    async def sealed(
        self, shots: Sequence[Shot], *, learner_id: str, session_id: str, policy: Policy
    ) -> list[dict[str, Any]]:
        """Give rows to insert; what does not have its signed digest is left out.

        After an erasure there is no key, none is made, and nothing is kept.
        """
        if not shots or policy.evidence_pictures.store != "on_failure":
            return []
        key = await self._keys.get(learner_id, Realm.FACE)
        if key is None:
            return []
        after_ms = policy.evidence_pictures.days_after_appeal * _DAY_MS
        return [
            {
                "session_id": session_id,
                "fact_key": shot.fact_key,
                "learner_id": learner_id,
                "sealed": key.seal(_PURPOSE, shot.jpeg),
                "sha256": shot.sha256,
                "taken_ms": shot.taken_ms,
                # The window begins when the session ends, which is within a day.
                "keep_until_ms": policy.appeal_until(shot.taken_ms + _DAY_MS) + after_ms,
            }
            for shot in shots
            if hashlib.sha256(shot.jpeg).hexdigest() == shot.sha256
        ]

    async def of_session(self, session_id: str) -> list[Kept]:
        """List the pictures that are kept of a session."""
        query = select(pictures.c.fact_key, pictures.c.taken_ms, pictures.c.keep_until_ms)
        there = query.where(pictures.c.session_id == session_id).order_by(pictures.c.taken_ms)
        async with self._database.read() as connection:
            return [Kept(**row._mapping) for row in await connection.execute(there)]

    async def open(self, session_id: str, fact_key: str) -> bytes:
        """Give a picture as JPEG. Raises NotFound where there is none (any more)."""
        query = select(pictures.c.learner_id, pictures.c.sealed).where(
            pictures.c.session_id == session_id, pictures.c.fact_key == fact_key
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        key = None if row is None else await self._keys.get(row.learner_id, Realm.FACE)
        if row is None or key is None:
            raise NotFound(
                "There is no picture of this check.",
                remedy="They are kept of failed checks only, and not for long.",
            )
        return key.open(_PURPOSE, bytes(row.sealed))
