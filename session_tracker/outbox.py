"""The outbox: events in the transaction of the facts that they tell, and who has heard them.

Within a subject (a session or a learner) the order holds: only its first event that is not
delivered is ever due. One that was given up is *parked*, and everything after it waits until
somebody replays it: a receiver never hears a later event of a session before an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.announcements import Announcement, announce, announce_head
from session_tracker.store.database import Database
from session_tracker.store.tables_outbox import outbox_deliveries, outbox_events
from session_tracker.store.writer import Transaction
from session_tracker.webhooks import Target
from verifier.clock import Clock
from verifier.errors import NotFound

PARK_AFTER_MS: Final = 72 * 3_600_000
"""An event that nobody took for so long is given up until it is replayed."""
KEEP_MS: Final = 30 * 86_400_000
"""Delivered events stay for so long, to be replayed; parked ones three times as long."""
_FIRST_RETRY_MS: Final = 5_000
_LONGEST_RETRY_MS: Final = 3_600_000
_RUN: Final = 20
"""Events of one subject that are sent one after the other without looking again."""
_REPLAY_PAGE: Final = 500

_events, _deliveries = outbox_events.c, outbox_deliveries.c
_pending: Final = _deliveries.delivered_ms.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event on its way to one target."""

    seq: int
    id: str
    subject: str
    body: bytes
    attempts: int
    first_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of sending one."""

    message: Message
    failure: str | None
    """None where the receiver took it."""
    at_ms: int
    next_ms: int = 0
    """Where it failed: when to try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a target stands."""

    target: str
    pending: int
    parked: int
    delivered: int
    oldest_pending_ms: int | None
    last_failure: str | None


def retry_after_ms(attempts: int, draw: float) -> int:
    """Say how long to wait after so many failed attempts: 5 s, doubling to an hour, ± 20 %."""
    wait = min(_FIRST_RETRY_MS << min(attempts - 1, 16), _LONGEST_RETRY_MS)
    return round(wait * (0.8 + 0.4 * draw))


class Outbox:
    """Stores events, tells what is due, and takes down what came of it."""

    def __init__(self, database: Database, targets: Sequence[Target], clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.targets = {target.name: target for target in targets}
        self.on_news: Callable[[], None] | None = None
        """Called once new events are committed."""
        self._news = False
        if targets:
            database.announcer = self

    # --- in ----------------------------------------------------------------------------------

    async def entries(
        self, connection: AsyncConnection, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        """Store the events among new ledger entries, in the transaction that appends them."""
        found = [
            said
            for entry in entries
            if (
                said := announce(
                    index=entry["idx"],
                    subject=entry["subject"],
                    key=entry["key"],
                    kind=entry["kind"],
                    body=entry["body"],
                )
            )
            is not None
        ]
        await self._store(connection, found)

    async def head(self, connection: AsyncConnection, head: Mapping[str, Any]) -> None:
        """Store the event that a head is, in the transaction that signs it."""
        await self._store(connection, [announce_head(head)])

    def committed(self) -> None:
        """Tell whoever delivers."""
        if self._news and self.on_news is not None:
            self._news = False
            self.on_news()

    async def _store(self, connection: AsyncConnection, found: Sequence[Announcement]) -> None:
        heard = [
            (target.name, said)
            for said in found
            for target in self.targets.values()
            if target.hears(said.type)
        ]
        if not heard:
            return
        wanted = {said.seq for _, said in heard}
        await connection.execute(
            insert(outbox_events),
            [
                {
                    "seq": said.seq,
                    "id": said.id,
                    "type": said.type,
                    "subject": said.subject,
                    "at_ms": said.at_ms,
                    "body": said.body,
                }
                for said in found
                if said.seq in wanted
            ],
        )
        waiting = await _waiting(connection, {said.subject for _, said in heard})
        now = self._clock.stamp().utc_ms
        rows = []
        for target, said in heard:
            first = (target, said.subject) not in waiting
            waiting.add((target, said.subject))
            rows.append(_fresh(target, said.seq, said.subject, now if first else None))
        await connection.execute(insert(outbox_deliveries), rows)
        self._news = True  # if this is rolled back, somebody looks in vain: no harm

    # --- out ---------------------------------------------------------------------------------

    async def due(self, target: str, *, limit: int) -> list[list[Message]]:
        """Give what is due: per subject the next events, in order, the longest due first."""
        now = self._clock.stamp().utc_ms
        async with self._database.read() as connection:
            query = (
                select(_deliveries.subject)
                .where(_deliveries.target == target, _deliveries.due_ms <= now)
                .order_by(_deliveries.due_ms, _deliveries.seq)
                .limit(limit)
            )
            subjects = (await connection.scalars(query)).all()
            return [await _next_of(connection, target, subject) for subject in subjects]

    async def next_due_ms(self, target: str) -> int | None:
        """Give the instant (UTC) at which something is due next; None where nothing waits."""
        async with self._database.read() as connection:
            query = select(func.min(_deliveries.due_ms)).where(_deliveries.target == target)
            found: int | None = await connection.scalar(query)
        return found

    async def record(self, target: str, attempts: Sequence[Attempt]) -> None:
        """Take down what came of attempts, and let what follows a delivered event be due."""

        async def job(tx: Transaction) -> None:
            taken = [a for a in attempts if a.failure is None]
            for attempt in attempts:
                await tx.connection.execute(
                    update(outbox_deliveries)
                    .where(_deliveries.target == target, _deliveries.seq == attempt.message.seq)
                    .values(_after(attempt))
                )
            if taken:
                subjects = {a.message.subject for a in taken}
                await _due_again(tx.connection, target, subjects, max(a.at_ms for a in taken))

        await self._database.write(job)

    # --- for operators -----------------------------------------------------------------------

    async def standing(self) -> list[Standing]:
        """Say how every target stands."""
        return [await self._standing(name) for name in sorted(self.targets)]

    async def _standing(self, target: str) -> Standing:
        mine = _deliveries.target == target
        counts = select(
            func.sum(case((_pending, 1), else_=0)),
            func.sum(case((_deliveries.parked_ms.is_not(None), 1), else_=0)),
            func.sum(case((_deliveries.delivered_ms.is_not(None), 1), else_=0)),
        ).where(mine)
        oldest = select(func.min(_events.at_ms)).select_from(
            outbox_deliveries.join(outbox_events, _events.seq == _deliveries.seq)
        )
        last = select(_deliveries.said).where(mine, _pending, _deliveries.said.is_not(None))
        async with self._database.read() as connection:
            pending, parked, delivered = (await connection.execute(counts)).one()
            return Standing(
                target=target,
                pending=int(pending or 0),
                parked=int(parked or 0),
                delivered=int(delivered or 0),
                oldest_pending_ms=await connection.scalar(oldest.where(mine, _pending)),
                last_failure=await connection.scalar(
                    last.order_by(_deliveries.seq.desc()).limit(1)
                ),
            )

    async def replay(self, target: str, *, since_ms: int, until_ms: int) -> int:
        """Have events of that time (UTC) delivered again, in order; returns how many.

        Events that a target did not hear, because it was not configured, are told to it now, as
        far as another target kept them. Raises NotFound.
        """
        receiver = self.targets.get(target)
        if receiver is None:
            raise NotFound(
                f"There is no webhook {target!r}.",
                remedy=f"Configured are: {', '.join(sorted(self.targets)) or 'none'}.",
            )
        count, after = 0, -1
        while True:
            wanted = (
                select(_events.seq, _events.subject, _events.type)
                .where(_events.seq > after, _events.at_ms >= since_ms, _events.at_ms < until_ms)
                .order_by(_events.seq)
                .limit(_REPLAY_PAGE)
            )
            async with self._database.read() as connection:
                rows = (await connection.execute(wanted)).all()
            if not rows:
                return count
            heard = [(row.seq, row.subject) for row in rows if receiver.hears(row.type)]
            await self._again(target, heard)
            count, after = count + len(heard), rows[-1].seq

    async def _again(self, target: str, heard: Sequence[tuple[int, str]]) -> None:
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> None:
            numbers = [seq for seq, _ in heard]
            mine = and_(_deliveries.target == target, _deliveries.seq.in_(numbers))
            await tx.connection.execute(delete(outbox_deliveries).where(mine))
            rows = [_fresh(target, seq, subject, None) for seq, subject in heard]
            await tx.connection.execute(insert(outbox_deliveries), rows)
            await _due_again(tx.connection, target, {subject for _, subject in heard}, now)
            self._news = True

        if heard:
            await self._database.write(job)

    async def purge(self) -> int:
        """Forget events that were delivered, or given up, long ago; returns how many."""
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> int:
            ancient = select(_events.seq).where(_events.at_ms < now - 3 * KEEP_MS)
            old = or_(
                _deliveries.delivered_ms < now - KEEP_MS,
                _deliveries.parked_ms < now - 3 * KEEP_MS,
                and_(_deliveries.target.not_in([*self.targets]), _deliveries.seq.in_(ancient)),
            )
            await tx.connection.execute(delete(outbox_deliveries).where(old))
            kept = exists().where(_deliveries.seq == _events.seq)
            gone = await tx.connection.execute(
                delete(outbox_events).where(_events.at_ms < now - KEEP_MS, ~kept)
            )
            return gone.rowcount

        return await self._database.write(job)


def _fresh(target: str, seq: int, subject: str, due_ms: int | None) -> dict[str, Any]:
    return {"target": target, "seq": seq, "subject": subject, "due_ms": due_ms, "attempts": 0}


def _after(attempt: Attempt) -> dict[str, Any]:
    message = attempt.message
    first = attempt.at_ms if message.first_ms is None else message.first_ms
    values = {"attempts": message.attempts + 1, "first_ms": first, "said": attempt.failure}
    if attempt.failure is None:
        return {**values, "due_ms": None, "parked_ms": None, "delivered_ms": attempt.at_ms}
    if attempt.at_ms - first >= PARK_AFTER_MS:
        return {**values, "due_ms": None, "parked_ms": attempt.at_ms}
    return {**values, "due_ms": attempt.next_ms}


async def _waiting(connection: AsyncConnection, subjects: Iterable[str]) -> set[tuple[str, str]]:
    query = select(_deliveries.target, _deliveries.subject).distinct()
    found = await connection.execute(query.where(_deliveries.subject.in_(subjects), _pending))
    return {(row.target, row.subject) for row in found}


async def _next_of(connection: AsyncConnection, target: str, subject: str) -> list[Message]:
    query = (
        select(
            _events.seq,
            _events.id,
            _events.subject,
            _events.body,
            _deliveries.attempts,
            _deliveries.first_ms,
        )
        .join(outbox_events, _events.seq == _deliveries.seq)
        .select_from(outbox_deliveries)
        .where(_deliveries.target == target, _deliveries.subject == subject, _pending)
        .order_by(_deliveries.seq)
        .limit(_RUN)
    )
    return [
        Message(
            seq=row.seq,
            id=row.id,
            subject=row.subject,
            body=row.body.encode("utf-8"),
            attempts=row.attempts,
            first_ms=row.first_ms,
        )
        for row in await connection.execute(query)
    ]


async def _due_again(
    connection: AsyncConnection, target: str, subjects: Iterable[str], now: int
) -> None:
    """Make the first event that waits of every subject due, and no other."""
    other = outbox_deliveries.alias("other")
    first = (
        select(func.min(other.c.seq))
        .where(
            other.c.target == target,
            other.c.subject == _deliveries.subject,
            other.c.delivered_ms.is_(None),
        )
        .correlate(outbox_deliveries)
        .scalar_subquery()
    )
    mine = and_(_deliveries.target == target, _deliveries.subject.in_(subjects), _pending)
    is_due = and_(_deliveries.seq == first, _deliveries.parked_ms.is_(None))
    kept = func.coalesce(_deliveries.due_ms, now)
    await connection.execute(
        update(outbox_deliveries).where(mine).values(due_ms=case((is_due, kept), else_=None))
    )


__all__ = [
    "KEEP_MS",
    "PARK_AFTER_MS",
    "Attempt",
    "Message",
    "Outbox",
    "Standing",
    "retry_after_ms",
]
