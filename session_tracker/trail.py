"""The trail: who looked at whose data, when, by which route and what for. Append-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from session_tracker.store.database import Database
from session_tracker.store.tables_people import access_log
from session_tracker.store.writer import Transaction
from verifier.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One time that somebody looked."""

    id: int
    at_ms: int
    actor: str
    """Name of an API key."""
    route: str
    subject: str
    """Whose data: a learner's pseudonym, or what was asked for where there was nobody."""
    purpose: str
    """In the actor's words; empty where none was given."""


class Trail:
    """Writes before the data is handed over; what cannot be recorded is not shown."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def note(self, *, actor: str, route: str, subject: str, purpose: str = "") -> None:
        """Record a look; durable when this returns. Raises StorageError."""
        values = {
            "at_ms": self._clock.stamp().utc_ms,
            "actor": actor,
            "route": route,
            "subject": subject,
            "purpose": purpose,
        }

        async def job(tx: Transaction) -> None:
            await tx.connection.execute(insert(access_log), values)

        await self._database.write(job)

    async def read(
        self,
        *,
        actor: str | None = None,
        subject: str | None = None,
        before: int | None = None,
        limit: int = 200,
    ) -> list[Look]:
        """Give looks, the newest first; `before` an id goes on with older ones."""
        conditions: list[Any] = []
        if actor is not None:
            conditions.append(access_log.c.actor == actor)
        if subject is not None:
            conditions.append(access_log.c.subject == subject)
        if before is not None:
            conditions.append(access_log.c.id < before)
        query = select(access_log).where(*conditions).order_by(access_log.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [Look(**row) for row in (await connection.execute(query)).mappings()]
