"""Frames over real WebRTC on loopback, aiortc against aiortc: cues, bounds, and bad offers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aioice.ice
import httpx
import numpy as np
import pytest
import simplejpeg
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from fastapi import FastAPI

from benren.problems import ServiceUnreachable
from benren.server import listening
from benren.ways import PeerWay
from verifier.api.streams import stream_rules, streams_router
from verifier.clock import SystemClock
from verifier.edge import ApiKeys, KeyScope, install_edge, new_api_key
from verifier.errors import BadRequest, BenrenError, Overloaded, StreamGone, Unauthorised
from verifier.keys import KeyRing
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Cue, Prompt, Turn
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import Person, ScriptedEngine, ScriptedVault
from verifier.streaming.video import VideoLimits
from verifier.streaming.ways import End
from verifier.streaming.webrtc import PeerLimits, Peers
from verifier.types import (
    CheckRequest,
    Decision,
    EventKind,
    Face,
    Frame,
    PresencePolicy,
    StreamEvent,
    StreamGrant,
    StreamSpec,
)

LIMITS = PeerLimits(connect_s=2.0, idle_s=2.0)
QUICK = PresencePolicy(sample_period_ms=250, gap_ms=5_000)


class Bright(ScriptedEngine):
    """A pipeline that sees li in every bright picture, and nobody in a dark one."""

    async def decode(self, images: Sequence[bytes], **_: Any) -> list[Frame]:
        """Decode JPEG bytes."""
        return [
            Frame(pixels=simplejpeg.decode_jpeg(data, colorspace="BGR"), digest="of a copy")
            for data in images
        ]

    async def detect(self, frames: Sequence[Frame], **_: Any) -> list[tuple[Face, ...]]:
        """Find li where there is light."""
        self._look(frames)
        return await super().detect(frames)

    async def assess(self, frames: Sequence[Frame], **how: Any) -> Any:
        """Assess what was seen."""
        self._look(frames)
        return await super().assess(frames, **how)

    def _look(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            there = [Person(who="li")] if frame.pixels.mean() > 60 else []
            self._scenes[frame.digest] = there


class House:
    """A hub with peers behind the real edge, on a real port."""

    def __init__(self, limits: PeerLimits = LIMITS) -> None:
        clock = SystemClock()
        self.hub = StreamHub(
            Bright(),
            ScriptedVault(),
            KeyRing.generate(clock),
            clock=clock,
            draw=lambda: 0.999,
            limits=StreamLimits(),
        )
        self.peers = Peers(self.hub, limits=limits)
        self.events: list[StreamEvent] = []
        self.hub.subscribe(self.sink)
        self.app = FastAPI()
        self.app.include_router(streams_router(self.hub, peers=self.peers))
        _, line = new_api_key("tracker", [KeyScope.VERIFIER])
        install_edge(
            self.app,
            service="verifier",
            api_keys=ApiKeys.parse([line]),
            default=KeyScope.VERIFIER,
            rules=stream_rules(),
        )
        self.url = ""

    async def sink(self, event: StreamEvent) -> None:
        """Take an event."""
        self.events.append(event)

    async def open(self, session: str = "s-1", policy: PresencePolicy = QUICK) -> StreamGrant:
        """Open a stream for li."""
        return await self.hub.open_stream(
            StreamSpec(session_id=session, subject="li", template=b"template of li", policy=policy)
        )

    def device(self, grant: StreamGrant, **how: Any) -> AbstractAsyncContextManager[PeerWay]:
        """Open a connection as a device does."""

        async def ask(offer: Mapping[str, Any]) -> Mapping[str, Any]:
            sdp = await self.peers.answer(grant.stream_id, grant.client_token, str(offer["sdp"]))
            return {"sdp": sdp, "type": "answer"}

        return PeerWay.open(ask, [], **how)

    async def until(self, condition: Any, within_s: float = 10.0) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what it watches announces nothing
                await asyncio.sleep(0.02)


def picture(light: int, shot: int = 0) -> bytes:
    """A JPEG of 320 x 240, bright or dark."""
    pixels = np.full((240, 320, 3), light, np.uint8)
    pixels[:, shot % 300 : shot % 300 + 20] //= 2
    return bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorspace="BGR"))


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ICE use loopback, which it leaves out otherwise; nothing goes anywhere else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A running verifier."""
    made = House()
    yield made
    await made.peers.aclose()
    await made.hub.aclose()


