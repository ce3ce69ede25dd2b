"""Frames over real WebSockets on loopback: cues, takeovers, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benren.problems import ServiceUnreachable
from benren.server import listening
from benren.ways import SocketWay
from verifier.api.streams import stream_rules, streams_router
from verifier.clock import ManualClock
from verifier.edge import ApiKeys, KeyScope, install_edge, new_api_key
from verifier.errors import StreamTakenOver, Unauthorised
from verifier.keys import KeyRing
from verifier.streaming.advice import Advice
from verifier.streaming.cues import Prompt, Turn
from verifier.streaming.framing import HEADER, MAGIC
from verifier.streaming.hub import StreamHub
from verifier.streaming.testing import ScriptedEngine, ScriptedVault, scene
from verifier.streaming.ways import End
from verifier.streaming.websocket import SocketLimits
from verifier.types import EventKind, StreamEvent, StreamGrant, StreamSpec

LIMITS = SocketLimits(read_s=0.3, excess_frames=40, idle_s=5.0)


class House:
    """The stream routes behind the real edge, on a real port."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.hub = StreamHub(
            ScriptedEngine(),
            ScriptedVault(),
            KeyRing.generate(clock),
            clock=clock,
            draw=lambda: 0.999,
        )
        self.events: list[StreamEvent] = []
        self.hub.subscribe(self.sink)
        self.app = FastAPI()
        self.app.include_router(streams_router(self.hub, socket_limits=LIMITS))
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

    async def open(self, session: str = "s-1") -> StreamGrant:
        """Open a stream for li."""
        spec = StreamSpec(session_id=session, subject="li", template=b"template of li")
        return await self.hub.open_stream(spec)

    def connect(self, grant: StreamGrant, *, token: str | None = None) -> connect:
        """Open a socket as a device does."""
        protocols = ["benren.v1", f"token.{grant.client_token if token is None else token}"]
        return connect(
            self.url.replace("http", "ws") + grant.socket_path,
            subprotocols=protocols,
            proxy=None,
            compression=None,
        )


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def framed(seq: int, picture: bytes, *, captured_ms: int = 0) -> bytes:
    """One message."""
    return HEADER.pack(MAGIC, seq, captured_ms) + picture


async def heard(connection: ClientConnection) -> dict[str, Any]:
    """The next cue."""
    async with asyncio.timeout(5):
        return dict(json.loads(await connection.recv()))


async def closed(connection: ClientConnection) -> int:
    """The code with which the service ended the connection, whatever it said before."""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
        await connection.wait_closed()
    assert connection.close_code is not None
    return connection.close_code


@pytest.fixture
async def house(clock: ManualClock) -> AsyncIterator[House]:
    """A running verifier."""
    made = House(clock)
    async with listening(made.app) as url:
        made.url = url
        yield made
        await made.hub.aclose()


async def test_a_lesson_over_a_socket(house: House) -> None:
    """Every frame gets its cue, in the shape of all transports; the events are those of uploads."""
    grant = await house.open()
    async with house.connect(grant) as device:
        assert device.subprotocol == "benren.v1"
        for seq in (4, 5, 9):
            house.clock.advance(5_000)
            await device.send(framed(seq, scene("li", shot=seq), captured_ms=1))
            assert await heard(device) == {
                "seq": seq,
                "accepted": True,
                "advice": "ok",
                "period_ms": 5_000,
                "challenge": None,
            }
        await house.hub.settled()
    kinds = [event.kind for event in house.events]
    assert kinds[0] is EventKind.PRESENCE, "what is looked at follows its frame, in its own time"
    assert sorted(kinds) == [EventKind.IDENTITY] + 3 * [EventKind.PRESENCE]
    assert house.hub.counts["skewed"] == 3


async def test_a_challenge_is_pushed(house: House) -> None:
    """Steps arrive without a frame; who connects in the middle hears of it at once."""
    grant = await house.open()
    board = house.hub._find(grant.stream_id).cues
    ends_ms = house.clock.stamp().monotonic_ms + 8_000
    prompts = [
        Prompt(id="c", step=step, steps=2, turn=turn, ends_ms=ends_ms)
        for step, turn in ((1, Turn.LEFT), (2, Turn.UP))
    ]
    async with house.connect(grant) as device:
        await device.send(framed(1, scene("li")))
        await heard(device)
        board.show(prompts[0])
        cue = await heard(device)
        assert (cue["seq"], cue["accepted"], cue["period_ms"]) == (None, None, 250)
        assert cue["challenge"]["turn"] == "left"
        board.show(prompts[1])
        assert (await heard(device))["challenge"]["step"] == 2
    async with house.connect(grant) as device:
        assert (await heard(device))["challenge"]["step"] == 2
        board.show(None)
        cue = await heard(device)
        assert (cue["challenge"], cue["period_ms"]) == (None, 5_000)


