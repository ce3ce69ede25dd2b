"""Frames over WebRTC: an offer is answered, the newest frame wins, cues leave by a data channel.

The answer receives one video (VP8 or H264), no audio, and the data channel ``benren``, over which
cues are pushed: after the first frame that was taken in, and then whenever advice or challenge
change. The last message says why we end it (``{"end": 4001}``). The way goes live when the
connection does, so that an attempt which fails disturbs no other way. Everything is bounded: offers
in hand, their size and candidates, the time to connect, the time without a frame, the frames
(`video`), the cues that wait to be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)

from verifier.errors import BadRequest, BenrenError, Overloaded, StreamGone
from verifier.streaming.cues import Cue
from verifier.streaming.hub import StreamHub
from verifier.streaming.line import Line
from verifier.streaming.video import Track, VideoLimits
from verifier.streaming.ways import End
from verifier.types import IceServer

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpTransceiver

_log = logging.getLogger(__name__)

CHANNEL: Final = "benren"
_CODECS: Final = ("VP8", "H264", "rtx")
_DUE_SHARE: Final = 0.8
"""A frame so much of the wished time after the last sample is the next one: senders jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Bounds of all peers, and of each."""

    offers_at_once: int = 8
    """Offers in hand; one more is refused as Overloaded."""
    offer_bytes: int = 64 * 1024
    """Browsers' offers of one video have 3 to 10 KB."""
    sections: int = 8
    """Media sections of an offer."""
    candidates: int = 32
    """Addresses of an offer that are tried; more are ignored."""
    answer_s: float = 10.0
    """An offer is answered within this time."""
    connect_s: float = 15.0
    """After its answer a peer is connected within this time, or given up."""
    idle_s: float = 120.0
    """A peer without a frame for so long is let go."""
    parting_s: float = 0.5
    """A device that was told why a connection ends has so long to close it first."""
    unread_bytes: int = 64 * 1024
    """Cues that the device has not taken; more end the connection."""
    workers: int = 2
    """Threads that decode."""
    video: VideoLimits = field(default_factory=VideoLimits)


