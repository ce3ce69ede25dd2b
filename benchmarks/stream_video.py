"""The way of video: from an offer to its first decoded frame, and what a learner's video costs.

Both sides are aiortc on loopback; the sender encodes in a process of its own, so that the
processor time of this one is the receiver's. aiortc leaves loopback out: it is told to use it.
"""

from __future__ import annotations

import asyncio
import fractions
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import aioice.ice
import cv2
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from benchmarks.memory import resident_mb
from benchmarks.timing import Json, percentiles
from verifier.clock import SystemClock
from verifier.keys import KeyRing
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import Person, ScriptedEngine, ScriptedVault
from verifier.streaming.webrtc import Peers
from verifier.types import PresencePolicy, StreamGrant, StreamSpec

FAST_S: Final = 1.0
"""At fifteen frames a second, then at one."""


class Seeing(ScriptedEngine):
    """Sees a face in every frame, at no cost: what is measured is the way, not the networks."""

    async def detect(self, frames: Sequence[Any], **how: Any) -> Any:
        """See one."""
        for frame in frames:
            self._scenes[frame.digest] = [Person(who="li")]
        while len(self._scenes) > 64:
            del self._scenes[next(iter(self._scenes))]
        return await super().detect(frames, **how)


def measure(pictures: Sequence[str], *, offers: int, seconds: float, learners: int) -> Json:
    """Offer `offers` times, then let `learners` send a frame a second for `seconds`."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    sender = multiprocessing.get_context("spawn").Process(
        target=_sender, args=(theirs, list(pictures)), daemon=True
    )
    sender.start()
    try:
        return asyncio.run(_measure(ours, offers=offers, seconds=seconds, learners=learners))
    finally:
        sender.terminate()
        sender.join()


async def _measure(line: Connection, *, offers: int, seconds: float, learners: int) -> Json:
    clock = SystemClock()
    limits = StreamLimits(token_life_ms=86_400_000, idle_ms=86_400_000)
    hub = StreamHub(
        Seeing(),
        ScriptedVault(),
        KeyRing.generate(clock),
        clock=clock,
        draw=lambda: 0.999,
        limits=limits,
    )

    async def sink(_: Any) -> None:
        """Take an event."""

    hub.subscribe(sink)
    peers = Peers(hub)
    first_ms = []
    for number in range(offers):
        grant = await _open(hub, f"offer-{number}")
        first_ms.append(await _first_frame(hub, peers, line, grant))
        await _tell(line, "close")
        await hub.close_stream(grant.stream_id)
    await asyncio.sleep(1.0)
    before_mb = resident_mb()
    for number in range(learners):
        await _first_frame(hub, peers, line, await _open(hub, f"learner-{number}"))
    await asyncio.sleep(5.0 + FAST_S)
    spent_s, began_s = time.process_time(), time.monotonic()
    decoded = sum(peer._track.decoded for peer in peers._peers if peer._track is not None)
    halfway_mb = resident_mb()
    await asyncio.sleep(seconds)
    cores = (time.process_time() - spent_s) / (time.monotonic() - began_s)
    frames = sum(peer._track.decoded for peer in peers._peers if peer._track is not None) - decoded
    after_mb = resident_mb()
    await _tell(line, "close")
    await peers.aclose()
    await hub.aclose()
    return {
        "offers": offers,
        "offer_to_first_frame_ms": percentiles(first_ms),
        "learners": learners,
        "seconds": seconds,
        "frames_per_s_each": frames / seconds / learners,
        "core_share_each": cores / learners,
        "memory_mb_each": (after_mb - before_mb) / learners,
        "growth_mb_each": (after_mb - halfway_mb) / learners,
    }


async def _open(hub: StreamHub, session: str) -> StreamGrant:
    return await hub.open_stream(
        StreamSpec(
            session_id=session,
            subject="li",
            template=b"template of li",
            policy=PresencePolicy(gap_ms=60_000),
        )
    )


async def _first_frame(hub: StreamHub, peers: Peers, line: Connection, grant: StreamGrant) -> float:
    """Have the sender offer; gives the time from its offer to the first sample."""
    seen = hub.counts["accepted"]
    offer = await _tell(line, "offer")
    began_s = time.monotonic()
    answer = await peers.answer(grant.stream_id, grant.client_token, str(offer))
    await _tell(line, answer)
    while hub.counts["accepted"] == seen:
        if time.monotonic() - began_s > 20:
            raise RuntimeError("No frame came within 20 s.")
        await asyncio.sleep(0.002)
    return (time.monotonic() - began_s) * 1_000


async def _tell(line: Connection, word: str) -> Any:
    line.send(word)
    return await asyncio.to_thread(line.recv)


class _Film(MediaStreamTrack):
    """Pictures in turns: fast at first, then one a second."""

    kind = "video"

    def __init__(self, pictures: Sequence[np.ndarray[Any, Any]], number: int) -> None:
        super().__init__()
        self._pictures = pictures
        self._number = number
        self._began_s: float | None = None
        self._due_s = 0.0

    async def recv(self) -> Any:
        """Give the next frame when it is due."""
        from av import VideoFrame  # noqa: PLC0415

        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        await asyncio.sleep(max(self._began_s + self._due_s - now_s, 0))
        pixels = self._pictures[self._number % len(self._pictures)]
        frame = VideoFrame.from_ndarray(pixels, format="bgr24")
        frame.pts = int(self._due_s * 90_000)
        frame.time_base = fractions.Fraction(1, 90_000)
        self._number += 1
        self._due_s += 1 / 15 if self._due_s < FAST_S else 1.0
        return frame


def _sender(line: Connection, paths: list[str]) -> None:
    """Be all the devices, in a process of its own."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    read = [cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) for path in paths]
    pictures = [np.asarray(one, np.uint8) for one in read if one is not None]
    asyncio.run(_send(line, pictures))


