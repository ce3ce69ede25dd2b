"""Streams over HTTP: a thin edge around the hub, and the first way in for frames.

The tracker opens, checks and closes streams and reads their events with an API key; the learning
client posts frames with the stream's own token and hears advice, never a score.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import (
    APIRouter,
    Header,
    Path,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import StreamingResponse

from verifier.api.stream_bodies import (
    MAX_NUMBER,
    Acknowledge,
    Answer,
    AskChallenge,
    AskCheck,
    BurstBody,
    CueBody,
    EventBody,
    GrantBody,
    Offer,
    OpenStream,
)
from verifier.clock import Stamp
from verifier.edge import Entry, KeyScope, RouteRule
from verifier.errors import BadRequest
from verifier.streaming import websocket as sockets
from verifier.streaming.framing import BURST_TYPE
from verifier.streaming.http import push_burst
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.websocket import SocketLimits
from verifier.streaming.wire import event_to_json
from verifier.types import (
    ChallengeRequest,
    CheckRequest,
    PresencePolicy,
    StreamEvent,
    StreamGrant,
    StreamSpec,
)

FRAME_TYPES: Final = ("image/jpeg", "image/png", "image/webp")
OFFER_BODY_BYTES: Final = 128 * 1024
"""JSON around an offer of 64 KiB, with room for its escapes."""
EVENT_STREAM: Final = "text/event-stream"
KEEP_ALIVE_S: Final = 15.0  # HTML, 9.2.7: proxies cut silent connections; "about every 15 seconds"

if TYPE_CHECKING:
    from verifier.streaming.webrtc import Peers

StreamId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="As `POST /v1/streams` returned it.")
]


def stream_rules(limits: StreamLimits | None = None) -> tuple[RouteRule, ...]:
    """Give what the edge has to ask for on these paths."""
    frame_bytes = (limits if limits is not None else StreamLimits()).frame_bytes
    return (
        RouteRule(
            path="/v1/streams/{stream_id}/frames",
            by=Entry.TOKEN,
            accepts=FRAME_TYPES,
            max_body_bytes=frame_bytes,
        ),
        RouteRule(
            path="/v1/streams/{stream_id}/bursts",
            by=Entry.TOKEN,
            accepts=(BURST_TYPE,),
            max_body_bytes=2 * frame_bytes,
        ),
        RouteRule(path="/v1/streams/{stream_id}/socket", by=Entry.TOKEN),
        RouteRule(
            path="/v1/streams/{stream_id}/offer", by=Entry.TOKEN, max_body_bytes=OFFER_BODY_BYTES
        ),
        RouteRule(path="/v1/streams", by=KeyScope.VERIFIER, max_body_bytes=2 * 1024 * 1024),
        RouteRule(path="/v1/streams/{rest:path}", by=KeyScope.VERIFIER, max_body_bytes=16 * 1024),
    )


def streams_router(
    hub: StreamHub, *, peers: Peers | None = None, socket_limits: SocketLimits | None = None
) -> APIRouter:
    """Make the routes of ``/v1/streams``; the app's edge has to apply `stream_rules`.

    Without `peers` there is no way in by WebRTC.
    """
    router = APIRouter(tags=["streams"])
    _add_tracker_routes(router, hub)
    _add_event_routes(router, hub)
    _add_frame_route(router, hub)
    _add_burst_route(router, hub)
    _add_socket_route(router, hub, socket_limits)
    if peers is not None:
        _add_offer_route(router, peers)
    return router


def _add_tracker_routes(router: APIRouter, hub: StreamHub) -> None:
    @router.post("/v1/streams", status_code=201, summary="Open a stream")
    async def open_stream(body: OpenStream) -> GrantBody:
        """Open a stream for one session; pass the token on to the learning client."""
        spec = StreamSpec(
            session_id=body.session_id,
            subject=body.subject,
            template=body.template,
            policy=PresencePolicy(**body.policy.model_dump()),
            fingerprints=body.fingerprints,
        )
        return _grant(await hub.open_stream(spec, listed=True))

    @router.post("/v1/streams/{stream_id}/token", summary="Renew the client token")
    async def renew_token(stream_id: StreamId) -> GrantBody:
        """Make another client token for an open stream."""
        return _grant(await hub.refresh(stream_id))

    @router.post("/v1/streams/{stream_id}/resume", status_code=204, summary="End a pause")
    async def resume(stream_id: StreamId) -> Response:
        """Make the next face an identity sample."""
        await hub.resume(stream_id)
        return Response(status_code=204)

    @router.post("/v1/streams/{stream_id}/checks", summary="Check now")
    async def check(stream_id: StreamId, body: AskCheck) -> EventBody:
        """Judge frames that are already there; the event is on the stream's list as well."""
        request = CheckRequest(
            check_id=body.check_id,
            not_before=None if body.not_before is None else Stamp(**body.not_before.model_dump()),
            awaited=body.awaited,
        )
        return EventBody.model_validate(event_to_json(await hub.check(stream_id, request)))

    @router.post(
        "/v1/streams/{stream_id}/challenges", status_code=202, summary="Show an active challenge"
    )
    async def challenge(stream_id: StreamId, body: AskChallenge) -> Response:
        """Begin to show random turns; one event with the outcome follows on the list."""
        request = ChallengeRequest(
            check_id=body.check_id,
            turns=body.turns,
            window_ms=body.window_ms,
            attempts=body.attempts,
            not_before=None if body.not_before is None else Stamp(**body.not_before.model_dump()),
        )
        await hub.challenge(stream_id, request)
        return Response(status_code=202)

    @router.delete("/v1/streams/{stream_id}", status_code=204, summary="Close a stream")
    async def close_stream(
        stream_id: StreamId,
        taken_over: Annotated[
            bool,
            Query(description="Another stream takes its place: tell whoever still sends to this."),
        ] = False,
    ) -> Response:
        """Forget the pictures and revoke the tokens; closing twice is fine."""
        await hub.close_stream(stream_id, taken_over=taken_over)
        return Response(status_code=204)


