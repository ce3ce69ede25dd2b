"""Routes of sessions: servers open and explain them, the learner's device reports and looks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from session_tracker.api.bearer import Authorization, bearer
from session_tracker.api.bodies import (
    ExplainBody,
    NewSession,
    OpenedBody,
    PlaybackReport,
    SessionBody,
    StreamGrantBody,
)
from session_tracker.api.explanations import for_staff
from session_tracker.api.watched import Purpose, look
from session_tracker.live import Report
from session_tracker.openings import OpenedSession
from session_tracker.service import SessionService
from session_tracker.views import SessionView
from verifier.types import StreamGrant

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def sessions_router(service: SessionService) -> APIRouter:
    """Make the routes of ``/v1/sessions``."""
    router = APIRouter(tags=["sessions"])
    _add_server_routes(router, service)
    _add_device_routes(router, service)
    return router


def _add_server_routes(router: APIRouter, service: SessionService) -> None:
    @router.post("/v1/sessions", status_code=201, summary="Open a session")
    async def open_session(body: NewSession) -> OpenedBody:
        """Open a session under a recorded consent; one at a time for each learner."""
        return opened_body(await service.openings.open_session(**body.model_dump()))

    @router.get("/v1/sessions/{session_id}/explain", summary="Explain every second")
    async def explain(
        request: Request, session_id: SessionId, purpose: Purpose = ""
    ) -> ExplainBody:
        """Give the timeline: what was credited, what was not and why, every fact. Recorded."""
        explained = await service.explain(session_id)
        await look(service, request, explained.record.learner_id, purpose)
        return for_staff(explained)


def _add_device_routes(router: APIRouter, service: SessionService) -> None:
    @router.get("/v1/sessions/{session_id}", summary="See where a session stands")
    async def see(session_id: SessionId, authorization: Authorization = None) -> SessionBody:
        """Tell the learner's device where it stands."""
        return _view(await service.view(session_id, _token(authorization)))

    @router.post("/v1/sessions/{session_id}/playback", summary="Report playback")
    async def report(
        session_id: SessionId, body: PlaybackReport, authorization: Authorization = None
    ) -> SessionBody:
        """Take a report of the player; the same `seq` again gets the first answer."""
        token = _token(authorization)
        return _view(await service.report(session_id, token, Report(**body.model_dump())))

    @router.post("/v1/sessions/{session_id}/stream", summary="Open the stream anew")
    async def stream(session_id: SessionId, authorization: Authorization = None) -> StreamGrantBody:
        """Open a new stream after the old one was lost; the old one ends."""
        return _grant(await service.openings.reopen_stream(session_id, _token(authorization)))

    @router.post("/v1/sessions/{session_id}/close", summary="End a session")
    async def close(session_id: SessionId, authorization: Authorization = None) -> SessionBody:
        """End the session and settle it; ending twice is fine."""
        return _view(await service.close(session_id, _token(authorization)))


def opened_body(opened: OpenedSession) -> OpenedBody:
    """Shape a session that was opened."""
    return OpenedBody(
        session_id=opened.session_id,
        session_token=opened.session_token,
        stream=_grant(opened.grant),
        session=_view(opened.view),
    )


def _token(authorization: str | None) -> str:
    return bearer(authorization, "session")


def _view(view: SessionView) -> SessionBody:
    return SessionBody(**view.as_json())


def _grant(grant: StreamGrant) -> StreamGrantBody:
    return StreamGrantBody(
        stream_id=grant.stream_id,
        client_token=grant.client_token,
        expires_utc_ms=grant.expires_utc_ms,
        frames_path=grant.frames_path,
        socket_path=grant.socket_path,
        offer_path=grant.offer_path,
        ice_servers=[server.as_json() for server in grant.ice_servers],
        sample_period_ms=grant.sample_period_ms,
    )
