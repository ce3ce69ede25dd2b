"""Routes of the learner's own device: sign-in, where one stands, consent, face, study."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request

from session_tracker.api.bearer import Authorization, bearer, learner_of
from session_tracker.api.bodies import OpenedBody
from session_tracker.api.explanations import LearnerExplainBody, for_the_learner
from session_tracker.api.me_bodies import (
    ConsentTextBody,
    DeviceTokenBody,
    FaceAnswerBody,
    FaceBody,
    GiveConsent,
    InvitationBody,
    LookBody,
    MeBody,
    MediumBody,
    MyConsentBody,
    MyProgrammeBody,
    MySessionBody,
    MySessionsBody,
    NewOwnSession,
    SignedOutBody,
    SignInWith,
)
from session_tracker.api.sessions import SessionId, opened_body
from session_tracker.desk import Desk, FaceStanding, MediumStanding, Overview, ProgrammeStanding
from session_tracker.policy import Provenance
from session_tracker.records import Consent
from session_tracker.service import SessionService
from session_tracker.shown import late_ms
from session_tracker.signin import DeviceToken
from verifier.edge import Entry, KeyScope, RouteRule
from verifier.errors import BadRequest

PICTURES: Final = ("image/jpeg", "image/png", "image/webp")
_SMALL: Final = 16 * 1024
_PHOTO: Final = 12 * 1024 * 1024
"""A photograph as a phone takes it."""
_LOOK: Final = 1024 * 1024

RULES: Final = (
    RouteRule(
        path="/v1/learners/{learner_id}/sign-in-codes", by=KeyScope.TRACKER, max_body_bytes=_SMALL
    ),
    RouteRule(path="/v1/me/sign-in", by=Entry.ANYONE, max_body_bytes=_SMALL),
    RouteRule(path="/v1/me/face", by=Entry.TOKEN, accepts=PICTURES, max_body_bytes=_PHOTO),
    RouteRule(path="/v1/me/face/look", by=Entry.TOKEN, accepts=PICTURES, max_body_bytes=_LOOK),
    RouteRule(path="/v1/me", by=Entry.TOKEN, max_body_bytes=_SMALL),
    RouteRule(path="/v1/me/{rest:path}", by=Entry.TOKEN, max_body_bytes=_SMALL),
)
"""What the edge asks for: a learner's token (``lrt_``), which the routes check."""

LearnerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
OwnProvenance = Annotated[
    Literal["self_photo", "self_live"],
    Query(
        description="A photograph of the identity card, or a selfie; hours under either are "
        "provisional until staff, or a match with the identity photograph, confirmed it."
    ),
]
_PICTURE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One picture.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES},
    }
}


def me_router(service: SessionService, desk: Desk) -> APIRouter:
    """Make the routes of ``/v1/me``, and those by which servers hand out invitations."""
    router = APIRouter(tags=["me"])
    _add_sign_in_routes(router, service)
    _add_overview_routes(router, service, desk)
    _add_consent_routes(router, service, desk)
    _add_face_routes(router, service, desk)
    _add_study_routes(router, service, desk)
    return router


def _add_sign_in_routes(router: APIRouter, service: SessionService) -> None:
    sign_in = service.sign_in

    @router.post(
        "/v1/learners/{learner_id}/sign-in-codes",
        status_code=201,
        summary="Invite a learner to sign in",
    )
    async def invite(learner_id: LearnerId) -> InvitationBody:
        """Make a code and a link for the learner's device; they replace earlier ones."""
        made = await sign_in.invite(learner_id)
        return InvitationBody(
            code=made.code,
            code_expires_utc_ms=made.code_expires_ms,
            link_token=made.link_token,
            expires_utc_ms=made.expires_ms,
        )

    @router.delete("/v1/learners/{learner_id}/sign-in-codes", summary="Sign out everywhere")
    async def revoke(learner_id: LearnerId) -> SignedOutBody:
        """Sign out every device of the learner and void what was handed out: a lost phone."""
        await service.registry.learner(learner_id)
        return SignedOutBody(devices=await sign_in.revoke(learner_id))

    @router.post("/v1/me/sign-in", summary="Sign in")
    async def enter(request: Request, body: SignInWith) -> DeviceTokenBody:
        """Change a code or a link, once, for the device's token. Guesses are slowed down (429)."""
        address = request.client.host if request.client is not None else ""
        made: DeviceToken
        if body.code is not None:
            made = await sign_in.by_code(body.code, address=address)
        else:
            made = await sign_in.by_link(body.link_token or "", address=address)
        return DeviceTokenBody(learner_token=made.token, expires_utc_ms=made.expires_ms)

    @router.post("/v1/me/sign-out", status_code=204, summary="Sign out")
    async def leave(authorization: Authorization = None) -> None:
        """End the device's token; a session that runs goes on."""
        await sign_in.sign_out(bearer(authorization, "learner's"))


