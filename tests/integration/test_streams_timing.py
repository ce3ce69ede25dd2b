"""No answer's time tells what is due: an order of events, and counts of turns of the loop.

Time is scripted: what is measured is how many turns of the event loop lie between a frame's coming
and its answer's leaving, and in which order things begin. Both are exact, whatever the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from verifier.api.streams import stream_rules, streams_router
from verifier.clock import ManualClock
from verifier.edge import ApiKeys, KeyScope, install_edge, new_api_key
from verifier.keys import KeyRing
from verifier.streaming.framing import FramedPicture, pack
from verifier.streaming.hub import StreamHub
from verifier.streaming.testing import ScriptedEngine, ScriptedVault, scene
from verifier.streaming.ways import End
from verifier.types import (
    CheckRequest,
    EventKind,
    Evidence,
    PresencePolicy,
    StreamEvent,
    StreamGrant,
    StreamSpec,
)

FRAMES = 80
CHECK_SHARE = 0.25


class Watched(ScriptedEngine):
    """A pipeline that notes when identity is looked at, and may be held back there."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self.journal = journal
        self.gate = asyncio.Event()
        self.gate.set()

    async def inspect(self, pictures: Sequence[Any], **how: Any) -> list[Evidence]:
        """Look for identity, once the gate is open."""
        self.journal.append("look")
        await self.gate.wait()
        return await super().inspect(pictures, **how)


class Stage:
    """A hub behind the real edge; a tracker that asks for checks as it hears of frames."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.journal: list[str] = []
        self.engine = Watched(self.journal)
        self.chance = random.Random(4)
        self.hub = StreamHub(
            self.engine,
            ScriptedVault(),
            KeyRing.generate(clock),
            clock=clock,
            draw=random.Random(5).random,
        )
        self.events: list[StreamEvent] = []
        self.checked: set[int] = set()
        self.turns = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.hub.subscribe(self.sink)
        self.app = FastAPI()
        self.app.include_router(streams_router(self.hub))
        _, line = new_api_key("tracker", [KeyScope.VERIFIER])
        install_edge(
            self.app,
            service="verifier",
            api_keys=ApiKeys.parse([line]),
            default=KeyScope.VERIFIER,
            rules=stream_rules(),
        )

    async def sink(self, event: StreamEvent) -> None:
        """Take an event; ask for a check at once, by chance, as the tracker does."""
        self.events.append(event)
        if event.kind is EventKind.PRESENCE and self.chance.random() < CHECK_SHARE:
            self.checked.add(event.frame_seq)
            request = CheckRequest(check_id=f"c{event.frame_seq}")
            self._keep(self.hub.check(event.stream_id, request))

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def open(self) -> StreamGrant:
        """Open a stream of which half of the frames are looked at."""
        spec = StreamSpec(
            session_id="s",
            subject="li",
            template=b"template of li",
            policy=PresencePolicy(identity_share=0.5),
        )
        return await self.hub.open_stream(spec)

    async def tick(self) -> None:
        """Count the turns of the loop."""
        while True:
            await asyncio.sleep(0)
            self.turns += 1

    async def rest(self) -> None:
        """Let everything that was begun come to its end."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.hub.settled()

    @property
    def looked_at(self) -> set[int]:
        """Numbers of the frames that became identity samples."""
        return {one.frame_seq for one in self.events if one.kind is EventKind.IDENTITY}


@pytest.fixture
async def stage(clock: ManualClock) -> AsyncIterator[Stage]:
    """A stage that is cleared afterwards."""
    made = Stage(clock)
    yield made
    made.engine.gate.set()
    await made.rest()
    await made.hub.aclose()


class Uploads:
    """Frames over HTTP."""

    def __init__(self, stage: Stage, grant: StreamGrant) -> None:
        self._stage, self._grant = stage, grant
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self._app, client=("127.0.0.1", 1)),
            base_url="http://127.0.0.1",
        )

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._stage.journal.append("sent")
            await send(message)

        await self._stage.app(scope, receive, noted)

    async def show(self, seq: int, data: bytes) -> None:
        """Send a frame and take its answer."""
        headers = {
            "Authorization": f"Bearer {self._grant.client_token}",
            "Content-Type": "image/jpeg",
            "Benren-Seq": str(seq),
        }
        answer = await self._client.post(self._grant.frames_path, content=data, headers=headers)
        assert answer.json()["accepted"]

    async def close(self) -> None:
        """End."""
        await self._client.aclose()