async def test_a_second_device_takes_over(house: House) -> None:
    """The first socket is told by its close code; the second goes on."""
    grant = await house.open()
    async with house.connect(grant) as first:
        await first.send(framed(1, scene("li", shot=1)))
        await heard(first)
        async with house.connect(grant) as second:
            assert await closed(first) == End.TAKEN_OVER
            await second.send(framed(1, scene("li", shot=2)))
            assert (await heard(second))["accepted"]


async def test_tokens_that_are_not_good(house: House) -> None:
    """None, somebody else's, one of another session, an expired one: each refused by code 4401."""
    grant, other = await house.open(), await house.open("s-2")
    house.clock.advance(1_000)
    for token in ("", "rubbish", other.client_token):
        async with house.connect(grant, token=token) as device:
            assert await closed(device) == End.UNAUTHORISED
    for _ in range(6):
        house.clock.advance(100_000)
        await house.hub.push_frame(
            other.stream_id,
            (await house.hub.refresh(other.stream_id)).client_token,
            seq=house.clock.stamp().monotonic_ms,
            data=scene("li"),
        )
    async with house.connect(other) as device:
        assert await closed(device) == End.UNAUTHORISED
    async with house.connect(grant) as device:  # idle for ten minutes
        assert await closed(device) == End.GONE


async def test_closing_the_stream_closes_its_socket(house: House) -> None:
    """The tracker's word revokes connection and token."""
    grant = await house.open()
    async with house.connect(grant) as device:
        await device.send(framed(1, scene("li")))
        await heard(device)
        await house.hub.close_stream(grant.stream_id)
        assert await closed(device) == End.GONE
    async with house.connect(grant) as device:
        assert await closed(device) == End.GONE


async def test_a_stream_that_another_one_replaces_closes_its_socket_as_taken_over(
    house: House,
) -> None:
    """Whoever hears it, or comes with the old token, does not come back by himself."""
    grant = await house.open()
    async with house.connect(grant) as device:
        await device.send(framed(1, scene("li")))
        await heard(device)
        await house.hub.close_stream(grant.stream_id, taken_over=True)
        assert await closed(device) == End.TAKEN_OVER
    for token in (None, "rubbish"):
        async with house.connect(grant, token=token) as device:
            assert await closed(device) == End.TAKEN_OVER
    url = house.url + grant.socket_path
    async with SocketWay.open(url, grant.client_token) as way:
        with pytest.raises(StreamTakenOver):
            await way.send(scene("li"))


async def test_without_the_subprotocol_there_is_no_socket(house: House) -> None:
    """A client that speaks something else is refused in the handshake."""
    grant = await house.open()
    with pytest.raises(InvalidStatus):
        async with connect(house.url.replace("http", "ws") + grant.socket_path, proxy=None):
            pass


@pytest.mark.parametrize("message", ["text", b"", b"short", HEADER.pack(b"XXXX", 1, 0) + b"x"])
async def test_what_is_no_frame_ends_the_connection(house: House, message: bytes | str) -> None:
    """Another program, or a mistake: told by code, and the stream is still there."""
    grant = await house.open()
    async with house.connect(grant) as device:
        await device.send(message)
        assert await closed(device) == End.BAD_MESSAGE
    async with house.connect(grant) as device:
        await device.send(framed(1, scene("li")))
        assert (await heard(device))["accepted"]


async def test_a_broken_picture_is_told_and_the_next_one_taken(house: House) -> None:
    """Garbage behind a good header costs that frame only."""
    grant = await house.open()
    async with house.connect(grant) as device:
        for seq in range(1, 4):
            await device.send(framed(seq, b"\xff\xd8" + bytes(seq)))
            cue = await heard(device)
            assert (cue["seq"], cue["accepted"], cue["advice"]) == (seq, False, "unusable")
        await device.send(framed(4, scene("li")))
        assert (await heard(device))["accepted"]


async def test_a_message_that_is_too_long_ends_the_connection(house: House) -> None:
    """More than a picture may have is not even taken in."""
    grant = await house.open()
    async with house.connect(grant) as device:
        with contextlib.suppress(ConnectionClosed):
            await device.send(framed(1, bytes(house.hub.limits.frame_bytes + 1)))
        assert await closed(device) == 1009