def _add_overview_routes(router: APIRouter, service: SessionService, desk: Desk) -> None:
    @router.get("/v1/me", summary="See where one stands")
    async def me(authorization: Authorization = None) -> MeBody:
        """Give the learner, consent, enrolment and progress."""
        learner_id = await learner_of(service.sign_in, authorization)
        return _me(await desk.overview(learner_id), desk)

    @router.get("/v1/me/sessions", summary="List one's sessions")
    async def sessions(authorization: Authorization = None) -> MySessionsBody:
        """Give the learner's sessions of the programmes in force."""
        learner_id = await learner_of(service.sign_in, authorization)
        return MySessionsBody(
            sessions=[
                MySessionBody(
                    session_id=s.session_id,
                    programme=s.programme,
                    opened_utc_ms=s.opened_ms,
                    closed_utc_ms=s.closed_ms,
                    settled=s.settled,
                    wall_s=s.wall_s,
                    credited_s=s.credited_s,
                    void_s=s.void_s,
                    provisional=s.provisional,
                )
                for s in await desk.sessions(learner_id)
            ]
        )

    @router.get("/v1/me/sessions/{session_id}/explain", summary="Explain every second to oneself")
    async def explain(
        session_id: SessionId, authorization: Authorization = None
    ) -> LearnerExplainBody:
        """Say what counted, what did not and why; nothing that would tell of checks to come."""
        learner_id = await learner_of(service.sign_in, authorization)
        return for_the_learner(await desk.explain(learner_id, session_id))


def _add_consent_routes(router: APIRouter, service: SessionService, desk: Desk) -> None:
    @router.post("/v1/me/consent", summary="Consent to face verification")
    async def consent(body: GiveConsent, authorization: Authorization = None) -> MyConsentBody:
        """Record the separate consent, with the version and the language of the text."""
        learner_id = await learner_of(service.sign_in, authorization)
        given = await desk.give_consent(learner_id, **body.model_dump())
        return _consent(given)

    @router.delete("/v1/me/consent", summary="Withdraw the consent")
    async def withdraw(authorization: Authorization = None) -> MyConsentBody:
        """Withdraw it, and end the sessions that rest on it; credited hours stay."""
        learner_id = await learner_of(service.sign_in, authorization)
        return _consent(await desk.withdraw_consent(learner_id))


def _add_face_routes(router: APIRouter, service: SessionService, desk: Desk) -> None:
    @router.post("/v1/me/face", summary="Enrol one's face", openapi_extra=_PICTURE_BODY)
    async def face(
        request: Request, provenance: OwnProvenance, authorization: Authorization = None
    ) -> FaceAnswerBody:
        """Enrol an identity photograph or a selfie; a picture that will not do gets advice."""
        learner_id = await learner_of(service.sign_in, authorization)
        image = await _picture(request)
        answer = await desk.enrol(learner_id, image, Provenance(provenance))
        return FaceAnswerBody(
            accepted=answer.accepted, advice=list(answer.advice), face=_face(answer.face)
        )

    @router.post(
        "/v1/me/face/look", summary="Get advice for a picture", openapi_extra=_PICTURE_BODY
    )
    async def look(request: Request, authorization: Authorization = None) -> LookBody:
        """Say what to do better before the picture is taken; nothing is kept."""
        learner_id = await learner_of(service.sign_in, authorization)
        return LookBody(advice=await desk.look(learner_id, await _picture(request)))


def _add_study_routes(router: APIRouter, service: SessionService, desk: Desk) -> None:
    @router.post("/v1/me/sessions", status_code=201, summary="Begin to study")
    async def begin(body: NewOwnSession, authorization: Authorization = None) -> OpenedBody:
        """Open a session for oneself.

        409 has the code `studies_elsewhere` (try again with `take_over`), `consent_needed`,
        `face_needed`, `face_waits` or `programme_complete`; 403 `industry_offline_only`,
        `other_category`, `consent_withdrawn`, `enrolment_refused` or `enrolment_not_accepted`.
        """
        learner_id = await learner_of(service.sign_in, authorization)
        return opened_body(await desk.open_session(learner_id, **body.model_dump()))


async def _picture(request: Request) -> bytes:
    image = await request.body()
    if not image:
        raise BadRequest("The body holds no picture.", remedy="Send a JPEG, PNG or WebP image.")
    return image


def _me(found: Overview, desk: Desk) -> MeBody:
    text = desk.consent_text
    return MeBody(
        learner_id=found.learner.id,
        name_masked=found.name_masked,
        category=found.learner.category,
        track=found.learner.track,
        consent=None if found.consent is None else _consent(found.consent),
        consent_text=ConsentTextBody(
            version=text.version, zh=text.by_language["zh"], en=text.by_language["en"]
        ),
        face=_face(found.face),
        face_ways=list(found.face_ways),
        programmes=[programme_body(programme) for programme in found.programmes],
    )


def _consent(consent: Consent) -> MyConsentBody:
    return MyConsentBody(
        id=consent.id,
        text_version=consent.text_version,
        given_utc_ms=consent.given_ms,
        withdrawn_utc_ms=consent.withdrawn_ms,
    )


def _face(face: FaceStanding | None) -> FaceBody | None:
    return None if face is None else FaceBody(**{**asdict(face), "reasons": list(face.reasons)})


def programme_body(standing: ProgrammeStanding) -> MyProgrammeBody:
    """Shape how far a learner is in a programme."""
    return MyProgrammeBody(
        name=standing.policy.name,
        title=standing.policy.title,
        target_s=standing.target_s,
        credited_s=standing.credited_s,
        shown_late_s=late_ms(standing.policy) // 1_000,
        provisional_s=standing.provisional_s,
        class_hour_s=standing.policy.class_hour.seconds,
        certificate=standing.certificate,
        media=[_medium(medium) for medium in standing.media],
    )


def _medium(standing: MediumStanding) -> MediumBody:
    medium = standing.medium
    return MediumBody(
        media_id=medium.id,
        title_zh=medium.title_zh,
        title_en=medium.title_en,
        src=medium.src,
        also=list(medium.also),
        duration_ms=medium.duration_ms,
        resume_ms=standing.resume_ms,
        reach_ms=standing.reach_ms,
        credited_ms=standing.credited_ms,
        gaps=list(standing.gaps),
    )
