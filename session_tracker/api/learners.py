"""Routes of learners, templates, consents and programmes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from session_tracker.api.bodies import (
    Confirmation,
    ConsentBody,
    CourseBody,
    ErasedBody,
    LearnerBody,
    NewConsent,
    NewLearner,
    NewTemplate,
    ProgrammeBody,
    SessionCreditBody,
    TemplateBody,
)
from session_tracker.api.watched import Purpose, look
from session_tracker.erasure import Erased
from session_tracker.policy import Policy, Training
from session_tracker.records import Consent, Learner, Template
from session_tracker.service import SessionService
from session_tracker.settlement import CourseCredit
from verifier.edge import actor_of

LearnerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ConsentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Programme = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


def learners_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/learners`` and ``/v1/programmes``."""
    router = APIRouter(tags=["learners"])
    _add_learner_routes(router, service)
    _add_consent_routes(router, service)
    _add_programme_routes(router, service)
    return router


def _add_learner_routes(router: APIRouter, service: SessionService) -> None:
    registry = service.registry

    @router.post("/v1/learners", status_code=201, summary="Register a learner")
    async def register(body: NewLearner) -> LearnerBody:
        """Register a learner under a new pseudonym."""
        return _learner(await registry.add_learner(**body.model_dump()))

    @router.get("/v1/learners/{learner_id}", summary="Read a learner")
    async def read(request: Request, learner_id: LearnerId, purpose: Purpose = "") -> LearnerBody:
        """Give what is known of a learner. Recorded."""
        found = await registry.learner(learner_id)
        await look(service, request, learner_id, purpose)
        return _learner(found)

    @router.put("/v1/learners/{learner_id}/template", summary="Enrol a face")
    async def enrol(learner_id: LearnerId, body: NewTemplate) -> TemplateBody:
        """Take the verifier's template; it counts for sessions opened from now on."""
        made = await registry.put_template(learner_id, body.template, body.provenance)
        return template_body(made)

    @router.post("/v1/learners/{learner_id}/template/confirm", summary="Confirm an enrolment")
    async def confirm(request: Request, learner_id: LearnerId, body: Confirmation) -> TemplateBody:
        """Turn provisional credit into credit: staff, or a match with the ID photo, said so.

        Of the newest face, or of the one named, also where it was replaced or erased since: hours
        under each wait for their own. 409 where it was refused.
        """
        actor = actor_of(request).name
        confirmed = await service.confirm_template(
            learner_id, reason=body.reason, actor=actor, version=body.template_version
        )
        return template_body(confirmed)

    @router.delete("/v1/learners/{learner_id}/biometrics", summary="Erase biometrics")
    async def erase(request: Request, learner_id: LearnerId) -> ErasedBody:
        """Destroy the key of the learner's face, and all templates and pictures; the hours stay.

        The answer proves it: an entry of the ledger, with its way to a signed head. Asked again
        it gives the same proof.
        """
        actor = actor_of(request).name
        return erased_body(await service.erase_biometrics(learner_id, actor=actor))

    @router.get("/v1/learners/{learner_id}/credit", summary="Read credit")
    async def credit(
        request: Request, learner_id: LearnerId, programme: Programme, purpose: Purpose = ""
    ) -> CourseBody:
        """Derive where the learner stands in a programme. Recorded."""
        state = await service.course_credit(learner_id, programme)
        await look(service, request, learner_id, purpose)
        return course_body(state)


def _add_consent_routes(router: APIRouter, service: SessionService) -> None:
    @router.post("/v1/learners/{learner_id}/consents", status_code=201, summary="Record consent")
    async def consent(learner_id: LearnerId, body: NewConsent) -> ConsentBody:
        """Record the separate consent to face verification, before the first frame."""
        made = await service.registry.give_consent(learner_id, text_version=body.text_version)
        return _consent(made)

    @router.post(
        "/v1/learners/{learner_id}/consents/{consent_id}/withdraw", summary="Withdraw consent"
    )
    async def withdraw(learner_id: LearnerId, consent_id: ConsentId) -> ConsentBody:
        """End the consent and every session that rests on it."""
        return _consent(await service.withdraw_consent(learner_id, consent_id))


def _add_programme_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/programmes", summary="List programmes")
    async def programmes() -> list[ProgrammeBody]:
        """Give the programmes with the rules in force."""
        found = service.registry.programmes.in_force()
        return [_programme(policy) for _, policy in sorted(found.items())]


def course_body(state: CourseCredit) -> CourseBody:
    """Shape a course."""
    settled = {record.id for record in state.records if record.settled_ms is not None}
    faces = {record.id: record.template_version for record in state.records}
    sessions = []
    for session in state.credit.sessions:
        credited_s, void_s = session.in_seconds()
        sessions.append(
            SessionCreditBody(
                session_id=session.session_id,
                start_ms=session.start,
                wall_s=session.wall_ms // 1_000,
                verified_s=session.verified_ms // 1_000,
                credited_s=credited_s,
                void_s={str(reason): seconds for reason, seconds in void_s.items()},
                provisional=session.provisional,
                template_version=faces[session.session_id],
                closed=session.closed,
                settled=session.session_id in settled,
            )
        )
    return CourseBody(
        learner_id=state.course.learner_id,
        programme=state.course.programme,
        policy_version=state.course.policy_version,
        track=state.course.track,
        credited_s=state.credit.credited_s,
        provisional_s=state.credit.provisional_s,
        pending_s=state.credit.pending_ms // 1_000,
        wall_s=sum(session.wall_ms for session in state.credit.sessions) // 1_000,
        target_s=state.target_s,
        class_hours=state.credit.credited_s // state.policy.class_hour.seconds,
        days={day.isoformat(): seconds for day, seconds in state.credit.days.items()},
        sessions=sessions,
        certificate=state.certificate_number,
    )


def _learner(learner: Learner) -> LearnerBody:
    return LearnerBody(
        learner_id=learner.id,
        category=learner.category,
        track=learner.track,
        industry=learner.industry,
        business_ref=learner.business_ref,
        created_ms=learner.created_ms,
    )


def erased_body(erased: Erased) -> ErasedBody:
    """Shape an erasure with its proof."""
    return ErasedBody(
        learner_id=erased.learner_id,
        templates_erased=erased.templates,
        pictures_erased=erased.pictures,
        proof=erased.proof,
    )


def template_body(template: Template) -> TemplateBody:
    """Shape what is known of an enrolment."""
    return TemplateBody(
        learner_id=template.learner_id,
        version=template.version,
        provenance=template.provenance,
        enrolled_ms=template.enrolled_ms,
        confirmed_ms=template.confirmed_ms,
        erased_ms=template.erased_ms,
    )


def _consent(consent: Consent) -> ConsentBody:
    return ConsentBody(
        consent_id=consent.id,
        learner_id=consent.learner_id,
        purpose="face_verification",
        text_version=consent.text_version,
        given_ms=consent.given_ms,
        withdrawn_ms=consent.withdrawn_ms,
    )


def _programme(policy: Policy) -> ProgrammeBody:
    return ProgrammeBody(
        programme=policy.name,
        version=policy.version,
        title=policy.title,
        digest=policy.digest,
        class_hour_s=policy.class_hour.seconds,
        target_s={str(track): policy.target_s(track) for track in Training},
        policy=policy.model_dump(mode="json"),
    )