def _add_event_routes(router: APIRouter, hub: StreamHub) -> None:
    @router.get(
        "/v1/streams/{stream_id}/events",
        summary="Read events",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events: `id` is the event's id, `data` an EventBody.",
                "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
            }
        },
    )
    async def events(
        stream_id: StreamId,
        last_event_id: Annotated[
            str | None,
            Header(
                alias="Last-Event-ID",
                description="Go on after this event.",
                max_length=16,
                examples=["17"],
            ),
        ] = None,
    ) -> StreamingResponse:
        """Read what was not acknowledged, and what follows, until the stream is closed."""
        found = hub.events(stream_id, _number(last_event_id))
        return StreamingResponse(_server_sent(found), media_type=EVENT_STREAM)

    @router.post(
        "/v1/streams/{stream_id}/events/ack", status_code=204, summary="Acknowledge events"
    )
    async def acknowledge(stream_id: StreamId, body: Acknowledge) -> Response:
        """Let the verifier forget the events up to this one."""
        await hub.acknowledge(stream_id, body.event_id)
        return Response(status_code=204)


def _add_frame_route(router: APIRouter, hub: StreamHub) -> None:
    picture = {"schema": {"type": "string", "format": "binary"}}

    @router.post(
        "/v1/streams/{stream_id}/frames",
        summary="Send a frame",
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "One picture, best a JPEG of about 640 x 480.",
                "content": dict.fromkeys(FRAME_TYPES, picture),
            }
        },
    )
    async def push_frame(
        request: Request,
        stream_id: StreamId,
        seq: Annotated[
            int,
            Header(
                alias="Benren-Seq",
                description="The client's number of the frame, counting up.",
                ge=0,
                le=MAX_NUMBER,
                examples=[17],
            ),
        ],
        captured_ms: Annotated[
            int | None,
            Header(
                alias="Benren-Captured-Ms",
                description="The client's own time of the picture, ms of UTC. Advisory.",
                ge=0,
                le=MAX_NUMBER,
                examples=[1795482204331],
            ),
        ] = None,
    ) -> CueBody:
        """Take a frame; returns once what was seen on it is recorded."""
        cue = await hub.push_frame(
            stream_id,
            _bearer(request),
            seq=seq,
            data=await request.body(),
            captured_utc_ms=captured_ms,
        )
        return CueBody.model_validate(cue.as_json())


