"""What staff wrote about a learner: sealed under his key beside the ledger, which holds a digest.

The ledger stays for ever and identifies nobody; words may name people, and have to be erasable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select

from session_tracker.learner_keys import LearnerKeys, Realm
from session_tracker.store import learners as rows
from session_tracker.store.database import Database
from session_tracker.store.tables_people import staff_words
from session_tracker.store.writer import Transaction

IN_WORDS: Final = "in_words"
"""The reason of a ledger entry whose reason somebody wrote."""
_PURPOSE: Final = "staff-words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Words about a learner, to be kept with the entry that has their digest."""

    learner_id: str
    sha256: str
    words: bytes

    async def keep(self, tx: Transaction, subject: str, key: str) -> None:
        """Store them beside the ledger's entry; a repeat changes nothing."""
        same = (staff_words.c.subject == subject) & (staff_words.c.key == key)
        if await tx.connection.scalar(select(staff_words.c.key).where(same)) is not None:
            return
        values = {"subject": subject, "key": key, "learner_id": self.learner_id}
        await tx.connection.execute(insert(staff_words), {**values, "words": self.words})


class StaffWords:
    """Seals words, and gives them back."""

    def __init__(self, database: Database, keys: LearnerKeys) -> None:
        self._database = database
        self._keys = keys

    async def seal(self, learner_id: str, text: str) -> Sealed:
        """Seal words about a learner. Raises NotFound."""
        async with self._database.read() as connection:
            await rows.read_learner(connection, learner_id)
        key = await self._keys.ensure(learner_id, Realm.PERSON)
        words = key.seal(_PURPOSE, text.encode())
        return Sealed(learner_id=learner_id, sha256=digest(text), words=words)

    async def of(self, learner_id: str) -> Mapping[tuple[str, str], str]:
        """Give what was written about a learner, by subject and key of the ledger's entries."""
        query = select(staff_words).where(staff_words.c.learner_id == learner_id)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        key = await self._keys.get(learner_id, Realm.PERSON)
        if key is None:
            return {}
        return {
            (row.subject, row.key): key.open(_PURPOSE, bytes(row.words)).decode() for row in found
        }


def digest(text: str) -> str:
    """Give what the ledger keeps of words: SHA-256, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