async def heard(way: PeerWay) -> Cue:
    """The next cue that was pushed."""
    async with asyncio.timeout(10):
        return await way.cues.get()


async def offered(*tracks: Any, channel: bool = True) -> RTCPeerConnection:
    """A connection with an offer that nobody has answered."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if channel:
        connection.createDataChannel("benren")
    for track in tracks:
        connection.addTrack(track)
    await connection.setLocalDescription(await connection.createOffer())
    return connection


async def test_a_lesson_over_webrtc(house: House) -> None:
    """The first frame is told by a cue, changes of advice are; frames are samples as elsewhere."""
    grant = await house.open()
    async with house.device(grant) as way:
        await way.send(picture(200))
        first = await heard(way)
        assert (first.seq, first.accepted, first.advice) == (None, None, Advice.OK)
        assert first.period_ms == 250
        for shot in range(1, 5):
            await asyncio.sleep(0.3)
            await way.send(picture(200, shot))
        await house.until(lambda: len(house.events) >= 6)
        await asyncio.sleep(0.3)
        await way.send(picture(5))
        assert (await heard(way)).advice is Advice.NO_FACE
        check = await house.hub.check(grant.stream_id, CheckRequest(check_id="c"))
        assert check.decision is Decision.NO_EVIDENCE
    await house.until(lambda: house.peers.open_peers == 0)
    kinds = [event.kind for event in house.events]
    assert kinds[:3] == [EventKind.PRESENCE, EventKind.IDENTITY, EventKind.PRESENCE]
    assert {event.track for event in house.events if event.faces} == {1}
    assert all(len(digest) == 64 for event in house.events for digest in event.frame_digests)


async def test_a_check_judges_video_frames_by_their_digests(house: House) -> None:
    """What is judged is a copy; what is named is the frame that came."""
    grant = await house.open()
    async with house.device(grant) as way:
        for shot in range(4):
            await way.send(picture(200, shot))
            await asyncio.sleep(0.3)
        await house.until(lambda: len(house.events) >= 4)
        check = await house.hub.check(grant.stream_id, CheckRequest(check_id="c"))
    assert check.decision is Decision.MATCH
    assert len(set(check.frame_digests)) >= 3
    assert "of a copy" not in check.frame_digests


async def test_a_single_frame_arrives_without_the_next_one(house: House) -> None:
    """At one frame in five seconds nobody waits for the next to know that this one is whole."""
    grant = await house.open()
    async with house.device(grant) as way:
        await way.send(picture(200))
        await heard(way)
        assert len(house.events) >= 1


async def test_h264_is_understood(house: House) -> None:
    """A sender without VP8 is served all the same."""
    grant = await house.open()
    connection = await offered(VideoStreamTrack())
    (transceiver,) = connection.getTransceivers()
    codecs = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.name == "H264"]
    transceiver.setCodecPreferences(codecs)
    await connection.setLocalDescription(await connection.createOffer())
    assert "VP8" not in connection.localDescription.sdp
    answer = await house.peers.answer(
        grant.stream_id, grant.client_token, connection.localDescription.sdp
    )
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await house.until(lambda: house.hub.counts["accepted"] >= 1)
    await connection.close()


async def test_a_challenge_is_pushed(house: House) -> None:
    """Its steps come over the data channel, with the higher rate."""
    grant = await house.open()
    async with house.device(grant) as way:
        await way.send(picture(200))
        await heard(way)
        board = house.hub._find(grant.stream_id).cues
        board.show(Prompt(id="c", step=1, steps=3, turn=Turn.UP, ends_ms=10**12))
        cue = await heard(way)
        assert cue.challenge is not None
        assert cue.challenge.turn is Turn.UP
        board.show(None)
        assert (await heard(way)).challenge is None


async def test_a_second_connection_takes_over(house: House) -> None:
    """The first one is closed once the second is there; a failed attempt closes nothing."""
    grant = await house.open()
    async with house.device(grant) as first:
        await first.send(picture(200))
        await heard(first)
        attempt = await offered(VideoStreamTrack())
        await house.peers.answer(grant.stream_id, grant.client_token, attempt.localDescription.sdp)
        await attempt.close()
        assert not first.closed.is_set()
        async with house.device(grant) as second:
            await second.send(picture(200, 1))
            await heard(second)
            await asyncio.wait_for(first.closed.wait(), 10)
            assert first.ended is End.TAKEN_OVER  # or it would come back, and they take turns
            await house.until(lambda: house.peers.open_peers == 1)
            assert second.ended is None
        assert house.hub.counts["accepted"] == 2


@pytest.mark.parametrize(("taken_over", "why"), [(False, End.GONE), (True, End.TAKEN_OVER)])
async def test_closing_the_stream_closes_the_connection(
    house: House, taken_over: bool, why: End
) -> None:
    """The tracker's word ends it, and says whether to come back."""
    grant = await house.open()
    async with house.device(grant) as way:
        await way.send(picture(200))
        await heard(way)
        await house.hub.close_stream(grant.stream_id, taken_over=taken_over)
        await asyncio.wait_for(way.closed.wait(), 10)
        assert way.ended is why
    await house.until(lambda: house.peers.open_peers == 0)


