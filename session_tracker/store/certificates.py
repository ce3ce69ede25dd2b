"""The certificate of a course: at most one that holds, and why another may take its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.records import Course
from session_tracker.store.schema import certificates

HOURS_VOID: Final = "hours_void"
"""What was decided later left less than the target."""
NAME_CORRECTED: Final = "name_corrected"
"""The holder's name was recorded wrongly when it was issued."""
ISSUED_ANEW: Final = frozenset({HOURS_VOID, NAME_CORRECTED})
"""Reasons of a revocation after which another is issued, once the hours are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in the way of another certificate for a course."""

    number: str
    since_ms: int
    """When the first was issued that the hours bore: another name on it begins nothing anew."""
    holds: bool
    """False: it was revoked for good."""


async def read_standing(connection: AsyncConnection, course: Course) -> Standing | None:
    """Give the certificate that the course has, or None where one may be issued."""
    query = select(
        certificates.c.number,
        certificates.c.issued_ms,
        certificates.c.revoked_ms,
        certificates.c.revoked_reason,
    ).where(
        certificates.c.learner_id == course.learner_id,
        certificates.c.programme == course.programme,
        certificates.c.course == course.course,
    )
    found = (await connection.execute(query.order_by(certificates.c.issued_ms))).all()
    since = min((r.issued_ms for r in found if r.revoked_reason != HOURS_VOID), default=0)
    final = [
        Standing(number=row.number, since_ms=since, holds=row.revoked_ms is None)
        for row in found
        if row.revoked_ms is None or row.revoked_reason not in ISSUED_ANEW
    ]
    return next((s for s in final if s.holds), final[-1] if final else None)
