"""Long runs: the batcher under chance for minutes, and a worker over 20 000 checks."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks import memory
from verifier.errors import BenrenError, InferenceFailed, Overloaded
from verifier.pipeline.batching import Batcher, BatchLimits, Priority
from verifier.types import Evidence, Face, Frame

pytestmark = pytest.mark.soak

SECONDS = 90
CALLERS = 60
PICTURE = np.zeros((2, 2, 3), np.uint8)


class Chance:
    """An engine that fails, dies, dawdles and loses results, by chance."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def detect(self, frames: Sequence[Frame], **_: Any) -> list[tuple[Face, ...]]:
        """Give one face per frame, whose score is in the frame's name."""
        self._stumble()
        return [(face(each.digest),) for each in frames]

    def assess(self, frames: Sequence[Frame], **options: Any) -> list[Evidence]:
        """Name the frame and its reference in the evidence."""
        self._stumble()
        told = [Evidence(digest=each.digest, faces=(face(each.digest),)) for each in frames]
        return told[:-1] if self._chance.random() < 0.01 else told

    def _stumble(self) -> None:
        draw = self._chance.random()
        if draw < 0.02:
            raise SystemExit("a worker dies")
        if draw < 0.04:
            raise MemoryError
        if draw < 0.06:
            raise InferenceFailed("NaN")
        time.sleep(0.0005 if draw < 0.97 else 0.08)


def face(name: str) -> Face:
    """Make a face that says whose it is."""
    return Face(box=(float(name), 0, 1, 1), score=0.9, landmarks=np.zeros((5, 2), dtype=np.float32))


async def test_nobody_hangs_and_nothing_is_mixed_up_under_chance() -> None:
    """Workers die, callers leave, deadlines pass: each gets his answer, or an error, in time."""
    limits = BatchLimits(workers=3, max_batch=8, window_ms=1, max_pending=90, timeout_s=0.5)
    engine: Any = Chance(5)
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    async with Batcher(
        engine, decode=lambda _: Frame(pixels=PICTURE, digest=""), limits=limits
    ) as b:

        async def caller(number: int) -> None:
            chance = random.Random(number)
            turn = 0
            while time.monotonic() < end:
                turn += 1
                names = [
                    str(number * 1_000_000 + turn * 10 + n) for n in range(chance.choice([1, 1, 3]))
                ]
                frames = [Frame(pixels=PICTURE, digest=name) for name in names]
                ask = b.detect if chance.random() < 0.5 else b.assess
                started = time.monotonic()
                call = asyncio.create_task(
                    ask(
                        frames,
                        priority=chance.choice(list(Priority)),
                        timeout_s=chance.choice([None, None, 0.02, 0.0]),
                        owner=str(number % 7),
                    )
                )
                if chance.random() < 0.05:
                    await asyncio.sleep(0.001)
                    call.cancel()
                try:
                    answer: Any = await call
                except asyncio.CancelledError:
                    outcomes["left"] += 1
                except (Overloaded, InferenceFailed) as error:
                    outcomes[type(error).__name__] += 1
                else:
                    outcomes["answered"] += 1
                    seen = [one[0] if ask == b.detect else one.faces[0] for one in answer]
                    assert [one.box[0] for one in seen] == [float(name) for name in names]
                assert time.monotonic() - started < 3
                await asyncio.sleep(chance.random() * 0.004)

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
        for _ in range(50):  # all places are free again, all workers alive
            with pytest.MonkeyPatch.context() as calm:
                calm.setattr(engine, "_stumble", lambda: None)
                frames = [Frame(pixels=PICTURE, digest="7")] * 8
                assert len(await b.detect(frames)) == 8
    assert (
        min(outcomes[name] for name in ("answered", "left", "Overloaded", "InferenceFailed")) > 50
    )
    assert outcomes["answered"] > 2_000
    assert issubclass(InferenceFailed, BenrenError)


@pytest.mark.models
@pytest.mark.faces
def test_a_worker_does_not_grow_over_20_000_checks(faces_dir: object) -> None:
    """At most 600 MB at any time, and over the last third no more than 25 kB per 1 000 checks."""
    assert memory.main(["--checks", "20000", "--faces", str(faces_dir)]) == 0
