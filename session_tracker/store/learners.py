"""Learners in the database: rows in, rows out; no rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.learner_keys import Realm, is_sealed
from session_tracker.policy import Provenance, Training
from session_tracker.records import (
    Consent,
    Course,
    Learner,
    Registration,
    RegistrationState,
    SessionRecord,
    Template,
)
from session_tracker.store.certificates import read_standing
from session_tracker.store.schema import consents, enrolments, learners, sessions, templates
from session_tracker.store.tables_people import people, refused_templates, registrations
from verifier.errors import NotFound


async def read_learner(connection: AsyncConnection, learner_id: str) -> Learner:
    """Give a learner. Raises NotFound."""
    query = select(learners).where(learners.c.id == learner_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"There is no learner {learner_id!r}.", remedy="Register with POST /v1/learners."
        )
    return to_learner(row)


def to_learner(row: Any) -> Learner:
    """Turn a row of ``learners`` into a value."""
    values = {name: row[name] for name in Learner.__slots__}
    return Learner(**{**values, "track": Training(row["track"])})


async def read_template(
    connection: AsyncConnection, learner_id: str, version: int | None = None
) -> Template | None:
    """Give a version of the learner's template, or the newest, as stored."""
    query = select(templates).where(templates.c.learner_id == learner_id)
    if version is not None:
        query = query.where(templates.c.version == version)
    newest = query.order_by(templates.c.version.desc()).limit(1)
    row = (await connection.execute(newest)).mappings().one_or_none()
    if row is None:
        return None
    return Template(**{**row, "provenance": Provenance(row["provenance"])})


def unconfirmed(provenances: Collection[Provenance]) -> ColumnElement[bool]:
    """Make the condition that a face of a learner is of these and waits for a confirmation.

    As `read_unconfirmed` names them; for queries over ``learners``.
    """
    return exists().where(templates.c.learner_id == learners.c.id, _waits(provenances))


async def read_unconfirmed(
    connection: AsyncConnection, learner_id: str, provenances: Collection[Provenance]
) -> list[int]:
    """Give the versions of a learner's faces that wait for a confirmation, the oldest first.

    Those of `provenances` that nobody confirmed or refused: the newest one while it is stored, and
    every one that a session was opened with, replaced or erased since, too: hours under each wait
    for its own confirmation.
    """
    query = select(templates.c.version).where(
        templates.c.learner_id == learner_id, _waits(provenances)
    )
    return list(await connection.scalars(query.order_by(templates.c.version)))


def _waits(provenances: Collection[Provenance]) -> ColumnElement[bool]:
    newer = templates.alias("newer")
    newest = ~exists().where(
        newer.c.learner_id == templates.c.learner_id, newer.c.version > templates.c.version
    )
    studied = exists().where(
        sessions.c.learner_id == templates.c.learner_id,
        sessions.c.template_version == templates.c.version,
    )
    refused = exists().where(
        refused_templates.c.learner_id == templates.c.learner_id,
        refused_templates.c.version == templates.c.version,
    )
    return and_(
        templates.c.confirmed_ms.is_(None),
        templates.c.provenance.in_([str(one) for one in provenances]),
        ~refused,
        or_(and_(templates.c.blob.is_not(None), newest), studied),
    )


async def has_face(connection: AsyncConnection, learner_id: str) -> bool:
    """Tell whether a face of the learner is enrolled and not erased."""
    query = select(templates.c.version).where(
        templates.c.learner_id == learner_id, templates.c.blob.is_not(None)
    )
    return await connection.scalar(query.limit(1)) is not None


async def read_colleagues(
    connection: AsyncConnection, learner: Learner, *, limit: int
) -> Sequence[tuple[str, bytes]]:
    """Give the newest stored template of everybody else of the business: (learner id, blob)."""
    newest = (
        select(templates.c.learner_id, func.max(templates.c.version).label("version"))
        .group_by(templates.c.learner_id)
        .subquery()
    )
    query = (
        select(templates.c.learner_id, templates.c.blob)
        .join(
            newest,
            (newest.c.learner_id == templates.c.learner_id)
            & (newest.c.version == templates.c.version),
        )
        .join(learners, learners.c.id == templates.c.learner_id)
        .where(
            learners.c.business_ref == learner.business_ref,
            learners.c.id != learner.id,
            templates.c.blob.is_not(None),
        )
        .order_by(templates.c.enrolled_ms.desc())
        .limit(limit)
    )
    return [(row.learner_id, bytes(row.blob)) for row in await connection.execute(query)]


async def read_consent(connection: AsyncConnection, learner_id: str, consent_id: str) -> Consent:
    """Give a consent of the learner. Raises NotFound."""
    query = select(consents).where(consents.c.id == consent_id, consents.c.learner_id == learner_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"The learner gave no consent {consent_id!r}.",
            remedy="Record one with POST /v1/learners/{id}/consents before the first frame.",
        )
    return Consent(**row)