async def test_a_connection_that_never_comes_is_given_up(house: House) -> None:
    """ICE that does not complete frees everything, and the live way has noticed nothing."""
    grant = await house.open()
    ends: list[End] = []
    line = house.hub.enter(grant.stream_id, grant.client_token, ends.append)
    connection = await offered(VideoStreamTrack())
    await house.peers.answer(grant.stream_id, grant.client_token, connection.localDescription.sdp)
    assert house.peers.open_peers == 1
    await connection.close()
    await house.until(lambda: house.peers.open_peers == 0)
    assert ends == []
    line.leave()


async def test_a_connection_without_frames_is_let_go(house: House) -> None:
    """Who vanishes, or films nothing, holds no place."""
    grant = await house.open()
    async with house.device(grant) as way:
        await asyncio.wait_for(way.closed.wait(), 10)
    await house.until(lambda: house.peers.open_peers == 0)


async def test_audio_and_further_videos_are_refused(house: House) -> None:
    """They are declined in the answer: nobody listens, and nothing is decoded."""
    grant = await house.open()
    connection = await offered(AudioStreamTrack(), VideoStreamTrack(), VideoStreamTrack())
    answer = await house.peers.answer(
        grant.stream_id, grant.client_token, connection.localDescription.sdp
    )
    sections = answer.split("\r\nm=")[1:]
    assert [section.split(" ")[0] for section in sections] == [
        "audio",
        "video",
        "video",
        "application",
    ]
    directions = [
        next(word for word in ("inactive", "recvonly", "sendrecv") if f"a={word}" in section)
        for section in sections[:3]
    ]
    assert directions == ["inactive", "recvonly", "inactive"]
    await connection.close()


