"""Routes of staff: people, registrations, offline hours, the trail."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request

from session_tracker.api.bodies import Because, ErasedBody
from session_tracker.api.learners import LearnerId, erased_body, template_body
from session_tracker.api.staff_bodies import (
    Approval,
    ChallengeRouteBody,
    FaceRefusal,
    FacesBody,
    FindPerson,
    LookBody,
    NewErasure,
    NewOfflineHours,
    NewPerson,
    OfflineHoursBody,
    OfflineListBody,
    PersonBody,
    Refusal,
    RegistrationBody,
    StaffLearnerBody,
    StaffLearnersBody,
    StaffPersonBody,
    StaffWordBody,
    StaffWordsBody,
    TrailBody,
)
from session_tracker.api.watched import NOBODY, Purpose, look
from session_tracker.housekeeping import FILING_DUE, FILING_PREPARE
from session_tracker.office import OfflineHours
from session_tracker.people import Person
from session_tracker.records import Learner, Registration, RegistrationState
from session_tracker.service import SessionService
from verifier.edge import KeyScope, RouteRule, actor_of
from verifier.errors import NotFound

_SMALL: Final = 16 * 1024
_DESK: Final = (KeyScope.STAFF,)
_SEES: Final = (KeyScope.STAFF, KeyScope.INSTITUTION, KeyScope.INSPECTOR)

RULES: Final = (
    RouteRule(
        path="/v1/learners/{learner_id}/person",
        by=(KeyScope.TRACKER, KeyScope.STAFF),
        max_body_bytes=_SMALL,
    ),
    RouteRule(
        path="/v1/learners/{learner_id}/template/confirm",
        by=(KeyScope.TRACKER, KeyScope.STAFF),
        max_body_bytes=_SMALL,
    ),
    RouteRule(path="/v1/staff/trail", by=KeyScope.INSPECTOR, max_body_bytes=_SMALL),
    RouteRule(path="/v1/staff/faces", by=KeyScope.STAFF, readers=_SEES, max_body_bytes=_SMALL),
    RouteRule(
        path="/v1/staff/learners/{learner_id}/offline-hours",
        by=KeyScope.INSTITUTION,
        readers=_SEES,
        max_body_bytes=_SMALL,
    ),
    RouteRule(
        path="/v1/staff/offline-hours/{rest:path}",
        by=(KeyScope.INSTITUTION, KeyScope.STAFF),
        max_body_bytes=_SMALL,
    ),
    RouteRule(
        path="/v1/staff/{rest:path}",
        by=KeyScope.STAFF,
        readers=(KeyScope.INSPECTOR,),
        max_body_bytes=_SMALL,
    ),
)
"""What the edge asks for; what staff read of people is recorded in the trail."""

HoursId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Reference = Annotated[str | None, Query(min_length=1, max_length=128)]
Limit = Annotated[int, Query(ge=1, le=200)]


def staff_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/staff``, and those by which a server records who a learner is."""
    router = APIRouter(tags=["staff"])
    _add_people_routes(router, service)
    _add_registration_routes(router, service)
    _add_offline_routes(router, service)
    _add_route_routes(router, service)
    _add_watch_routes(router, service)
    return router


def _add_people_routes(router: APIRouter, service: SessionService) -> None:
    registry, people = service.registry, service.registry.people

    @router.put("/v1/learners/{learner_id}/person", summary="Record who a learner is")
    async def record(request: Request, learner_id: LearnerId, body: NewPerson) -> PersonBody:
        """Record name and identity number, encrypted; a wrong check digit is refused (422).

        The ledger keeps keyed hashes of them, and who recorded them; after a certificate was
        issued a change needs a `reason` (409).
        """
        person = await people.record(
            learner_id,
            name=body.name,
            identity_number=body.identity_number,
            actor=actor_of(request).name,
            reason=body.reason or "",
        )
        return _person(person)

    @router.post("/v1/staff/learners:find", summary="Find a learner by identity number")
    async def find(request: Request, body: FindPerson, purpose: Purpose = "") -> StaffPersonBody:
        """Give the learner with this identity number; recorded, also where there is none."""
        found = await people.find(body.identity_number)
        await look(service, request, found or NOBODY, purpose)
        if found is None:
            raise NotFound("There is no learner with this identity number.")
        return await _whole(service, found)

    @router.get("/v1/staff/learners", summary="List learners")
    async def listed(  # noqa: PLR0917 - each is a name in the query
        request: Request,
        state: RegistrationState | None = None,
        business_ref: Reference = None,
        face_waits: Annotated[
            bool, Query(description="Only those of whom a face waits for somebody to confirm it.")
        ] = False,
        after: Annotated[str, Query(max_length=64)] = "",
        limit: Limit = 50,
        purpose: Purpose = "",
    ) -> StaffLearnersBody:
        """List learners with masked names; `after` goes on behind a pseudonym. Recorded."""
        await look(service, request, NOBODY, purpose)
        found = await service.office.learners(
            state=state,
            business_ref=business_ref,
            face_waits=face_waits,
            after=after,
            limit=limit,
        )
        return StaffLearnersBody(
            learners=[await _listed(service, learner, stands) for learner, stands in found]
        )

    @router.get("/v1/staff/learners/{learner_id}", summary="Read a learner in clear")
    async def read(
        request: Request, learner_id: LearnerId, purpose: Purpose = ""
    ) -> StaffPersonBody:
        """Give name and identity number in clear, and where the learner stands. Recorded."""
        await registry.learner(learner_id)
        await look(service, request, learner_id, purpose)
        return await _whole(service, learner_id)

    @router.get("/v1/staff/learners/{learner_id}/words", summary="Read what staff wrote")
    async def words(
        request: Request, learner_id: LearnerId, purpose: Purpose = ""
    ) -> StaffWordsBody:
        """Give the reasons of which the ledger has digests; none after an erasure. Recorded."""
        await registry.learner(learner_id)
        await look(service, request, learner_id, purpose)
        found = await registry.staff_words.of(learner_id)
        return StaffWordsBody(
            words=[
                StaffWordBody(subject=subject, key=key, text=text)
                for (subject, key), text in sorted(found.items())
            ]
        )