def _add_burst_route(router: APIRouter, hub: StreamHub) -> None:
    @router.post(
        "/v1/streams/{stream_id}/bursts",
        summary="Send a few frames",
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "Frames behind their lengths and headers: docs/streams.md.",
                "content": {BURST_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def push_frames(request: Request, stream_id: StreamId) -> BurstBody:
        """Take at most five frames, in order; each gets its cue."""
        cues = await push_burst(hub, stream_id, _bearer(request), await request.body())
        return BurstBody(cues=[CueBody.model_validate(cue.as_json()) for cue in cues])


def _add_socket_route(router: APIRouter, hub: StreamHub, limits: SocketLimits | None) -> None:
    @router.websocket("/v1/streams/{stream_id}/socket")
    async def socket(websocket: WebSocket, stream_id: StreamId) -> None:
        """Carry frames and cues; see `verifier.streaming.websocket` for the messages."""
        offered = websocket.scope.get("subprotocols", [])
        if sockets.SUBPROTOCOL not in offered:
            await websocket.close(code=1002, reason=f"Offer the subprotocol {sockets.SUBPROTOCOL}.")
            return
        await websocket.accept(subprotocol=sockets.SUBPROTOCOL)
        token = sockets.token_of(offered)
        await sockets.serve(hub, stream_id, token, _Accepted(websocket), limits)


def _add_offer_route(router: APIRouter, peers: Peers) -> None:
    @router.post("/v1/streams/{stream_id}/offer", summary="Offer WebRTC")
    async def offer(request: Request, stream_id: StreamId, body: Offer) -> Answer:
        """Answer a WebRTC offer; frames flow, and cues come, once the connection is there."""
        return Answer(sdp=await peers.answer(stream_id, _bearer(request), body.sdp))


class _Accepted:
    """A WebSocket as the stream sees it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | str | None:
        """Give the next message, or None at the end."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        data = message.get("bytes")
        return data if data is not None else str(message.get("text"))

    async def send(self, text: str) -> None:
        """Send a text message; where the peer is gone the next `receive` says so."""
        with contextlib.suppress(WebSocketDisconnect):
            await self._websocket.send_text(text)

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        await self._websocket.close(code=code, reason=reason)


def _grant(grant: StreamGrant) -> GrantBody:
    return GrantBody(
        stream_id=grant.stream_id,
        client_token=grant.client_token,
        expires_utc_ms=grant.expires_utc_ms,
        frames_path=grant.frames_path,
        socket_path=grant.socket_path,
        offer_path=grant.offer_path,
        ice_servers=[server.as_json() for server in grant.ice_servers],
        sample_period_ms=grant.sample_period_ms,
    )


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _number(last_event_id: str | None) -> int:
    text = (last_event_id or "0").strip()
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(
            "Last-Event-ID is not a number.", remedy="Send the id of the last event that was read."
        )
    return int(text)


async def _server_sent(events: AsyncIterator[StreamEvent]) -> AsyncIterator[str]:
    """Format events, with a comment where nothing happened for a while."""
    pending: asyncio.Task[StreamEvent | None] | None = None
    yield ": benren stream events\n\n"  # so that the head of the answer leaves at once
    try:
        while True:
            if pending is None:
                pending = asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
            if not done:
                yield ": still here\n\n"
                continue
            event = pending.result()
            pending = None
            if event is None:
                return
            yield _formatted(event)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)


async def _next(events: AsyncIterator[StreamEvent]) -> StreamEvent | None:
    return await anext(events, None)


def _formatted(event: StreamEvent) -> str:
    data: dict[str, Any] = event_to_json(event)
    return f"id: {event.event_id}\nevent: {event.kind.value}\ndata: {json.dumps(data)}\n\n"
