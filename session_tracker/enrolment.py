"""Learners, their templates and their consents."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

from sqlalchemy import insert, select, update

from session_tracker import ledger
from session_tracker.course import PresentCourse, present_course
from session_tracker.learner_keys import LearnerKeys, Realm, is_sealed
from session_tracker.ledger import Context
from session_tracker.people import People
from session_tracker.policy import Policy, Provenance, Training
from session_tracker.programmes import Programmes
from session_tracker.records import (
    Consent,
    Course,
    Learner,
    Registration,
    RegistrationState,
    Template,
)
from session_tracker.refusals import FaceNeeded
from session_tracker.reviews import Reviews
from session_tracker.staff_words import IN_WORDS, StaffWords
from session_tracker.store import learners as rows
from session_tracker.store.database import Database
from session_tracker.store.reviews import read_held_templates
from session_tracker.store.schema import consents, learners, templates
from session_tracker.store.writer import NewEntry, Transaction
from verifier.clock import Clock
from verifier.errors import ConfigurationError, Conflict
from verifier.types import Comparison, SubjectTemplate, TemplateComparer

CONSENT_PURPOSE: Final = "face_verification"
SUPERVISION_PURPOSE: Final = "supervised_session"
"""Recorded where a learner studies before staff instead: the route without a face."""
_TEMPLATE: Final = "template"
_MOST_COLLEAGUES: Final = 1_000
"""Of one business an enrolment is compared with so many, those enrolled last."""
_log = logging.getLogger("benren.tracker")
_NOTHING = Context(policy="", models={}, profile="")


class Registry:
    """Reads and writes learners, templates and consents."""

    def __init__(
        self,
        database: Database,
        keys: LearnerKeys,
        clock: Clock,
        *,
        reviews: Reviews,
        comparer: TemplateComparer | None = None,
    ) -> None:
        """Without a `comparer` enrolments are not compared within the business."""
        self._database = database
        self._keys = keys
        self._clock = clock
        self._reviews = reviews
        self._comparer = comparer
        self._enrolling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.people = People(database, keys, clock)
        self.staff_words = StaffWords(database, keys)
        self.programmes = Programmes(database, clock)

    async def require_keys(self) -> None:
        """See to it that the store of the learners' keys belongs to this database.

        Keys that a restored backup brought back from before their erasure are destroyed again.
        Raises ConfigurationError where the database holds sealed data and no key was ever made
        there: going on would make new keys and lose what the old ones open.
        """
        async with self._database.read() as connection:
            sealed = await rows.any_sealed(connection)
            erased = await rows.erasures(connection)
        for realm, when in erased.items():
            if count := await self._keys.destroy_older(realm, when):
                _log.warning("destroyed %d keys again that a backup had brought back", count)
        if sealed and await self._keys.is_virgin():
            raise ConfigurationError(
                f"The learners' keys are missing from {self._keys.place}.",
                remedy="Restore that store from its own backup, or name its place with "
                "learner_keys_url; without it names and faces stay closed.",
            )

    async def add_learner(
        self, *, category: str, track: Training, industry: str, business_ref: str
    ) -> Learner:
        """Register a learner under a new pseudonym."""
        learner = Learner(
            id=f"lrn_{secrets.token_hex(10)}",
            category=category,
            track=track,
            industry=industry,
            business_ref=business_ref,
            created_ms=self._clock.stamp().utc_ms,
        )
        values = {name: getattr(learner, name) for name in Learner.__slots__}
        data = {"category": category, "track": str(track), "industry": industry}

        async def job(tx: Transaction) -> None:
            await tx.connection.execute(insert(learners), values)
            await tx.append([_entry(learner.id, "registered", "learner", learner.created_ms, data)])

        await self._database.write(job)
        return learner

    async def learner(self, learner_id: str) -> Learner:
        """Give a learner. Raises NotFound."""
        async with self._database.read() as connection:
            return await rows.read_learner(connection, learner_id)

    async def newest_template(self, learner_id: str) -> Template | None:
        """Give the learner's newest template as stored (sealed); None where none was enrolled."""
        async with self._database.read() as connection:
            return await rows.read_template(connection, learner_id)

    async def template(self, learner_id: str) -> Template:
        """Give the learner's newest template. Raises NotFound."""
        async with self._database.read() as connection:
            await rows.read_learner(connection, learner_id)
            found = await rows.read_template(connection, learner_id)
        if found is None:
            raise no_template(learner_id)
        return await self.opened(found)

    async def opened(self, template: Template) -> Template:
        """Take the learner's own seal off a template; without the key it is gone."""
        if template.blob is None or not is_sealed(template.blob):
            return template
        key = await self._keys.get(template.learner_id, Realm.FACE)
        blob = None if key is None else key.open(_TEMPLATE, template.blob)
        return replace(template, blob=blob)

    async def put_template(self, learner_id: str, blob: bytes, provenance: Provenance) -> Template:
        """Enrol a face; it counts for sessions opened from now on.

        It is compared with the faces of the same business first: whoever looks alike is a question
        for a review, and until that is decided what the face vouches for is provisional. After a
        refusal, and wherever staff have to approve, the registration waits for them again: what
        they approved was another face. Raises NotFound, TemplateError, Conflict where the face is
        erased meanwhile.
        """
        async with self._database.read() as connection:
            learner = await rows.read_learner(connection, learner_id)
            erased_ms = await rows.erased_ms(connection, learner_id)
        key = await self._keys.ensure(learner_id, Realm.FACE, erased_ms=erased_ms)
        sealed = key.seal(_TEMPLATE, blob)
        # Two colleagues enrolling at once shall see each other.
        lock = self._enrolling.setdefault(learner.business_ref, asyncio.Lock())
        async with lock:
            compared = await self._compare(learner, blob)

            async def job(tx: Transaction) -> Template:
                if await rows.erased_ms(tx.connection, learner_id) != erased_ms:
                    raise Conflict(  # the key that seals it is destroyed, or is about to be
                        "The learner's face was erased while this one was enrolled.",
                        remedy="Enrol again, if the learner still wants to.",
                    )
                return await self._put(tx, learner, sealed, provenance, compared)

            return await self._database.write(job)

    async def _put(
        self,
        tx: Transaction,
        learner: Learner,
        sealed: bytes,
        provenance: Provenance,
        compared: Comparison | None,
    ) -> Template:
        now = self._clock.stamp().utc_ms
        last = await rows.read_template(tx.connection, learner.id)
        made = Template(
            learner_id=learner.id,
            version=1 if last is None else last.version + 1,
            blob=sealed,
            provenance=provenance,
            enrolled_ms=now,
            confirmed_ms=None,
            erased_ms=None,
        )
        values = {name: getattr(made, name) for name in Template.__slots__}
        await tx.connection.execute(insert(templates), values)
        data: dict[str, object] = {"version": made.version, "provenance": str(provenance)}
        if compared is not None:
            data |= {
                "compared": compared.compared,
                "skipped": len(compared.skipped),
                "alike": [one.subject for one in compared.alike],
            }
        key = f"template:{made.version}"
        await tx.append([_entry(learner.id, key, "template_enrolled", now, data)])
        for one in compared.alike if compared is not None else ():
            await self._reviews.open_for_enrolment(
                tx,
                learner_id=learner.id,
                other_learner_id=one.subject,
                template_version=made.version,
                policy=self._comparing()[0],
                context=_NOTHING,
            )
        standing = await rows.read_registration(tx.connection, learner.id)
        if standing is not None and (
            standing.state is RegistrationState.REFUSED or self._waits(learner)
        ):
            again = replace(
                standing, state=RegistrationState.WAITING, reasons=(), changed_ms=now, changed_by=""
            )
            await rows.put_registration(tx.connection, again)
        return made

    async def _compare(self, learner: Learner, blob: bytes) -> Comparison | None:
        """Compare a face with those of the same business, where a programme asks for it."""
        if self._comparer is None or not self._comparing():
            return None
        async with self._database.read() as connection:
            stored = await rows.read_colleagues(connection, learner, limit=_MOST_COLLEAGUES)
        others = []
        for subject, sealed in stored:
            key = await self._keys.get(subject, Realm.FACE)
            if key is not None and is_sealed(sealed):
                template = key.open(_TEMPLATE, sealed)
                others.append(SubjectTemplate(subject=subject, template=template))
        if not others:
            return Comparison(alike=(), compared=0, skipped=())
        probe = SubjectTemplate(subject=learner.id, template=blob)
        return await self._comparer.compare_templates(probe, others)

    def _comparing(self) -> list[Policy]:
        policies = self.programmes.in_force().values()
        return [policy for policy in policies if policy.enrolment.compare_within_business]

    def standing(self, learner: Learner, recorded: Registration | None) -> Registration:
        """Give where a registration stands, also where nobody has said anything yet."""
        if recorded is not None:
            return recorded
        waits = self._waits(learner)
        return Registration(
            learner_id=learner.id,
            state=RegistrationState.WAITING if waits else RegistrationState.APPROVED,
            reasons=(),
            template_version=0,
            changed_ms=learner.created_ms,
            changed_by="",
        )

    def _waits(self, learner: Learner) -> bool:
        """Tell whether learners of this track wait for staff."""
        policies = self.programmes.in_force().values()
        return any(learner.track in policy.enrolment.approval_tracks for policy in policies)

    async def registration(self, learner_id: str) -> Registration:
        """Give where a learner's registration stands. Raises NotFound."""
        async with self._database.read() as connection:
            learner = await rows.read_learner(connection, learner_id)
            recorded = await rows.read_registration(connection, learner_id)
        return self.standing(learner, recorded)

    async def faces_stored(self) -> int:
        """Count the people of whom a face is stored: from 100 000 on a filing is due."""
        async with self._database.read() as connection:
            return await rows.count_faces(connection)

    async def faces_waiting(self, learner_id: str) -> list[int]:
        """Give the versions of the faces that somebody has to confirm, the oldest first.

        Hours under each are provisional until then, also where it was replaced or erased since.
        """
        provisional = self.programmes.provisional()
        async with self._database.read() as connection:
            return await rows.read_unconfirmed(connection, learner_id, provisional)

    async def is_held(self, template: Template) -> bool:
        """Tell whether a review holds this face: credit under it is provisional."""
        async with self._database.read() as connection:
            return template.version in await read_held_templates(connection, template.learner_id)

    async def confirm_template(
        self, learner_id: str, *, reason: str, actor: str = "", version: int | None = None
    ) -> Template:
        """Note that staff, or a match with the ID photo, confirmed a template; twice is once.

        Without a `version` it is the newest. An older one, or one that is erased, may be named:
        what was earned under it waits for nothing else. Raises NotFound, Conflict where staff
        refused it.
        """
        now = self._clock.stamp().utc_ms
        sealed = await self.staff_words.seal(learner_id, reason)

        async def job(tx: Transaction) -> Template:
            found = await rows.read_template(tx.connection, learner_id, version)
            if found is None:
                raise no_template(learner_id, version)
            if found.version in await rows.read_refused(tx.connection, learner_id):
                raise Conflict(
                    f"The enrolled face (version {found.version}) was refused.",
                    remedy="Have the learner enrol again; then confirm that face.",
                )
            if found.confirmed_ms is not None:
                return found
            this = templates.c.learner_id == learner_id, templates.c.version == found.version
            await tx.connection.execute(update(templates).where(*this).values(confirmed_ms=now))
            data = {"version": found.version, "actor": actor, "reason_sha256": sealed.sha256}
            key = f"template_confirmed:{found.version}"
            await tx.append(
                [_entry(learner_id, key, "template_confirmed", now, data, reason=IN_WORDS)]
            )
            await sealed.keep(tx, learner_id, key)
            return replace(found, confirmed_ms=now)

        return await self._database.write(job)

    async def consent_in_force(self, learner_id: str) -> Consent | None:
        """Give the learner's newest consent to face verification that was not withdrawn."""
        query = (
            select(consents)
            .where(
                consents.c.learner_id == learner_id,
                consents.c.purpose == CONSENT_PURPOSE,
                consents.c.withdrawn_ms.is_(None),
            )
            .order_by(consents.c.given_ms.desc(), consents.c.id)
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Consent(**row)

    async def give_consent(
        self,
        learner_id: str,
        *,
        text_version: str,
        seen: Mapping[str, str] | None = None,
        purpose: str = CONSENT_PURPOSE,
    ) -> Consent:
        """Record the separate consent to face verification; `seen` says which text in the ledger.

        Raises NotFound.
        """
        made = Consent(
            id=f"cns_{secrets.token_hex(10)}",
            learner_id=learner_id,
            purpose=purpose,
            text_version=text_version,
            given_ms=self._clock.stamp().utc_ms,
            withdrawn_ms=None,
        )
        values = {name: getattr(made, name) for name in Consent.__slots__}
        data = {"consent": made.id, "purpose": made.purpose, "text_version": text_version}
        data |= seen or {}

        async def job(tx: Transaction) -> None:
            await rows.read_learner(tx.connection, learner_id)
            await tx.connection.execute(insert(consents), values)
            key = f"consent:{made.id}"
            await tx.append([_entry(learner_id, key, "consent_given", made.given_ms, data)])

        await self._database.write(job)
        return made

    async def withdraw_consent(self, learner_id: str, consent_id: str) -> Consent:
        """Record that the consent no longer holds; withdrawing twice is fine. Raises NotFound."""
        now = self._clock.stamp().utc_ms

        async def job(tx: Transaction) -> None:
            found = await rows.read_consent(tx.connection, learner_id, consent_id)
            if found.withdrawn_ms is not None:
                return
            await tx.connection.execute(
                update(consents).where(consents.c.id == consent_id).values(withdrawn_ms=now)
            )
            key = f"consent_withdrawn:{consent_id}"
            data = {"consent": consent_id}
            await tx.append([_entry(learner_id, key, "consent_withdrawn", now, data)])

        await self._database.write(job)
        async with self._database.read() as connection:
            return await rows.read_consent(connection, learner_id, consent_id)

    async def course(self, learner_id: str, programme: str) -> Course | None:
        """Give the learner's present course of a programme, or None where none was begun."""
        async with self._database.read() as connection:
            return await rows.read_course(connection, learner_id, programme)

    async def present_course(self, learner: Learner, programme: str) -> PresentCourse:
        """Give the course that a session of now would belong to. Raises NotFound."""
        now = self._clock.stamp().utc_ms
        async with self._database.read() as connection:
            return await present_course(connection, self.programmes, learner, programme, now)

    async def courses(self, learner_id: str) -> list[Course]:
        """Give the learner's courses of the programmes in force, earlier years' too."""
        async with self._database.read() as connection:
            found = await rows.read_courses(connection, learner_id)
        return [course for course in found if course.programme in self.programmes.in_force()]


def _entry(
    subject: str, key: str, kind: str, at_ms: int, data: Mapping[str, object], *, reason: str = ""
) -> NewEntry:
    return ledger.entry(
        subject=subject,
        key=key,
        kind=kind,
        at_ms=at_ms,
        context=_NOTHING,
        reason=reason,
        data=data,
    )


def require_newest(looked_at: int | None, newest: int) -> None:
    """Raise Conflict where somebody decides about another face than the one enrolled by now."""
    if looked_at is not None and looked_at != newest:
        raise Conflict(
            f"Another face was enrolled since: version {newest}, not {looked_at}.",
            remedy="Look at that one, then decide.",
        )


def no_template(learner_id: str, version: int | None = None) -> FaceNeeded:
    """Say that the learner has no face enrolled, or not this one."""
    which = "No face" if version is None else f"No face of version {version}"
    return FaceNeeded(
        f"{which} is enrolled for {learner_id}.",
        remedy="Enrol one with PUT /v1/learners/{id}/template.",
    )