async def test_offers_that_are_none(house: House) -> None:
    """Garbage, no video, audio only, too long, too many sections: refused, and nothing stays."""
    grant = await house.open()
    audio = await offered(AudioStreamTrack())
    channel = await offered()
    good = await offered(VideoStreamTrack())
    sdp = good.localDescription.sdp
    broken = ["m=video", sdp.replace("VP8", "XX").replace("H264", "YY"), sdp[: len(sdp) // 2]]
    broken += [sdp + "m=video 9 X 1\r\n" * 9, sdp + "a=x\r\n" * 20_000, "\x00" * 100]
    broken += [audio.localDescription.sdp, channel.localDescription.sdp]
    for offer in broken:
        with pytest.raises(BadRequest):
            await house.peers.answer(grant.stream_id, grant.client_token, offer)
    await house.until(lambda: house.peers.open_peers == 0)
    for connection in (audio, channel, good):
        await connection.close()


async def test_offers_at_once_are_bounded() -> None:
    """One too many is told to come back."""
    house = House(PeerLimits(offers_at_once=1))
    grant, other = await house.open(), await house.open("s-2")
    first, second = await offered(VideoStreamTrack()), await offered(VideoStreamTrack())
    outcomes = await asyncio.gather(
        house.peers.answer(grant.stream_id, grant.client_token, first.localDescription.sdp),
        house.peers.answer(other.stream_id, other.client_token, second.localDescription.sdp),
        return_exceptions=True,
    )
    assert [isinstance(one, Overloaded) for one in outcomes] == [False, True]
    for connection in (first, second):
        await connection.close()
    await house.peers.aclose()
    await house.hub.aclose()


async def test_a_picture_that_is_too_large_is_never_decoded() -> None:
    """The decoder refuses it; the connection ends for want of frames."""
    house = House(PeerLimits(idle_s=1.0, video=VideoLimits(pixels=160 * 120)))
    grant = await house.open()
    async with house.device(grant) as way:
        for shot in range(3):
            await way.send(picture(200, shot))
        await asyncio.wait_for(way.closed.wait(), 10)
    assert house.events == []
    await house.peers.aclose()
    await house.hub.aclose()


async def test_a_flood_of_frames_is_not_decoded() -> None:
    """Thirty frames a second for three seconds: the allowance is decoded, and samples go on."""
    limits = VideoLimits(frames_at_once=10, frames_per_s=4, reopen_frames=2)
    house = House(PeerLimits(video=limits))
    grant = await house.open()
    async with house.device(grant) as way:
        (peer,) = house.peers._peers
        for shot in range(90):
            await way.send(picture(200, shot))
            await asyncio.sleep(1 / 30)
        track = peer._track
        assert track is not None
        assert track.received >= 60
        assert track.decoded <= 10 + 4 * 5
        assert house.hub.counts["accepted"] >= 3
    await house.peers.aclose()
    await house.hub.aclose()


async def test_over_http_with_tokens_and_a_megabyte(house: House) -> None:
    """Wrong tokens, a stream that is gone and an SDP of a megabyte each get their answer."""
    grant, other = await house.open(), await house.open("s-2")
    connection = await offered(VideoStreamTrack())
    offer = {"sdp": connection.localDescription.sdp, "type": "offer"}
    async with listening(house.app) as url, httpx.AsyncClient(base_url=url) as http:

        async def post(token: str, body: Any = offer) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return (await http.post(grant.offer_path, json=body, headers=headers)).status_code

        assert await post("") == 401
        assert await post("rubbish") == 401
        assert await post(other.client_token) == 401
        assert await post(grant.client_token, {"sdp": "x" * 1_000_000}) == 413
        assert await post(grant.client_token, {"sdp": "x" * 100_000}) == 400
        assert await post(grant.client_token, {"sdp": 5}) == 422
        assert await post(grant.client_token, {"sdp": offer["sdp"], "type": "answer"}) == 422
        assert await post(grant.client_token) == 200
        await house.hub.close_stream(grant.stream_id)
        assert await post(grant.client_token) == 410
    await connection.close()


async def test_a_client_hears_why_there_is_no_connection(house: House) -> None:
    """The Python client raises what the service says, or that nothing came about."""
    grant = await house.open()
    bad = StreamGrant(**{**vars_of(grant), "client_token": "rubbish"})
    with pytest.raises(Unauthorised):
        async with house.device(bad):
            pass
    await house.hub.close_stream(grant.stream_id)
    with pytest.raises(StreamGone):
        async with house.device(grant):
            pass
    grant = await house.open()
    with pytest.raises((ServiceUnreachable, BenrenError)):
        async with house.device(grant, connect_s=0.0):
            pass


def vars_of(grant: StreamGrant) -> dict[str, Any]:
    """The fields of a grant."""
    return {name: getattr(grant, name) for name in StreamGrant.__slots__}