class Socket:
    """Frames over a WebSocket, as the server hands them to the app."""

    def __init__(self, stage: Stage, grant: StreamGrant) -> None:
        self._stage = stage
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": grant.socket_path,
            "raw_path": grant.socket_path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
            "subprotocols": ["benren.v1", f"token.{grant.client_token}"],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "ws",
            "http_version": "1.1",
            "root_path": "",
            "asgi": {"version": "3.0"},
        }
        self._in.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(stage.app(scope, self._in.get, self._send))

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            self._stage.journal.append("sent")
            self._out.put_nowait(json.loads(message["text"]))

    async def show(self, seq: int, data: bytes) -> None:
        """Send a frame and take its cue."""
        message = pack(FramedPicture(seq=seq, data=data))
        self._in.put_nowait({"type": "websocket.receive", "bytes": message})
        cue = await self._out.get()
        assert (cue["seq"], cue["accepted"]) == (seq, True)

    async def close(self) -> None:
        """End."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._task


class Video:
    """Frames of WebRTC, behind its decoder: told is what the way may tell once a frame is taken."""

    def __init__(self, stage: Stage, grant: StreamGrant) -> None:
        self._stage = stage
        self._line = stage.hub.enter(grant.stream_id, grant.client_token, self._end)

    def _end(self, _: End) -> None:
        pass

    async def show(self, seq: int, data: bytes) -> None:
        """Show a frame."""
        assert (await self._line.push(seq=seq, data=data)).accepted
        self._stage.journal.append("sent")

    async def close(self) -> None:
        """End."""
        self._line.leave()


@contextlib.asynccontextmanager
async def counted(stage: Stage) -> AsyncIterator[None]:
    """Count the turns of the loop meanwhile."""
    ticking = asyncio.create_task(stage.tick())
    try:
        yield
    finally:
        ticking.cancel()


WAYS = pytest.mark.parametrize("way", [Uploads, Socket, Video])


@WAYS
async def test_an_answer_leaves_before_its_frame_is_looked_at(stage: Stage, way: Any) -> None:
    """Be it for a sample or for a check that the tracker asks for at this very frame."""
    grant = await stage.open()
    device = way(stage, grant)
    both = 0
    for seq in range(1, FRAMES):
        stage.clock.advance(5_000)
        stage.journal.clear()
        await device.show(seq, scene("li", shot=seq))
        await stage.rest()
        assert stage.journal[0] == "sent", seq
        assert stage.journal.count("sent") == 1
        assert ("look" in stage.journal) >= (seq in stage.looked_at)
        both += seq in stage.looked_at & stage.checked
    assert both > 5
    await device.close()


@WAYS
async def test_due_or_not_an_answer_takes_the_same_turns(stage: Stage, way: Any) -> None:
    """Exactly the same number, for samples, for checks, for both and for neither."""
    grant = await stage.open()
    device = way(stage, grant)
    took: dict[tuple[bool, bool], set[int]] = {}
    async with counted(stage):
        for seq in range(1, FRAMES):
            stage.clock.advance(5_000)
            before = stage.turns
            await device.show(seq, scene("li", shot=seq))
            turns = stage.turns - before
            await stage.rest()
            if seq > 2:  # the first ones find things that are made once
                due = (seq in stage.looked_at, seq in stage.checked)
                took.setdefault(due, set()).add(turns)
    assert len(took) == 4
    assert len(set.union(*took.values())) == 1, took
    await device.close()


@WAYS
async def test_no_answer_waits_behind_the_looks_before_it(stage: Stage, way: Any) -> None:
    """With samples and checks at a standstill, every frame is answered in the same turns."""
    grant = await stage.open()
    device = way(stage, grant)
    took = set()
    stage.engine.gate.clear()
    async with counted(stage):
        for seq in range(1, 30):
            stage.clock.advance(5_000)
            before = stage.turns
            await device.show(seq, scene("li", shot=seq))
            if seq > 2:
                took.add(stage.turns - before)
            for _ in range(100):
                await asyncio.sleep(0)
    assert stage.journal.count("look") > 3
    assert stage.looked_at == set()
    assert len(took) == 1, took
    stage.engine.gate.set()
    await stage.rest()
    await device.close()