class Peers:
    """All WebRTC connections of a hub; close it before the hub."""

    def __init__(
        self,
        hub: StreamHub,
        *,
        ice_servers: Sequence[IceServer] = (),
        limits: PeerLimits | None = None,
    ) -> None:
        """`ice_servers` are those that this side uses: none where it can be reached directly."""
        self._hub = hub
        self._ice_servers = [
            RTCIceServer(urls=list(one.urls), username=one.username, credential=one.credential)
            for one in ice_servers
        ]
        self.limits = limits if limits is not None else PeerLimits()
        self._executor = ThreadPoolExecutor(self.limits.workers, thread_name_prefix="video")
        self._peers: set[_Peer] = set()
        self._attempts: dict[str, _Peer] = {}
        """Stream -> the peer that is not connected yet."""
        self._offers = 0

    @property
    def open_peers(self) -> int:
        """Connections that are there or on their way."""
        return len(self._peers)

    async def answer(self, stream_id: str, token: str, sdp: str) -> str:
        """Answer an offer; the way goes live when the connection does.

        Raises StreamGone, Unauthorised, BadRequest, Overloaded.
        """
        self._hub.admit(stream_id, token)
        offer = prepared(sdp, self.limits)
        if self._offers >= self.limits.offers_at_once:
            raise Overloaded("Too many offers are in hand.", retry_after_s=1)
        earlier = self._attempts.pop(stream_id, None)
        if earlier is not None:
            earlier.end(End.TAKEN_OVER)
        peer = _Peer(self, self._hub, stream_id, token)
        self._peers.add(peer)
        self._attempts[stream_id] = peer
        self._offers += 1
        try:
            async with asyncio.timeout(self.limits.answer_s):
                answered = await peer.answer(offer)
        except TimeoutError as error:
            peer.end(End.UNAVAILABLE)
            raise Overloaded("The offer could not be answered in time.") from error
        except BenrenError:
            peer.end(End.BAD_MESSAGE)
            raise
        except Exception as error:
            # Whatever aiortc says of an offer that it cannot work with.
            _log.info("an offer was refused: %r", error)
            peer.end(End.BAD_MESSAGE)
            raise BadRequest(
                "The offer cannot be answered.",
                remedy="Offer one video in VP8 or H264, bundled with the data channel.",
            ) from error
        finally:
            self._offers -= 1
        return answered

    async def aclose(self) -> None:
        """End every connection. For the end of the process."""
        for peer in [*self._peers]:
            peer.end(End.UNAVAILABLE)
        await asyncio.gather(*(peer.over() for peer in [*self._peers]))
        self._executor.shutdown(wait=False)

    def _connection(self) -> RTCPeerConnection:
        return RTCPeerConnection(
            RTCConfiguration(iceServers=self._ice_servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )

    def _connected(self, peer: _Peer) -> None:
        if self._attempts.get(peer.stream_id) is peer:
            del self._attempts[peer.stream_id]

    def _forget(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        self._connected(peer)


class _Peer:
    """One connection, from its offer to its end."""

    def __init__(self, peers: Peers, hub: StreamHub, stream_id: str, token: str) -> None:
        self.stream_id = stream_id
        self._peers = peers
        self._hub = hub
        self._token = token
        self._limits = peers.limits
        self._loop = asyncio.get_running_loop()
        self._connection = peers._connection()
        self._track: Track | None = None
        self._channel: RTCDataChannel | None = None
        self._line: Line | None = None
        self._told = False
        """Whether a frame was taken in, so that the device may hear cues."""
        self._last_sample = float("-inf")
        self._ended: asyncio.Future[End] = self._loop.create_future()
        self._live = asyncio.Event()
        self._closed = asyncio.Event()
        """Set once the device has closed it."""
        self._life: asyncio.Task[None] | None = None
        self._connection.on("track", self._on_track)
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("connectionstatechange", self._on_state)

    def end(self, why: End) -> None:
        """Have the connection end; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(why)
        if self._life is None:
            self._life = self._loop.create_task(self._run(), name="webrtc peer")

    async def over(self) -> None:
        """Return once nothing is left of it."""
        if self._life is not None:
            await asyncio.wait({self._life})

    async def answer(self, offer: str) -> str:
        """Answer, and begin to live."""
        connection = self._connection
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        if self._track is None:
            raise BadRequest("The offer has no video.", remedy="Offer one video track.")
        for transceiver in connection.getTransceivers():
            self._restrict(transceiver)
        await connection.setLocalDescription(await connection.createAnswer())
        if self._life is None:
            self._life = self._loop.create_task(self._run(), name="webrtc peer")
        return str(connection.localDescription.sdp)

    def _restrict(self, transceiver: RTCRtpTransceiver) -> None:
        """Receive the first video only: no audio, no second camera, and send nothing."""
        ours = self._track is not None and transceiver.receiver is self._track.receiver
        transceiver.direction = "recvonly" if ours else "inactive"
        if ours:
            capable = RTCRtpReceiver.getCapabilities("video")
            codecs = [one for one in capable.codecs if one.name in _CODECS] if capable else []
            transceiver.setCodecPreferences(codecs)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind != "video" or self._track is not None:
            return
        (receiver,) = [
            one.receiver
            for one in self._connection.getTransceivers()
            if one.receiver.track is track
        ]
        self._track = Track(
            receiver,
            executor=self._peers._executor,
            wanted=self._is_due,
            limits=self._limits.video,
        )

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("close", self._closed.set)
        if self._told and self._line is not None:
            self._say(self._line.cues.now())

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._live.set()
        elif state in ("failed", "closed"):
            self._closed.set()
            self.end(End.IDLE)

    # --- life ------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Live until the end, and leave nothing behind."""
        frames: asyncio.Task[None] | None = None
        try:
            if not self._ended.done():
                frames = self._loop.create_task(self._carry(), name="webrtc frames")
                doors: set[asyncio.Future[Any]] = {frames, self._ended}
                await asyncio.wait(doors, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if frames is not None:
                frames.cancel()
                (result,) = await asyncio.gather(frames, return_exceptions=True)
                if isinstance(result, Exception):
                    _log.error("a video was not carried", exc_info=result)
            if self._line is not None:
                self._line.cues.forget(self._say)
                self._line.leave()
            if self._ended.done():
                await self._part(self._ended.result())
            with contextlib.suppress(Exception):  # of a peer that is gone
                async with asyncio.timeout(self._limits.answer_s):
                    await self._connection.close()
            self._peers._forget(self)

    async def _part(self, why: End) -> None:
        """Tell the device why, as a close code does: it must know whether to come back.

        It closes when it has heard, or later is closed by us: what is sent last may be lost.
        """
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        channel.send(json.dumps({"end": int(why)}))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.parting_s):
                await self._closed.wait()

    async def _carry(self) -> None:
        """Go live, then push what is due."""
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await self._live.wait()
            self._line = line = self._hub.enter(self.stream_id, self._token, self.end)
        except (TimeoutError, BenrenError):
            return
        finally:
            self._peers._connected(self)
        line.cues.listen(self._say, advice=True)
        seq = 0
        track = self._track
        assert track is not None  # noqa: S101 - an offer without video was refused
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_s):
                    picture = await track.next_picture()
            except TimeoutError:
                return
            if picture is None:
                return
            self._last_sample = self._loop.time()
            seq += 1
            try:
                await line.push(seq=seq, data=picture.jpeg, frame=picture.frame)
            except StreamGone:
                return
            except BenrenError as error:
                _log.info("a video frame was not taken: %s", error)
                continue
            if not self._told:
                self._told = True
                self._say(line.cues.now())

    def _is_due(self) -> bool:
        """Tell whether the stream wants a picture now; asked from the threads that decode."""
        line = self._line
        if line is None:
            return False
        wished_s = line.cues.period_ms / 1_000
        return self._loop.time() - self._last_sample >= _DUE_SHARE * wished_s

    def _say(self, cue: Cue) -> None:
        channel = self._channel
        if not self._told or channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount > self._limits.unread_bytes:
            self.end(End.NOT_READ)
            return
        channel.send(json.dumps(cue.as_json(), separators=(",", ":")))


def prepared(sdp: str, limits: PeerLimits) -> str:
    """Refuse what is no offer of ours, and drop addresses that cannot or need not be tried.

    ``.local`` names are resolved by multicast only, and aiortc waits a second for each.
    """
    if len(sdp) > limits.offer_bytes:
        raise BadRequest(
            f"The offer has more than {limits.offer_bytes} characters.",
            remedy="Offer one video and a data channel only.",
        )
    kept: list[str] = []
    sections = candidates = 0
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections += 1
        if line.startswith("a=candidate:"):
            candidates += 1
            if candidates > limits.candidates or ".local " in line:
                continue
        kept.append(line)
    if not 1 <= sections <= limits.sections:
        raise BadRequest(
            f"The offer has {sections} media sections; 1 to {limits.sections} are allowed.",
            remedy="Offer one video and a data channel only.",
        )
    return "\r\n".join(kept) + "\r\n"
