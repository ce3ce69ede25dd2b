"""Routes of the way without a face: staff open a session, answer for the learner, end it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from session_tracker.api.bodies import Because, Milliseconds, Name, SessionBody, ShortText
from session_tracker.api.learners import LearnerId
from session_tracker.api.me import programme_body
from session_tracker.api.me_bodies import MyProgrammeBody
from session_tracker.api.watched import NOBODY, Purpose, look
from session_tracker.desk import Desk
from session_tracker.live import Live
from session_tracker.service import SessionService
from verifier.edge import actor_of
from verifier.errors import Conflict

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_ANSWER: Final = ConfigDict(extra="forbid")
_LEARNER: Final = "lrn_5f0c8a1e2b7d4c9f6a30"
_SESSION: Final = "ses_8d1f0c8a1e2b7d4c9f6a3055"
_MS: Final = 1_795_482_000_000
_MOST_LISTED: Final = 200

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class NewSupervisedSession(BaseModel):
    """A session without a face: staff are there."""

    model_config = _STRICT

    learner_id: Name = Field(examples=[_LEARNER])
    programme: Name = Field(examples=["foshan-2021"])
    media: list[Name] = Field(min_length=1, max_length=100, examples=[["lesson-1"]])
    minutes: int = Field(
        default=45, ge=1, le=60, description="So long you answer for the learner; then again."
    )
    reason: ShortText = Field(examples=["declined the camera; classroom 2, identity card compared"])


class SupervisedSessionBody(BaseModel):
    """A supervised session; the token goes to the device that plays the lesson."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_SESSION])
    session_token: str
    supervised_until_ms: int = Field(examples=[_MS + 2_700_000])
    session: SessionBody


class RunningSupervisedBody(BaseModel):
    """A supervised session that runs."""

    model_config = _ANSWER

    session_id: str = Field(examples=[_SESSION])
    learner_id: str = Field(examples=[_LEARNER])
    name_masked: str | None = Field(examples=["张*"])
    programme: str = Field(examples=["foshan-2021"])
    media: list[str] = Field(examples=[["lesson-1"]])
    opened_ms: int = Field(examples=[_MS])
    supervised_until_ms: int = Field(
        examples=[_MS + 2_700_000], description="So long staff answer for the learner."
    )
    session: SessionBody


class RunningSupervisedListBody(BaseModel):
    """Supervised sessions that run, the newest first."""

    model_config = _ANSWER

    now_ms: int = Field(examples=[_MS], description="The service's clock.")
    sessions: list[RunningSupervisedBody]


class LearnerProgrammesBody(BaseModel):
    """What a learner may study, and how far he is."""

    model_config = _ANSWER

    programmes: list[MyProgrammeBody]


class Supervision(BaseModel):
    """Staff see the learner study."""

    model_config = _STRICT

    from_ms: Milliseconds = Field(
        examples=[_MS],
        description="Now; earlier only where the session was opened without a camera.",
    )
    to_ms: Milliseconds = Field(examples=[_MS + 2_700_000])
    reason: ShortText = Field(examples=["sat in classroom 2, identity card compared"])


class SupervisedBody(BaseModel):
    """A supervision as recorded."""

    model_config = _ANSWER

    session_id: str
    from_ms: int
    to_ms: int
    confirmed_by: str


def supervised_router(service: SessionService, desk: Desk) -> APIRouter:
    """Make the routes of ``/v1/staff/sessions``, and what a learner may be shown there."""
    router = APIRouter(tags=["staff"])
    _add_reading_routes(router, service, desk)
    _add_acting_routes(router, service)
    return router


def _add_reading_routes(router: APIRouter, service: SessionService, desk: Desk) -> None:
    @router.get("/v1/staff/sessions", summary="List supervised sessions that run")
    async def listed(request: Request, purpose: Purpose = "") -> RunningSupervisedListBody:
        """List the sessions without a camera that have not ended, 200 at most. Recorded."""
        await look(service, request, NOBODY, purpose)
        running = service.casework.supervised()[:_MOST_LISTED]
        return RunningSupervisedListBody(
            now_ms=service.now_ms(), sessions=[await _running(service, live) for live in running]
        )

    @router.get(
        "/v1/staff/learners/{learner_id}/programmes", summary="See what a learner may study"
    )
    async def programmes(
        request: Request, learner_id: LearnerId, purpose: Purpose = ""
    ) -> LearnerProgrammesBody:
        """List the programmes with their lessons, and how far the learner is. Recorded."""
        found = await desk.overview(learner_id)
        await look(service, request, learner_id, purpose)
        return LearnerProgrammesBody(programmes=[programme_body(one) for one in found.programmes])


def _add_acting_routes(router: APIRouter, service: SessionService) -> None:
    @router.post("/v1/staff/sessions", status_code=201, summary="Open a supervised session")
    async def open_supervised(
        request: Request, body: NewSupervisedSession
    ) -> SupervisedSessionBody:
        """Open a session for somebody who does without the face: no template, no stream.

        You answer for the learner, for so many minutes; confirm more with `supervision`. What
        nobody answers for is not credited.
        """
        actor = actor_of(request).name
        opened = await service.openings.open_supervised(actor=actor, **body.model_dump())
        return SupervisedSessionBody(
            session_id=opened.session_id,
            session_token=opened.session_token,
            supervised_until_ms=opened.supervised_until_ms,
            session=SessionBody(**opened.view.as_json()),
        )

    @router.post(
        "/v1/staff/sessions/{session_id}/supervision",
        status_code=201,
        summary="Confirm a supervised stretch",
    )
    async def supervise(
        request: Request, session_id: SessionId, body: Supervision
    ) -> SupervisedBody:
        """Confirm that staff see the learner study: evidence of its own type, without a face.

        In a session with a camera from now on only: what has passed is for a review or an appeal.
        """
        if body.to_ms <= body.from_ms:
            raise Conflict("The stretch ends before it begins.", remedy="Swap the two instants.")
        actor = actor_of(request).name
        made = await service.casework.supervise(
            session_id, start=body.from_ms, end=body.to_ms, actor=actor, reason=body.reason
        )
        return SupervisedBody(
            session_id=session_id, from_ms=made.t, to_ms=made.end, confirmed_by=actor
        )

    @router.post("/v1/staff/sessions/{session_id}/end", summary="End a supervised session")
    async def end(request: Request, session_id: SessionId, body: Because) -> SessionBody:
        """End it and settle it; what was answered for until now counts. Ending twice is fine.

        A session with a camera is the learner's to end (403).
        """
        actor = actor_of(request).name
        await service.casework.end_supervised(session_id, actor=actor, reason=body.reason)
        return SessionBody(**(await service.view(session_id)).as_json())


async def _running(service: SessionService, live: Live) -> RunningSupervisedBody:
    record = live.record
    return RunningSupervisedBody(
        session_id=record.id,
        learner_id=record.learner_id,
        name_masked=await service.registry.people.masked_name(record.learner_id),
        programme=record.programme,
        media=list(record.media),
        opened_ms=record.opened_ms,
        supervised_until_ms=live.machine.supervised_until or record.opened_ms,
        session=SessionBody(**(await service.view(record.id)).as_json()),
    )
