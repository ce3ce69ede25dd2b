"""Settles every course in one pass: a year of learners, one after the other, in bounded memory.

Each session is settled when it ends; this is the pass that looks at all of it again, as an
inspector would: what every course comes to by derivation, whether the ledger's settlements say the
same, and what is still open. Courses are read page by page in the order of their learners; nothing
of one is kept when the next one is read.

A pass that writes does with every course what is done after a decision about it (`Grading.grade`):
it settles anew, revokes a certificate of whose hours too few are left, issues one that is due. What
is done is not done again, so that a pass that was broken off is simply begun anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, tuple_

from session_tracker.policy import Training
from session_tracker.records import Course
from session_tracker.settlement import CourseCredit, Settlement
from session_tracker.store.database import Database
from session_tracker.store.schema import enrolments

_PAGE: Final = 500
_AT_ONCE: Final = 4
"""Courses whose facts are in memory: while one is derived, the database reads the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What became of a course that was graded."""

    state: CourseCredit
    """As derived, before anything was written."""
    regraded: int
    """Sessions that were settled anew."""
    revoked: str | None = None
    """Number of the certificate whose hours are void."""
    certified: str | None = None
    """Number of the certificate that was issued."""

    @property
    def certificate(self) -> str | None:
        """The number of the certificate that the course has now."""
        if self.revoked is not None:
            return None
        return self.state.certificate_number if self.certified is None else self.certified


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
    revoked: str | None = None
    """Number of the certificate that was revoked by this pass: too few of its hours are left."""

    @property
    def reached(self) -> bool:
        """Whether the target is met with nothing pending or provisional."""
        return self.credited_s >= self.target_s and not self.provisional_s and not self.pending_ms

    def as_json(self) -> dict[str, Any]:
        """Give it as a line for others."""
        return {
            "learner_id": self.course.learner_id,
            "programme": self.course.programme,
            "course": self.course.course,
            "policy_version": self.course.policy_version,
            "track": str(self.course.track),
            "sessions": self.sessions,
            "open_sessions": self.open_sessions,
            "credited_s": self.credited_s,
            "provisional_s": self.provisional_s,
            "pending_s": self.pending_ms // 1_000,
            "target_s": self.target_s,
            "reached": self.reached,
            "certificate": self.certificate,
            "differing": self.regraded,
            "revoked": self.revoked,
        }


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
    database: Database,
    settlement: Settlement,
    *,
    now_ms: int,
    grade: Callable[[Course], Awaitable[Graded]] | None = None,
) -> AsyncIterator[CourseOutcome]:
    """Derive every course; with `grade`, have each graded instead of only looked at.

    Give a `Settlement` that keeps nothing (`kept_facts=0`): no course is looked at twice.
    """

    async def look(course: Course) -> Graded:
        state = await settlement.course_credit(course, now_ms=now_ms, running={})
        return Graded(state=state, regraded=await settlement.differing(state))

    async def settle(course: Course) -> CourseOutcome:
        done = await (look if grade is None else grade)(course)
        state = done.state
        return CourseOutcome(
            course=course,
            sessions=len(state.records),
            open_sessions=sum(record.settled_ms is None for record in state.records),
            credited_s=state.credit.credited_s,
            provisional_s=state.credit.provisional_s,
            pending_ms=state.credit.pending_ms,
            target_s=state.target_s,
            certificate=done.certificate,
            regraded=done.regraded,
            revoked=done.revoked,
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