async def _send(line: Connection, pictures: Sequence[np.ndarray[Any, Any]]) -> None:
    connections: list[RTCPeerConnection] = []
    while True:
        word = await asyncio.to_thread(line.recv)
        if word == "offer":
            connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            connection.createDataChannel("benren")
            connection.addTrack(_Film(pictures, len(connections)))
            await connection.setLocalDescription(await connection.createOffer())
            connections.append(connection)
            line.send(connection.localDescription.sdp)
        elif word == "close":
            await asyncio.gather(*(one.close() for one in connections))
            connections.clear()
            line.send("closed")
        else:
            answer = RTCSessionDescription(sdp=word, type="answer")
            await connections[-1].setRemoteDescription(answer)
            line.send("set")


def idle_memory(*, streams: int, hours: float) -> Json:
    """Open streams that send a 20 kB frame every 5 s of compressed time; gives MB for each."""
    return asyncio.run(_idle_memory(streams, hours))


async def _idle_memory(streams: int, hours: float) -> Json:
    from verifier.clock import ManualClock  # noqa: PLC0415
    from verifier.streaming.testing import scene  # noqa: PLC0415

    clock = ManualClock()
    limits = StreamLimits(token_life_ms=10**12)
    hub = StreamHub(
        ScriptedEngine(),
        ScriptedVault(),
        KeyRing.generate(clock),
        clock=clock,
        draw=lambda: 0.999,
        limits=limits,
    )

    async def sink(_: Any) -> None:
        """Take an event."""

    hub.subscribe(sink)
    before_mb = resident_mb()
    grants = [await _open(hub, f"s-{number}") for number in range(streams)]
    curve = []
    frames = int(hours * 720)
    for seq in range(1, frames + 1):
        clock.advance(5_000)
        for number, grant in enumerate(grants):
            picture = scene("li", shot=seq * streams + number) + b" " * 20_000
            await hub.push_frame(grant.stream_id, grant.client_token, seq=seq, data=picture)
        if seq % 60 == 0:
            curve.append((resident_mb() - before_mb) / streams)
    await hub.aclose()
    return {"streams": streams, "hours": hours, "memory_mb_each": curve}