async def test_a_flood_is_cut_off_and_the_others_notice_nothing(house: House) -> None:
    """Two hundred frames at once: a few are taken, many refused, then the connection ends."""
    grant, other = await house.open(), await house.open("s-2")
    async with house.connect(grant) as flood, house.connect(other) as quiet:
        with contextlib.suppress(ConnectionClosed):
            for seq in range(200):
                await flood.send(framed(seq, scene("li", shot=seq)))
        await quiet.send(framed(1, scene("li")))
        assert (await heard(quiet))["accepted"]
        assert await closed(flood) == End.FLOODED
        await quiet.send(framed(2, scene("li", shot=2)))
        assert (await heard(quiet))["accepted"]
    assert house.hub.counts["accepted"] <= 5 + 2 + 1


async def test_a_device_that_never_reads_is_let_go(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cues fill the buffers of the network; then it is cut, and nothing of it stays."""
    monkeypatch.setattr("benren.server._UNREAD_MS", 500)
    house = House(clock)
    async with listening(house.app) as house.url:
        await never_read(house)
        await house.hub.aclose()


async def never_read(house: House) -> None:
    """Open a socket, send a frame, and read nothing."""
    grant = await house.open()
    board = house.hub._find(grant.stream_id).cues
    before = open_files() + 1  # the device's own end stays
    device = await house.connect(grant)
    raw = device.transport.get_extra_info("socket")
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2_048)
    device.transport.pause_reading()
    await device.send(framed(1, scene("li")))
    async with asyncio.timeout(20):
        step = 0
        while house.hub._find(grant.stream_id)._way is not None or not step:
            step += 1
            board.show(Prompt(id="c", step=step, steps=9, turn=Turn.UP, ends_ms=10**9))
            await asyncio.sleep(0)
        assert board._listeners == {}
        # The kernel cuts the line, though the device has not closed it.
        while open_files() > before:  # noqa: ASYNC110 - the kernel announces nothing
            await asyncio.sleep(0.05)
    device.transport.abort()


async def test_a_device_that_vanishes_comes_back(house: House) -> None:
    """Without a close frame the way is freed all the same; the stream and its frames are there."""
    grant = await house.open()
    device = await house.connect(grant)
    await device.send(framed(1, scene("li")))
    await heard(device)
    stream = house.hub._find(grant.stream_id)
    device.transport.abort()
    async with asyncio.timeout(5):
        while stream._way is not None:  # noqa: ASYNC110 - what it watches announces nothing
            await asyncio.sleep(0.01)
    house.clock.advance(100_000)
    async with house.connect(grant) as device:
        await device.send(framed(1, scene("li", shot=2)))
        assert (await heard(device))["accepted"]


async def test_an_idle_socket_is_closed(clock: ManualClock) -> None:
    """A connection without a frame holds no place for ever."""
    house = House(clock)
    house.app = FastAPI()
    house.app.include_router(streams_router(house.hub, socket_limits=SocketLimits(idle_s=0.2)))
    async with listening(house.app) as house.url:
        grant = await house.open()
        async with house.connect(grant) as device:
            assert await closed(device) == End.IDLE
        await house.hub.aclose()


async def test_the_python_client_over_a_socket(house: House) -> None:
    """Each picture gets its cue, pushed ones come apart, and the end has its reason."""
    grant = await house.open()
    url = house.url + grant.socket_path
    async with SocketWay.open(url, grant.client_token) as way:
        cue = await way.send(scene("li"), captured_utc_ms=1)
        assert (cue.seq, cue.accepted) == (1, True)
        assert (await way.send(b"\xff\xd8")).advice is Advice.UNUSABLE
        board = house.hub._find(grant.stream_id).cues
        board.show(Prompt(id="c", step=1, steps=3, turn=Turn.UP, ends_ms=10**12))
        assert (await way.cues.get()).challenge is not None
        assert way.cues.latest is not None
        async with SocketWay.open(url, grant.client_token):
            with pytest.raises(StreamTakenOver, match="taken over"):
                await way.send(scene("li", shot=2))
    async with SocketWay.open(url, "rubbish") as way:
        with pytest.raises(Unauthorised):
            await way.send(scene("li", shot=3))
    with pytest.raises(ServiceUnreachable):
        async with SocketWay.open("http://127.0.0.1:9/", "x"):
            pass
