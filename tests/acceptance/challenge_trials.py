"""Challenges tried on the real networks: a virtual learner, and what is held before the camera.

``python -m tests.acceptance.challenge_trials [tries]`` prints one JSON object per kind of trial.
Time is a clock moved by hand, frames come every 250 ms as from the page; nothing of the server
knows that it is tried out.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from benren.demo.answering import Obedient
from benren.demo.cameras import AS_RECORDED, Camera, as_picture
from benren.demo.poses import PoseStudio, jpeg_of
from tests import virtual_learner
from verifier.clock import ManualClock
from verifier.keys import KeyRing
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.batching import Batcher
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.templates import TemplateVault
from verifier.streaming.challenge import DIRECTIONS
from verifier.streaming.cues import ShownChallenge
from verifier.streaming.hub import StreamHub
from verifier.types import ChallengeRequest, EventKind, StreamEvent, StreamSpec

if TYPE_CHECKING:
    from benren.demo.cameras import Picture

SHARED = Path(__file__).resolve().parents[3] / "shared"
FRAME_MS = 250
SINGER = "singer"
_BEFORE = 3
"""Frames, 5 s apart, before the challenge."""


class Front(Protocol):
    """Whoever or whatever is before the camera in one trial."""

    def frame(self, n: int, t_s: float) -> bytes:
        """Give the `n`-th frame."""
        ...

    def told(self, shown: ShownChallenge, t_s: float) -> None:
        """See the page."""
        ...


@dataclass(slots=True)
class Film:
    """Pictures that loop, whatever is asked; encoded anew each time, as a browser does."""

    pictures: list[Picture]
    first: int = 0

    def frame(self, n: int, t_s: float) -> bytes:
        """Give the picture of this moment."""
        return jpeg_of(self.pictures[(self.first + n) % len(self.pictures)], 80 + n % 15)

    def told(self, shown: ShownChallenge, t_s: float) -> None:
        """A film sees nothing."""


@dataclass(slots=True)
class Learner:
    """The virtual learner."""

    scene: Obedient
    seed: int
    camera: Camera = field(init=False)

    def __post_init__(self) -> None:
        self.camera = Camera(self.scene, seed=self.seed)

    def frame(self, n: int, t_s: float) -> bytes:
        """Film him."""
        return self.camera.frame(n, t_s)

    def told(self, shown: ShownChallenge, t_s: float) -> None:
        """He does what he is asked for."""
        self.scene.told(shown.turn.value, t_s)


class Laboratory:
    """The hub on the real pack, and everybody of the virtual learners enrolled."""

    def __init__(self, batcher: Batcher, clock: ManualClock, faces: Path, models: Path) -> None:
        self._batcher = batcher
        self._clock = clock
        self._faces = faces
        self._keys = KeyRing.generate(clock)
        self._vault = TemplateVault(self._keys, embedder=batcher.models["embedder"], clock=clock)
        self._hub = StreamHub(batcher, self._vault, self._keys, clock=clock)
        self._hub.subscribe(self._sink)
        self._events: list[StreamEvent] = []
        self._trials = 0
        self._studio = PoseStudio.of_store(Store.default(models_dir=models))
        self.names = [*virtual_learner.PHOTOGRAPHS]
        self._blobs: dict[str, bytes] = {}
        self.reliefs = {
            name: self._studio.relief(virtual_learner.photograph(name, faces))
            for name in self.names
        }

    async def _sink(self, event: StreamEvent) -> None:
        if event.kind is EventKind.CHALLENGE:
            self._events.append(event)

    async def close(self) -> None:
        """End the hub."""
        await self._hub.aclose()

    async def _blob(self, name: str) -> bytes:
        if name not in self._blobs:
            photo = (
                (self._faces / "video" / "miranda_reference.png").read_bytes()
                if name == SINGER
                else virtual_learner.id_photo(name, self._faces)
            )
            (frame,) = await self._batcher.decode([photo])
            enrolled = await self._batcher.enrol(frame, strict=False)
            assert enrolled.embedding is not None, (name, enrolled.reasons)
            self._blobs[name] = self._vault.seal(
                subject=name, embedding=enrolled.embedding, quality={}
            )
        return self._blobs[name]

    async def try_out(self, name: str, front: Front) -> StreamEvent:
        """Open a stream of somebody, show a challenge to whatever is there; gives its event."""
        self._trials += 1
        spec = StreamSpec(
            session_id=f"s-{self._trials}", subject=name, template=await self._blob(name)
        )
        grant = await self._hub.open_stream(spec)
        n, t_s, known = 0, 0.0, len(self._events)
        while len(self._events) == known:
            step_ms = 5_000 if n < _BEFORE else FRAME_MS
            self._clock.advance(step_ms)
            t_s += step_ms / 1_000
            n += 1
            cue = await self._hub.push_frame(
                grant.stream_id, grant.client_token, seq=n, data=front.frame(n, t_s)
            )
            if cue.challenge is not None:
                front.told(cue.challenge, t_s)
            if n == _BEFORE:
                request = ChallengeRequest(check_id=f"c-{self._trials}")
                await self._hub.challenge(grant.stream_id, request)
            await asyncio.sleep(0)
        await self._hub.close_stream(grant.stream_id)
        return self._events[-1]

    # --- what is before the camera ---------------------------------------------------------

    def learner(self, number: int) -> tuple[str, Front]:
        """The virtual learner of another person each time."""
        name = self.names[number % len(self.names)]
        return name, Learner(Obedient([self.reliefs[name]], seed=1_000 + number), seed=number)

    def still(self, number: int) -> tuple[str, Front]:
        """One photograph of the right person, filling the frame."""
        name = self.names[number % len(self.names)]
        return name, Film([self.reliefs[name].pixels])

    def loop(self, number: int) -> tuple[str, Front]:
        """The recording of the singer, on and on."""
        film = list(recording(self._faces, 90, 211))[:: 30 * FRAME_MS // 1_000]
        return SINGER, Film(film, first=7 * number)

    def all_sides(self, number: int) -> tuple[str, Front]:
        """A clip of the right person who turns to all sides in a fixed order, on and on."""
        name = self.names[number % len(self.names)]
        dice = random.Random(number)
        straight, turned = dice.randint(3, 12), dice.randint(4, 9)
        scene = Obedient([self.reliefs[name]], seed=number)
        order = [turn.value for turn in DIRECTIONS]
        dice.shuffle(order)
        frames = list(_filmed(scene, order, straight=straight, turned=turned))
        return name, Film(frames, first=dice.randrange(len(frames)))


def _filmed(scene: Obedient, order: list[str], *, straight: int, turned: int) -> Iterator[Picture]:
    """Film somebody who is told to turn to each side, one after the other."""
    camera = Camera(scene, seed=1, lens=AS_RECORDED)
    plan = [turn for side in order for turn in ("centre",) * straight + (side,) * turned]
    for n, turn in enumerate(plan):
        scene.told(turn, n * FRAME_MS / 1_000)
        data = np.frombuffer(camera.frame(n, n * FRAME_MS / 1_000), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture is not None
        yield as_picture(picture)


def recording(faces: Path, first: int, last: int) -> Iterator[Picture]:
    """Read frames of the real clip."""
    capture = cv2.VideoCapture(str(faces / "video" / "white_house_clip.mp4"))
    for number in range(last + 1):
        read, picture = capture.read()
        assert read
        if number >= first:
            yield as_picture(picture)
    capture.release()


@asynccontextmanager
async def laboratory(faces: Path, models: Path) -> AsyncIterator[Laboratory]:
    """Open the laboratory."""
    pack = load_pack("open", Store.default(models_dir=models), Runtime("cpu", threads=1))
    async with Batcher(Engine(pack, load_profile(None)), decode=decode) as batcher:
        made = Laboratory(batcher, ManualClock(), faces, models)
        yield made
        await made.close()


Kind = Callable[[Laboratory, int], tuple[str, Front]]
KINDS: dict[str, Kind] = {
    "virtual learner": Laboratory.learner,
    "still photograph": Laboratory.still,
    "looped recording": Laboratory.loop,
    "turns to all sides in a fixed order": Laboratory.all_sides,
}


async def tally(lab: Laboratory, kind: Kind, tries: int, *, first: int = 0) -> Counter[str]:
    """Count what challenges came to."""
    counts: Counter[str] = Counter()
    for number in range(first, first + tries):
        event = await lab.try_out(*kind(lab, number))
        said = "unanswered" if event.decision is None else str(event.decision)
        counts[said] += 1
        for reason in event.reasons:
            counts[f"because {reason}"] += 1
        if event.since is not None and said == "match":
            counts["seconds"] += event.at.ms_since(event.since) // 1_000
            counts["attempts"] += event.attempts
    return counts


async def main(tries: int) -> None:
    """Print what came of every kind."""
    async with laboratory(SHARED / "faces", SHARED / "models") as lab:
        for name, kind in KINDS.items():
            counts = await tally(lab, kind, tries)
            sys.stdout.write(json.dumps({"kind": name, "tries": tries, **counts}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
