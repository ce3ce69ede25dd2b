"""Settles every course in one pass: a year of learners, one after the other, in bounded memory.

Each session is settled when it ends; this is the pass that looks at all of it again, as an
inspector would: what every course comes to by derivation, whether the ledger's settlements say the
same, and what is still open. Courses are read page by page in the order of their learners; nothing
of one is kept when the next one is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, tuple_

from session_tracker.ledger import Context
from session_tracker.policy import Training
from session_tracker.records import Course
from session_tracker.settlement import Settlement
from session_tracker.store.database import Database
from session_tracker.store.schema import enrolments

_PAGE: Final = 500
_AT_ONCE: Final = 4
"""Courses whose facts are in memory: while one is derived, the database reads the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseOutcome:
    """What one course comes to."""

    course: Course
    sessions: int
    open_sessions: int
    """Not settled yet: they run, or their tracker has to be started."""
    credited_s: int
    provisional_s: int
    pending_ms: int
    target_s: int
    certificate: str | None
    regraded: int
    """Settlements in the ledger that said something else than the facts."""

    @property
    def reached(self) -> bool:
        """Whether the target is met with nothing pending or provisional."""
        return self.credited_s >= self.target_s and not self.provisional_s and not self.pending_ms


async def courses(database: Database, *, page: int = _PAGE) -> AsyncIterator[Course]:
    """Give every course, in the order of their learners."""
    key = (enrolments.c.learner_id, enrolments.c.programme, enrolments.c.course)
    after = ("", "", 0)
    while True:
        query = select(enrolments).where(tuple_(*key) > after).order_by(*key).limit(page)
        async with database.read() as connection:
            found = (await connection.execute(query)).all()
        for row in found:
            yield Course(
                learner_id=row.learner_id,
                programme=row.programme,
                course=row.course,
                policy_version=row.policy_version,
                track=Training(row.track),
            )
        if len(found) < page:
            return
        after = (found[-1].learner_id, found[-1].programme, found[-1].course)


async def settle_all(
    database: Database, settlement: Settlement, *, now_ms: int, context: Context | None = None
) -> AsyncIterator[CourseOutcome]:
    """Derive every course; with a `context`, settle anew what came to another result since.

    Give a `Settlement` that keeps nothing (`kept_facts=0`): no course is looked at twice.
    """

    async def settle(course: Course) -> CourseOutcome:
        state = await settlement.course_credit(course, now_ms=now_ms, running={})
        if context is None:
            regraded = await settlement.differing(state)
        else:
            regraded = await settlement.regrade(state, context)
        return CourseOutcome(
            course=course,
            sessions=len(state.records),
            open_sessions=sum(record.settled_ms is None for record in state.records),
            credited_s=state.credit.credited_s,
            provisional_s=state.credit.provisional_s,
            pending_ms=state.credit.pending_ms,
            target_s=state.target_s,
            certificate=state.certificate_number,
            regraded=regraded,
        )

    waiting: list[Course] = []
    async for course in courses(database):
        waiting.append(course)
        if len(waiting) == _AT_ONCE:
            for outcome in await _each(settle, waiting):
                yield outcome
            waiting = []
    for outcome in await _each(settle, waiting):
        yield outcome


async def _each(
    settle: Callable[[Course], Awaitable[CourseOutcome]], found: Sequence[Course]
) -> Sequence[CourseOutcome]:
    """Settle a few courses beside each other, in their order; what one raises is raised."""
    return await asyncio.gather(*(settle(course) for course in found))
