"""A stream of a real, moving person through the real pack: batcher, vault and hub together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import pytest

from verifier.clock import ManualClock
from verifier.keys import KeyRing
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.batching import Batcher
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.templates import TemplateVault, embedding_of
from verifier.streaming.advice import Advice
from verifier.streaming.hub import StreamHub
from verifier.streaming.wire import verify_event
from verifier.types import (
    CheckRequest,
    Decision,
    EventKind,
    PresencePolicy,
    StreamEvent,
    StreamSpec,
)

pytestmark = [pytest.mark.models, pytest.mark.faces]

SINGER = range(90, 214, 12)
AUDIENCE = range(218, 274, 12)


class Theatre:
    """The hub on the real pack, the singer enrolled, and the film before the camera."""

    def __init__(self, clock: ManualClock, batcher: Batcher, film: dict[int, bytes]) -> None:
        self.clock = clock
        self.batcher = batcher
        self.keys = KeyRing.generate(clock)
        self.vault = TemplateVault(self.keys, embedder=batcher.models["embedder"], clock=clock)
        self.hub = StreamHub(batcher, self.vault, self.keys, clock=clock, draw=lambda: 0.999)
        self.film = film
        self.events: list[StreamEvent] = []

    async def sink(self, event: StreamEvent) -> None:
        """Take an event."""
        self.events.append(event)

    async def template(self, photo: bytes) -> bytes:
        """Enrol a photograph."""
        (frame,) = await self.batcher.decode([photo])
        embedding = embedding_of(await self.batcher.enrol(frame))
        return self.vault.seal(subject="singer", embedding=embedding, quality={})


@pytest.fixture
def film(faces_dir: Path) -> dict[int, bytes]:
    """The frames that the tests show, as JPEG files."""
    capture = cv2.VideoCapture(str(faces_dir / "video" / "white_house_clip.mp4"))
    found: dict[int, bytes] = {}
    number = 0
    while True:
        read, picture = capture.read()
        if not read:
            return found
        if number in SINGER or number in AUDIENCE:
            found[number] = cv2.imencode(".jpg", picture)[1].tobytes()
        number += 1


@pytest.fixture
async def theatre(
    clock: ManualClock, film: dict[int, bytes], pack_dir: Path
) -> AsyncIterator[Theatre]:
    """A theatre with its doors open."""
    pack = load_pack("open", Store.default(models_dir=pack_dir), Runtime("cpu", threads=1))
    async with Batcher(Engine(pack, load_profile(None)), decode=decode) as batcher:
        made = Theatre(clock, batcher, film)
        made.hub.subscribe(made.sink)
        yield made
        await made.hub.aclose()


async def test_the_singer_and_then_the_audience(theatre: Theatre, faces_dir: Path) -> None:
    """The singer passes sample and check on one track; after the cut nobody passes any more."""
    photo = (faces_dir / "video" / "miranda_reference.png").read_bytes()
    grant = await theatre.hub.open_stream(
        StreamSpec(
            session_id="s-1",
            subject="singer",
            template=await theatre.template(photo),
            policy=PresencePolicy(),
        )
    )

    async def show(number: int) -> Advice:
        theatre.clock.advance(5_000)
        receipt = await theatre.hub.push_frame(
            grant.stream_id, grant.client_token, seq=number, data=theatre.film[number]
        )
        assert receipt.accepted
        await theatre.hub.settled()
        return receipt.advice

    advice = [await show(number) for number in SINGER]
    assert advice.count(Advice.OK) >= len(advice) - 2
    first = next(event for event in theatre.events if event.kind is not EventKind.PRESENCE)
    assert (first.kind, first.decision) == (EventKind.IDENTITY, Decision.MATCH)
    assert {event.track for event in theatre.events} == {1}
    check = await theatre.hub.check(grant.stream_id, CheckRequest(check_id="singer"))
    assert check.decision is Decision.MATCH
    assert len(check.frame_digests) == 5
    assert verify_event(check, theatre.keys)

    for number in AUDIENCE:
        await show(number)
    after = [event for event in theatre.events if event.frame_seq >= AUDIENCE.start]
    looks = [event for event in after if event.kind is EventKind.IDENTITY]
    assert looks
    assert looks[0].frame_seq == AUDIENCE.start
    assert all(event.decision is not Decision.MATCH for event in looks)
    request = CheckRequest(check_id="audience", not_before=after[0].at)
    assert (await theatre.hub.check(grant.stream_id, request)).decision is not Decision.MATCH
