"""A hub on the scripted pipeline, and a camera in front of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import pytest

from verifier.clock import ManualClock
from verifier.keys import KeyRing
from verifier.streaming.cues import Cue
from verifier.streaming.hub import StreamHub
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import Person, ScriptedEngine, ScriptedVault, scene
from verifier.types import PresencePolicy, StreamEvent, StreamGrant, StreamSpec


class Studio:
    """A hub, the events it gave to its sink, and ways to stand before the camera."""

    def __init__(
        self, clock: ManualClock, draw: Callable[[], float], limits: StreamLimits | None = None
    ) -> None:
        self.clock = clock
        self.engine = ScriptedEngine()
        self.keys = KeyRing.generate(clock)
        self.hub = StreamHub(
            self.engine,
            ScriptedVault(),
            self.keys,
            clock=clock,
            draw=draw,
            limits=limits,
        )
        self.events: list[StreamEvent] = []
        self._shot = 0
        self._seq: dict[str, int] = {}

    async def sink(self, event: StreamEvent) -> None:
        """Take an event."""
        self.events.append(event)

    async def open(
        self,
        who: str = "li",
        *,
        session: str = "s-1",
        policy: PresencePolicy | None = None,
        listed: bool = False,
    ) -> StreamGrant:
        """Open a stream for a person's session."""
        spec = StreamSpec(
            session_id=session,
            subject=who,
            template=b"template of " + who.encode(),
            policy=policy if policy is not None else PresencePolicy(),
        )
        return await self.hub.open_stream(spec, listed=listed)

    def picture(self, *people: Person | str) -> bytes:
        """Take a picture that differs in its bytes from every other."""
        self._shot += 1
        return scene(*people, shot=self._shot)

    async def show(self, grant: StreamGrant, *people: Person | str, after_ms: int = 5_000) -> Cue:
        """Wait, then send the next frame of a stream."""
        self.clock.advance(after_ms)
        self._seq[grant.stream_id] = self._seq.get(grant.stream_id, 0) + 1
        cue = await self.hub.push_frame(
            grant.stream_id,
            grant.client_token,
            seq=self._seq[grant.stream_id],
            data=self.picture(*people),
        )
        await self.hub.settled()
        return cue


MakeStudio = Callable[..., Studio]


@pytest.fixture
async def make_studio(clock: ManualClock) -> AsyncIterator[MakeStudio]:
    """Build studios with a sink; they are taken down after the test."""
    made: list[Studio] = []

    def make(
        *,
        draw: Callable[[], float] = lambda: 0.999,
        limits: StreamLimits | None = None,
        sink: bool = True,
    ) -> Studio:
        studio = Studio(clock, draw, limits)
        if sink:
            studio.hub.subscribe(studio.sink)
        made.append(studio)
        return studio

    yield make
    for studio in made:
        await studio.hub.aclose()


@pytest.fixture
def studio(make_studio: MakeStudio) -> Studio:
    """A studio in which no sample is drawn for identity: only owed ones are taken."""
    return make_studio()


@pytest.fixture
def seeded() -> random.Random:
    """The same chances in every run."""
    return random.Random(20261124)
