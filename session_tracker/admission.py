"""Who may study what: admission to a session."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from session_tracker.course import PresentCourse, present_course
from session_tracker.enrolment import (
    CONSENT_PURPOSE,
    SUPERVISION_PURPOSE,
    Registry,
    no_template,
)
from session_tracker.policy import Policy
from session_tracker.records import (
    Consent,
    Course,
    Learner,
    Registration,
    RegistrationState,
    Template,
)
from session_tracker.refusals import (
    ConsentWithdrawn,
    EnrolmentNotAccepted,
    EnrolmentRefused,
    FaceChanged,
    FaceWaits,
    IndustryOfflineOnly,
    OtherCategory,
)
from session_tracker.store import learners as rows
from session_tracker.store.database import Database
from session_tracker.store.writer import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Everything that a session needs, checked."""

    learner: Learner
    template: Template
    blob: bytes
    consent: Consent
    course: Course
    policy: Policy
    begins: bool
    """Whether the course begins with this session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedAdmission:
    """Everything that a session without a face needs, checked."""

    learner: Learner
    consent: Consent
    """That the learner chose to be supervised instead."""
    course: Course
    policy: Policy
    begins: bool


class Admissions:
    """Checks everything that a session needs before it begins."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    async def admit(
        self, *, learner_id: str, consent_id: str, programme: str, now_ms: int
    ) -> Admission:
        """Check that this learner may study this programme online, under this consent.

        Raises NotFound for what is unknown and Refused, with the reason, for what is not allowed.
        """
        async with self._database.read() as connection:
            learner = await rows.read_learner(connection, learner_id)
            consent = await rows.read_consent(connection, learner_id, consent_id)
            template = await rows.read_template(connection, learner_id)
            recorded = await rows.read_registration(connection, learner_id)
            present = await self._present(connection, learner, programme, now_ms)
        if template is not None:
            template = await self._registry.opened(template)
        policy = present.policy
        _check_rules(learner, policy)
        _check_consent(consent)
        _check_registration(learner, recorded, policy)
        _check_approved_face(learner, recorded, policy, template)
        present.require_open()
        if template is None or template.blob is None:
            raise no_template(learner_id)
        if template.provenance not in policy.enrolment.accepted:
            raise EnrolmentNotAccepted(
                f"This programme does not accept an enrolment by {template.provenance}.",
                remedy=f"Enrol by one of: {', '.join(policy.enrolment.accepted)}.",
            )
        return Admission(
            learner=learner,
            template=template,
            blob=template.blob,
            consent=consent,
            course=present.course,
            policy=policy,
            begins=present.begins,
        )

    async def admit_supervised(
        self, *, learner_id: str, programme: str, now_ms: int
    ) -> SupervisedAdmission:
        """Check that this learner may study under supervision: no face, and no consent to one.

        The same rules but those about the face. That the learner chose this route is recorded.
        Raises NotFound, Refused, Conflict.
        """
        async with self._database.read() as connection:
            learner = await rows.read_learner(connection, learner_id)
            recorded = await rows.read_registration(connection, learner_id)
            present = await self._present(connection, learner, programme, now_ms)
        policy = present.policy
        _check_rules(learner, policy)
        _check_registration(learner, recorded, policy)
        present.require_open()
        chosen = await self._registry.give_consent(
            learner_id, text_version="-", purpose=SUPERVISION_PURPOSE
        )
        return SupervisedAdmission(
            learner=learner,
            consent=chosen,
            course=present.course,
            policy=policy,
            begins=present.begins,
        )

    async def _present(
        self, connection: AsyncConnection, learner: Learner, programme: str, now_ms: int
    ) -> PresentCourse:
        programmes = self._registry.programmes
        return await present_course(connection, programmes, learner, programme, now_ms)


async def require_still(tx: Transaction, admission: Admission) -> None:
    """Check again, in the transaction that opens the session, what may have changed meanwhile.

    Raises NotFound, Refused where consent or registration hold no more, FaceNeeded, and Conflict
    where another face was enrolled.
    """
    connection, learner_id = tx.connection, admission.learner.id
    _check_consent(await rows.read_consent(connection, learner_id, admission.consent.id))
    recorded = await rows.read_registration(connection, learner_id)
    _check_registration(admission.learner, recorded, admission.policy)
    template = await rows.read_template(connection, learner_id)
    _check_approved_face(admission.learner, recorded, admission.policy, template)
    if template is None or template.blob is None:
        raise no_template(learner_id)
    if template.version != admission.template.version:
        raise FaceChanged(remedy="Open it again.")


async def require_still_supervised(tx: Transaction, admission: SupervisedAdmission) -> None:
    """Check the same for a session without a face. Raises NotFound, Refused."""
    connection, learner_id = tx.connection, admission.learner.id
    chosen = await rows.read_consent(connection, learner_id, admission.consent.id)
    if chosen.withdrawn_ms is not None:
        raise ConsentWithdrawn(
            "The choice to be supervised was withdrawn.", remedy="Open it again."
        )
    recorded = await rows.read_registration(connection, learner_id)
    _check_registration(admission.learner, recorded, admission.policy)


def _check_consent(consent: Consent) -> None:
    if consent.withdrawn_ms is not None or consent.purpose != CONSENT_PURPOSE:
        raise ConsentWithdrawn(
            remedy="Record a new consent, or use the supervised route without a face.",
        )


def _check_rules(learner: Learner, policy: Policy) -> None:
    if learner.industry in policy.admission.refused_industries:
        raise IndustryOfflineOnly(
            f"Learners of the industry {learner.industry} train offline only.",
            remedy="Register with a training institution for the offline course.",
        )
    if learner.category not in policy.admission.categories:
        raise OtherCategory(
            f"The programme is not for the category {learner.category}.",
            remedy=f"It is for: {', '.join(policy.admission.categories)}.",
        )


def _check_registration(learner: Learner, recorded: Registration | None, policy: Policy) -> None:
    if recorded is not None and recorded.state is RegistrationState.REFUSED:
        raise EnrolmentRefused(
            f"The registration was refused: {'; '.join(recorded.reasons)}.",
            remedy="Correct what was named and enrol again; staff will look at it anew.",
        )
    approved = recorded is not None and recorded.state is RegistrationState.APPROVED
    if learner.track in policy.enrolment.approval_tracks and not approved:
        raise FaceWaits(remedy="Wait until staff have approved the registration.")


def _check_approved_face(
    learner: Learner, recorded: Registration | None, policy: Policy, template: Template | None
) -> None:
    """See to it that staff approved this very face, where they have to approve one."""
    if learner.track not in policy.enrolment.approval_tracks or template is None:
        return
    if recorded is None or recorded.template_version != template.version:
        raise FaceWaits(remedy="Wait until staff have approved the face that is enrolled now.")
