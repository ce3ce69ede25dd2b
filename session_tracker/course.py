"""Which course of a programme a learner is in: the present one, or the next that may begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.policy import Policy, Training
from session_tracker.programmes import Programmes
from session_tracker.records import Course, Learner
from session_tracker.refusals import ProgrammeComplete
from session_tracker.store import learners as rows
from session_tracker.store.schema import enrolments
from session_tracker.store.writer import Transaction

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentCourse:
    """The course that a session of today belongs to."""

    course: Course
    policy: Policy
    begins: bool
    """Whether it begins with that session."""
    complete: bool
    """Whether it has its certificate, so that there is nothing to study."""
    next_day: str | None
    """Of a complete one: the day on which the next may begin; None: never."""

    def require_open(self) -> None:
        """Raise ProgrammeComplete where there is nothing to study."""
        if not self.complete:
            return
        raise ProgrammeComplete(
            "The online part of this programme is complete: the certificate was issued.",
            remedy="Nothing more is needed; GET /v1/learners/{id}/credit names it."
            if self.next_day is None
            else f"The next course may begin on {self.next_day}.",
        )


async def present_course(
    connection: AsyncConnection,
    programmes: Programmes,
    learner: Learner,
    programme: str,
    now_ms: int,
) -> PresentCourse:
    """Give the learner's course; a policy period after its certificate that is the next one.

    That begins under the policy in force and is a refresher, whatever the first was. Raises
    NotFound for an unknown programme.
    """
    begun = await rows.read_course(connection, learner.id, programme)
    if begun is None:
        return _beginning(learner, programmes.policy(programme), number=1)
    certified_ms = await rows.certified_ms(connection, begun)
    newest = programmes.in_force().get(programme)
    days = 0 if newest is None else newest.course.repeat_after_days
    day = None
    if newest is not None and certified_ms is not None and days:
        due_ms = certified_ms + days * _DAY_MS
        if now_ms >= due_ms:
            return _beginning(learner, newest, number=begun.course + 1)
        local = datetime.fromtimestamp(due_ms / 1_000, UTC).astimezone(newest.zone)
        day = local.date().isoformat()
    return PresentCourse(
        course=begun,
        policy=programmes.policy(programme, begun.policy_version),
        begins=False,
        complete=certified_ms is not None,
        next_day=day,
    )


async def begin_course(tx: Transaction, course: Course, now_ms: int) -> None:
    """Record that the course begins; harmless where it has begun meanwhile."""
    values = {name: getattr(course, name) for name in Course.__slots__}
    newest = await rows.read_course(tx.connection, course.learner_id, course.programme)
    if newest is None or newest.course < course.course:
        await tx.connection.execute(insert(enrolments), {**values, "started_ms": now_ms})


def _beginning(learner: Learner, policy: Policy, *, number: int) -> PresentCourse:
    course = Course(
        learner_id=learner.id,
        programme=policy.name,
        course=number,
        policy_version=policy.version,
        track=learner.track if number == 1 else Training.REFRESHER,
    )
    return PresentCourse(course=course, policy=policy, begins=True, complete=False, next_day=None)