async def read_course(
    connection: AsyncConnection, learner_id: str, programme: str
) -> Course | None:
    """Give the learner's present course of a programme, or None where none was begun."""
    query = (
        select(enrolments)
        .where(enrolments.c.learner_id == learner_id, enrolments.c.programme == programme)
        .order_by(enrolments.c.course.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _to_course(row)


async def read_courses(connection: AsyncConnection, learner_id: str) -> list[Course]:
    """Give every course that the learner began, earlier years' too."""
    query = (
        select(enrolments)
        .where(enrolments.c.learner_id == learner_id)
        .order_by(enrolments.c.programme, enrolments.c.course)
    )
    return [_to_course(row) for row in (await connection.execute(query)).mappings()]


def _to_course(row: Any) -> Course:
    values = {name: row[name] for name in Course.__slots__}
    return Course(**{**values, "track": Training(row["track"])})


async def certified_ms(connection: AsyncConnection, course: Course) -> int | None:
    """Tell since when the course has been certified, UTC ms, also where it was revoked for good.

    One that was issued anew for its name counts from the first. None where one may still be issued.
    """
    standing = await read_standing(connection, course)
    return None if standing is None else standing.since_ms


async def read_registration(connection: AsyncConnection, learner_id: str) -> Registration | None:
    """Give what staff said to the learner's registration; None where nothing is recorded."""
    query = select(registrations).where(registrations.c.learner_id == learner_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else to_registration(row)


def to_registration(row: Any) -> Registration:
    """Turn a row of ``registrations`` into a value."""
    return Registration(
        learner_id=row["learner_id"],
        state=RegistrationState(row["state"]),
        reasons=tuple(json.loads(row["reasons"])),
        template_version=row["template_version"],
        changed_ms=row["changed_ms"],
        changed_by=row["changed_by"],
    )


async def put_registration(connection: AsyncConnection, registration: Registration) -> None:
    """Store where a registration stands now."""
    values = {
        "state": str(registration.state),
        "reasons": json.dumps(registration.reasons, ensure_ascii=False),
        "template_version": registration.template_version,
        "changed_ms": registration.changed_ms,
        "changed_by": registration.changed_by,
    }
    mine = registrations.c.learner_id == registration.learner_id
    changed = await connection.execute(update(registrations).where(mine).values(**values))
    if not changed.rowcount:
        await connection.execute(
            insert(registrations), {"learner_id": registration.learner_id, **values}
        )


async def read_refused(connection: AsyncConnection, learner_id: str) -> frozenset[int]:
    """Name the versions of the learner's templates that staff refused."""
    query = select(refused_templates.c.version).where(refused_templates.c.learner_id == learner_id)
    return frozenset((await connection.scalars(query)).all())


async def count_faces(connection: AsyncConnection) -> int:
    """Count the people of whom a face is stored, each once."""
    query = select(func.count(func.distinct(templates.c.learner_id))).where(
        templates.c.blob.is_not(None)
    )
    return int(await connection.scalar(query) or 0)


async def any_sealed(connection: AsyncConnection) -> bool:
    """Tell whether anything is stored that only a learner's key opens."""
    newest = select(templates.c.blob).where(templates.c.blob.is_not(None))
    blob = await connection.scalar(newest.order_by(templates.c.enrolled_ms.desc()).limit(1))
    if blob is not None and is_sealed(bytes(blob)):
        return True
    query = select(people.c.name).where(people.c.name.is_not(None)).limit(1)
    return await connection.scalar(query) is not None


async def erasures(connection: AsyncConnection) -> dict[Realm, dict[str, int]]:
    """Give, by realm and learner, when what lay under the key was erased last (UTC ms)."""
    found = {}
    for realm, table in ((Realm.FACE, templates), (Realm.PERSON, people)):
        query = select(table.c.learner_id, func.max(table.c.erased_ms).label("at"))
        query = query.where(table.c.erased_ms.is_not(None)).group_by(table.c.learner_id)
        found[realm] = {row.learner_id: int(row.at) for row in await connection.execute(query)}
    return found


async def erased_ms(connection: AsyncConnection, learner_id: str) -> int | None:
    """Tell when templates of the learner were erased last (UTC ms); None: never."""
    query = select(func.max(templates.c.erased_ms)).where(templates.c.learner_id == learner_id)
    found = await connection.scalar(query)
    return None if found is None else int(found)


async def read_course_of(connection: AsyncConnection, record: SessionRecord) -> Course:
    """Give the course that a session belongs to."""
    query = select(enrolments).where(
        enrolments.c.learner_id == record.learner_id,
        enrolments.c.programme == record.programme,
        enrolments.c.course == record.course,
    )
    return _to_course((await connection.execute(query)).mappings().one())