def _add_registration_routes(router: APIRouter, service: SessionService) -> None:
    @router.post("/v1/staff/learners/{learner_id}/approval", summary="Approve a registration")
    async def approve(request: Request, learner_id: LearnerId, body: Approval) -> RegistrationBody:
        """Approve: from now on the learner may study; refused before, he enrols again first."""
        actor = actor_of(request).name
        made = await service.office.approve(
            learner_id, actor=actor, reason=body.reason, version=body.template_version
        )
        if body.face_compared:
            await service.confirm_template(
                learner_id, reason=body.reason, actor=actor, version=made.template_version
            )
        return _registration(made)

    @router.post("/v1/staff/learners/{learner_id}/refusal", summary="Refuse a registration")
    async def refuse(request: Request, learner_id: LearnerId, body: Refusal) -> RegistrationBody:
        """Refuse with reasons: sessions end, and what the enrolled face vouched for is void."""
        actor = actor_of(request).name
        return _registration(
            await service.refuse_registration(
                learner_id, actor=actor, reasons=body.reasons, version=body.template_version
            )
        )

    @router.post("/v1/staff/learners/{learner_id}/template/refuse", summary="Refuse a face")
    async def refuse_face(
        request: Request, learner_id: LearnerId, body: FaceRefusal
    ) -> RegistrationBody:
        """Refuse one enrolled face, also an older one: its sessions end, its hours are void.

        The registration is refused with it where no other face was enrolled since.
        """
        await service.registry.learner(learner_id)
        await service.casework.refuse_face(
            learner_id,
            body.template_version,
            actor=actor_of(request).name,
            reasons=body.reasons,
        )
        return _registration(await service.registry.registration(learner_id))

    @router.post("/v1/staff/learners/{learner_id}/erasure", summary="Erase a learner's data")
    async def erase(request: Request, learner_id: LearnerId, body: NewErasure) -> ErasedBody:
        """Erase for good, and prove it; keys are destroyed, so that backups are covered."""
        actor = actor_of(request).name
        if body.what == "everything":
            return erased_body(
                await service.erase_person(learner_id, actor=actor, words=body.reason)
            )
        return erased_body(
            await service.erase_biometrics(learner_id, actor=actor, words=body.reason)
        )


def _add_offline_routes(router: APIRouter, service: SessionService) -> None:
    office = service.office

    @router.post(
        "/v1/staff/learners/{learner_id}/offline-hours",
        status_code=201,
        summary="Enter offline class hours",
    )
    async def enter(
        request: Request, learner_id: LearnerId, body: NewOfflineHours
    ) -> OfflineHoursBody:
        """Enter hours that the institution taught; online hours are never entered."""
        made = await office.enter_offline(
            learner_id, institution=actor_of(request).name, **body.model_dump()
        )
        return _hours(made)

    @router.get("/v1/staff/learners/{learner_id}/offline-hours", summary="List offline class hours")
    async def listed(
        request: Request, learner_id: LearnerId, purpose: Purpose = ""
    ) -> OfflineListBody:
        """List what institutions entered, withdrawn hours too. Recorded."""
        found = await office.offline(learner_id)
        await look(service, request, learner_id, purpose)
        minutes: dict[str, int] = {}
        for hours in found:
            if hours.withdrawn_ms is None:
                minutes[hours.programme] = minutes.get(hours.programme, 0) + hours.minutes
        return OfflineListBody(hours=[_hours(hours) for hours in found], minutes=minutes)

    @router.post(
        "/v1/staff/offline-hours/{hours_id}/withdraw", summary="Withdraw offline class hours"
    )
    async def withdraw(request: Request, hours_id: HoursId, body: Because) -> OfflineHoursBody:
        """Take back what was entered by mistake; an institution its own hours only."""
        actor = actor_of(request)
        own = None if actor.may(KeyScope.STAFF) else actor.name
        done = await office.withdraw_offline(
            hours_id, institution=own, actor=actor.name, reason=body.reason
        )
        return _hours(done)


