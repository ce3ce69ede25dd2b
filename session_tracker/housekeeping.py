"""What is done every day without being asked: what may no longer be kept is erased.

Templates go at the end of the course plus the appeal window, or once the consent is withdrawn;
pictures when their time is up; names and numbers after the years that records are kept, and with
them every row under the pseudonym, but for the entries of the ledger. Whoever stores 100 000 faces
has to file that: the count is looked at too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, case, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.enrolment import CONSENT_PURPOSE
from session_tracker.erasure import Erasure
from session_tracker.policy import Policy
from session_tracker.programmes import Programmes
from session_tracker.store import learners as rows
from session_tracker.store.certificates import HOURS_VOID
from session_tracker.store.database import Database
from session_tracker.store.schema import (
    certificates,
    consents,
    enrolments,
    learners,
    sessions,
    templates,
)
from session_tracker.store.tables_people import offline_hours, people, registrations
from session_tracker.store.tables_reviews import pictures, reviews
from session_tracker.store.tables_signin import invitations, learner_tokens
from session_tracker.store.tables_streams import frame_fingerprints
from session_tracker.store.writer import Transaction
from verifier.clock import Clock

FILING_DUE: Final = 100_000
"""People whose faces are stored: Measures for the Security of Face Recognition, art. 15."""
FILING_PREPARE: Final = 80_000
ACTOR: Final = "housekeeping"
_DAY_MS: Final = 86_400_000
_YEAR_MS: Final = 366 * _DAY_MS
_PAGE: Final = 500
_log = logging.getLogger("benren.tracker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one day's work did."""

    templates_of: tuple[str, ...]
    """Learners whose biometrics were erased."""
    persons: tuple[str, ...]
    """Learners of whom everything was erased."""
    records_of: tuple[str, ...]
    """Learners whose pseudonymous records were removed, too."""
    pictures: int
    faces_stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides whether a learner's face may still be kept; instants in UTC ms."""

    enrolled_ms: int
    """When the newest template was enrolled."""
    consent: bool
    """Whether a consent to face verification is in force, or none was ever asked for."""
    busy: bool
    """Whether a session is not settled or a review not decided."""
    courses: tuple[CourseStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseStanding:
    """A course as far as it decides about a face."""

    policy: Policy
    last_ms: int
    """When its last session ended, or it began."""
    certified_ms: int | None


def due(standing: Standing, policy: Policy, now_ms: int) -> str | None:
    """Say why a face may no longer be kept, or None where it may. Pure.

    `policy` says how long one is kept of a learner who never began a course.
    """
    if standing.busy:
        return None
    if not standing.consent:
        return "consent_withdrawn"
    if not standing.courses:
        idle = standing.enrolled_ms + policy.retention.idle_course_days * _DAY_MS
        return "never_studied" if now_ms > idle else None
    for course in standing.courses:
        rules = course.policy
        ended = max(course.last_ms, course.certified_ms or 0)
        if course.certified_ms is None:
            ended += rules.retention.idle_course_days * _DAY_MS
        if now_ms <= rules.appeal_until(ended):
            return None
        # A face of after the end is for the next course: that has as long to begin as the first.
        idle = standing.enrolled_ms + rules.retention.idle_course_days * _DAY_MS
        if standing.enrolled_ms > ended and now_ms <= idle:
            return None
    return "course_over"


class Housekeeping:
    """Looks at everybody once a day, page by page."""

    def __init__(
        self, database: Database, programmes: Programmes, erasure: Erasure, clock: Clock
    ) -> None:
        self._database = database
        self._programmes = programmes
        self._erasure = erasure
        self._clock = clock

    async def run(self) -> Swept:
        """Do a day's work; doing it twice does no harm. Raises StorageError."""
        for learner_id, begun_ms in (await self._erasure.unfinished()).items():
            await self._erasure.finish(learner_id, begun_ms, actor=ACTOR, cause="begun_before")
        erased = []
        async for learner_id in self._due_faces():
            # The page is as old as the erasures before it: the judgement is made anew.
            due_still = partial(self._due_still, learner_id)
            done = await self._erasure.biometrics_if_due(learner_id, due_still, actor=ACTOR)
            if done is not None:
                erased.append(learner_id)
        forgotten = []
        for learner_id in await self._due_persons():
            await self._erasure.person(learner_id, actor=ACTOR, cause="records_kept_long_enough")
            forgotten.append(learner_id)
        removed = []
        for learner_id in await self._due_records():
            await self._erasure.records(learner_id, actor=ACTOR, cause="records_kept_long_enough")
            removed.append(learner_id)
        purged = await self._purge_pictures()
        await self._purge_fingerprints()
        async with self._database.read() as connection:
            stored = await rows.count_faces(connection)
        if stored >= FILING_PREPARE:
            what = "file within 30 working days" if stored >= FILING_DUE else "prepare the filing"
            _log.warning("faces of %d people are stored: %s (docs/law.md)", stored, what)
        return Swept(
            templates_of=tuple(erased),
            persons=tuple(forgotten),
            records_of=tuple(removed),
            pictures=purged,
            faces_stored=stored,
        )

    async def _due_faces(self) -> AsyncIterator[str]:
        policies = list(self._programmes.in_force().values())
        now = self._clock.stamp().utc_ms
        after = ""
        while policies:
            async with self._database.read() as connection:
                page = await _enrolled(connection, templates.c.learner_id > after)
                found = await self._standings(connection, page)
            for learner_id, standing in found.items():
                if due(standing, policies[0], now) is not None:
                    yield learner_id
            if len(page) < _PAGE:
                return
            after = max(page)

    async def _due_still(self, learner_id: str, connection: AsyncConnection) -> str | None:
        """Say why this learner's face may not be kept now, or None where it may."""
        policies = list(self._programmes.in_force().values())
        page = await _enrolled(connection, templates.c.learner_id == learner_id)
        if not page or not policies:
            return None
        (standing,) = (await self._standings(connection, page)).values()
        return due(standing, policies[0], self._clock.stamp().utc_ms)

    async def _standings(
        self, connection: AsyncConnection, page: Mapping[str, int]
    ) -> dict[str, Standing]:
        courses = await self._courses(connection, page.keys())
        given, held = await _consented(connection, page.keys())
        busy = await _busy(connection, page.keys())
        return {
            learner_id: Standing(
                enrolled_ms=enrolled_ms,
                consent=learner_id in held or learner_id not in given,
                busy=learner_id in busy,
                courses=tuple(courses.get(learner_id, ())),
            )
            for learner_id, enrolled_ms in page.items()
        }

    async def _courses(
        self, connection: AsyncConnection, ids: Collection[str]
    ) -> dict[str, list[CourseStanding]]:
        this = (
            (sessions.c.learner_id == enrolments.c.learner_id)
            & (sessions.c.programme == enrolments.c.programme)
            & (sessions.c.course == enrolments.c.course)
        )
        last = select(func.max(func.coalesce(sessions.c.closed_ms, sessions.c.opened_ms)))
        papers = (
            certificates.c.learner_id == enrolments.c.learner_id,
            certificates.c.programme == enrolments.c.programme,
            certificates.c.course == enrolments.c.course,
        )
        # As `store.certificates.Standing.since_ms`, where one holds.
        holds = exists().where(*papers, certificates.c.revoked_ms.is_(None))
        borne = func.coalesce(certificates.c.revoked_reason, "") != HOURS_VOID
        first = select(func.min(certificates.c.issued_ms)).where(*papers, borne)
        query = select(
            enrolments,
            last.where(this).scalar_subquery().label("last_ms"),
            case((holds, first.scalar_subquery())).label("certified_ms"),
        ).where(enrolments.c.learner_id.in_(ids))
        found: dict[str, list[CourseStanding]] = {}
        for row in await connection.execute(query):
            standing = CourseStanding(
                policy=self._programmes.policy(row.programme, row.policy_version),
                last_ms=row.started_ms if row.last_ms is None else row.last_ms,
                certified_ms=row.certified_ms,
            )
            found.setdefault(row.learner_id, []).append(standing)
        return found

    async def _due_persons(self) -> list[str]:
        """Name whose records have been kept for their years, since the last thing that happened."""
        limit = self._records_limit()
        last = select(func.max(func.coalesce(sessions.c.closed_ms, sessions.c.opened_ms)))
        since = last.where(sessions.c.learner_id == people.c.learner_id).scalar_subquery()
        query = select(people.c.learner_id).where(
            people.c.erased_ms.is_(None),
            people.c.recorded_ms < limit,
            func.coalesce(since, 0) < limit,
        )
        if limit is None:
            return []
        query = query.where(*_not_back(people.c.learner_id, limit))
        async with self._database.read() as connection:
            return list((await connection.scalars(query)).all())

    def _records_limit(self) -> int | None:
        """Give before when what happened last was long enough ago, UTC ms; None: never."""
        years = [p.retention.records_years for p in self._programmes.in_force().values()]
        return self._clock.stamp().utc_ms - max(years) * _YEAR_MS if years else None

    async def _due_records(self) -> list[str]:
        """Name whose every record is older than that, with nothing open about any of them."""
        limit = self._records_limit()
        if limit is None:
            return []
        newer = (
            (sessions, func.coalesce(sessions.c.closed_ms, limit) >= limit),
            (sessions, sessions.c.settled_ms.is_(None)),
            (certificates, certificates.c.issued_ms >= limit),
            (reviews, func.coalesce(reviews.c.decided_ms, limit) >= limit),
            (offline_hours, offline_hours.c.entered_ms >= limit),
            (enrolments, enrolments.c.started_ms >= limit),
            (templates, templates.c.enrolled_ms >= limit),
        )
        query = (
            select(learners.c.id)
            .where(
                learners.c.created_ms < limit,
                *_not_back(learners.c.id, limit),
                *(
                    ~exists().where(table.c.learner_id == learners.c.id, condition)
                    for table, condition in newer
                ),
            )
            .order_by(learners.c.id)
            .limit(_PAGE)
        )
        async with self._database.read() as connection:
            return list((await connection.scalars(query)).all())

    async def _purge_fingerprints(self) -> int:
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> int:
            over = delete(frame_fingerprints).where(frame_fingerprints.c.keep_until_ms < now)
            return (await tx.connection.execute(over)).rowcount

        return await self._database.write(job)

    async def _purge_pictures(self) -> int:
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> int:
            asked = select(reviews.c.session_id).where(
                reviews.c.session_id.is_not(None), reviews.c.decided_ms.is_(None)
            )
            over = delete(pictures).where(
                pictures.c.keep_until_ms < now, pictures.c.session_id.not_in(asked)
            )
            return (await tx.connection.execute(over)).rowcount

        return await self._database.write(job)


def _not_back(learner_id: ColumnElement[str], limit: int) -> list[ColumnElement[bool]]:
    """Make the conditions that a learner has not come back since: to begin the next course, say.

    Invited, signed in, recorded anew, consenting or approved, though he has not studied yet.
    """
    signs = (
        (consents.alias(), "given_ms"),
        (registrations.alias(), "changed_ms"),
        (people.alias(), "recorded_ms"),
        (invitations.alias(), "issued_ms"),
        (learner_tokens.alias(), "issued_ms"),
    )
    return [
        ~exists().where(sign.c.learner_id == learner_id, sign.c[at] >= limit) for sign, at in signs
    ]


async def _enrolled(connection: AsyncConnection, which: ColumnElement[bool]) -> dict[str, int]:
    """Give learners with a stored face and when it was enrolled, by id; a page of them."""
    query = (
        select(templates.c.learner_id, func.max(templates.c.enrolled_ms).label("at"))
        .where(templates.c.blob.is_not(None), which)
        .group_by(templates.c.learner_id)
        .order_by(templates.c.learner_id)
        .limit(_PAGE)
    )
    return {row.learner_id: int(row.at) for row in await connection.execute(query)}


async def _consented(
    connection: AsyncConnection, ids: Collection[str]
) -> tuple[set[str], set[str]]:
    """Name who ever consented, and whose consent is in force."""
    query = select(consents.c.learner_id, consents.c.withdrawn_ms).where(
        consents.c.learner_id.in_(ids), consents.c.purpose == CONSENT_PURPOSE
    )
    found = (await connection.execute(query)).all()
    return {r.learner_id for r in found}, {r.learner_id for r in found if r.withdrawn_ms is None}


async def _busy(connection: AsyncConnection, ids: Collection[str]) -> set[str]:
    running = select(sessions.c.learner_id).where(
        sessions.c.learner_id.in_(ids), sessions.c.settled_ms.is_(None)
    )
    asked = select(reviews.c.learner_id).where(
        reviews.c.learner_id.in_(ids), reviews.c.decided_ms.is_(None)
    )
    return {*(await connection.scalars(running)).all(), *(await connection.scalars(asked)).all()}