def _add_route_routes(router: APIRouter, service: SessionService) -> None:
    @router.post(
        "/v1/staff/learners/{learner_id}/challenge-route",
        summary="Use the challenge instead of the passive vote",
    )
    async def challenge(
        request: Request, learner_id: LearnerId, body: Because
    ) -> ChallengeRouteBody:
        """Confirm a person whom the passive networks keep flagging; recorded in the ledger."""
        actor = actor_of(request).name
        await service.office.require_challenge(learner_id, actor=actor, reason=body.reason)
        return ChallengeRouteBody(learner_id=learner_id, challenge_route=True)

    @router.post(
        "/v1/staff/learners/{learner_id}/challenge-route/end",
        summary="Let the passive networks vote again",
    )
    async def lift(request: Request, learner_id: LearnerId, body: Because) -> ChallengeRouteBody:
        """End the exception."""
        actor = actor_of(request).name
        await service.office.lift_challenge(learner_id, actor=actor, reason=body.reason)
        return ChallengeRouteBody(learner_id=learner_id, challenge_route=False)


def _add_watch_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/staff/trail", summary="See who looked at what")
    async def trail(
        actor: Reference = None,
        subject: Reference = None,
        before: Annotated[int | None, Query(ge=1, le=2**53 - 1)] = None,
        limit: Limit = 100,
    ) -> TrailBody:
        """Give the trail, the newest first; nobody can change it."""
        found = await service.trail.read(actor=actor, subject=subject, before=before, limit=limit)
        return TrailBody(
            looks=[
                LookBody(
                    id=one.id,
                    at_ms=one.at_ms,
                    actor=one.actor,
                    route=one.route,
                    subject=one.subject,
                    purpose=one.purpose,
                )
                for one in found
            ]
        )

    @router.get("/v1/staff/faces", summary="Count stored faces")
    async def faces() -> FacesBody:
        """Count the people of whom a face is stored here: from 100 000 on a filing is due."""
        stored = await service.registry.faces_stored()
        if stored >= FILING_DUE:
            return FacesBody(stored=stored, state="due")
        return FacesBody(stored=stored, state="prepare" if stored >= FILING_PREPARE else "below")


async def _listed(
    service: SessionService, learner: Learner, registration: Registration
) -> StaffLearnerBody:
    registry = service.registry
    template = await registry.newest_template(learner.id)
    waiting = await registry.faces_waiting(learner.id)
    return StaffLearnerBody(
        learner_id=learner.id,
        name_masked=await registry.people.masked_name(learner.id),
        category=learner.category,
        track=learner.track,
        business_ref=learner.business_ref,
        template_version=0 if template is None else template.version,
        face_waits=bool(waiting),
        faces_waiting=waiting,
        registration=_registration(registration),
    )


async def _whole(service: SessionService, learner_id: str) -> StaffPersonBody:
    registry = service.registry
    learner = await registry.learner(learner_id)
    person = await registry.people.read(learner_id)
    template = await registry.newest_template(learner_id)
    return StaffPersonBody(
        learner_id=learner.id,
        name=None if person is None else person.name,
        identity_number=None if person is None else person.identity_number,
        category=learner.category,
        track=learner.track,
        industry=learner.industry,
        business_ref=learner.business_ref,
        created_ms=learner.created_ms,
        registration=_registration(await registry.registration(learner_id)),
        template=None if template is None else template_body(template),
        challenge_route=await service.office.needs_challenge(learner_id),
    )


def _person(person: Person) -> PersonBody:
    return PersonBody(
        learner_id=person.learner_id,
        name_masked=person.masked_name,
        identity_number_masked=person.masked_number,
    )


def _registration(registration: Registration) -> RegistrationBody:
    return RegistrationBody(
        state=registration.state,
        reasons=list(registration.reasons),
        template_version=registration.template_version,
        changed_ms=registration.changed_ms,
        changed_by=registration.changed_by,
    )


def _hours(hours: OfflineHours) -> OfflineHoursBody:
    return OfflineHoursBody(**{name: getattr(hours, name) for name in OfflineHours.__slots__})
