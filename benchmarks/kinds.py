"""The kinds of work that a learner causes, done as the stream does them.

Names follow the credit model: a *presence sample* is decoded, detected and measured; an *identity
sample* is embedded and judged for liveness on top; a *check* looks back on frames whose faces are
known, decodes them again and judges them together. A *whole check* is one request with one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import cv2
import numpy as np

from benchmarks.latency import Bench
from verifier.errors import InferenceFailed
from verifier.pipeline.intake import decode
from verifier.pipeline.savings import last_seen

if TYPE_CHECKING:
    from verifier.types import Face, Frame

CHECK_FRAMES: Final = 5
"""`PresencePolicy.check_frames`."""
DARK: Final = 0.06
"""Factor on the light of a frame that is too dark to judge."""


WORDS: Final[Mapping[str, str]] = {
    "whole": "whole check of one frame",
    "presence": "presence sample, searched in full",
    "tracked": "presence sample that rests on the one before",
    "identity": "identity on top of a presence sample",
    "check": f"check of {CHECK_FRAMES} frames that are there",
    "no_face": "frame without a face",
    "too_dark": "frame too dark to judge",
}
Run: TypeAlias = Callable[[Sequence[int]], object]
"""Does the work once for each of the frames with these numbers, all in one batch."""


def kinds_of(bench: Bench) -> dict[str, Run]:
    """Give every kind of work on the frames of `bench`."""
    engine, reference = bench.engine, bench.reference
    jpegs = bench.jpegs
    decoded = [decode(jpeg) for jpeg in jpegs]
    known = _faces(bench, decoded)
    empty, dark = without_face(jpegs[0]), [darkened(jpeg) for jpeg in jpegs]

    def some(data: Sequence[bytes], turns: Sequence[int]) -> list[Frame]:
        return [decode(data[turn % len(data)]) for turn in turns]

    def whole(data: Sequence[bytes]) -> Callable[[Sequence[int]], object]:
        return lambda turns: engine.assess(some(data, turns), references=[reference] * len(turns))

    def presence(turns: Sequence[int]) -> object:
        frames = some(jpegs, turns)
        return engine.assess(frames, faces=engine.detect(frames), liveness=False, embed=False)

    memory = [last_seen(frame, some) for frame, some in zip(decoded, known, strict=True)]

    def tracked(turns: Sequence[int]) -> object:
        frames = some(bench.later, turns)
        last = [memory[turn % len(memory)] for turn in turns]
        faces = engine.detect(frames, last=last)
        return engine.assess(frames, faces=faces, liveness=False, embed=False)

    def judged(turns: Sequence[int], frames: int) -> object:
        """Judge frames whose faces are known; a check decodes, a sample has just done so."""
        numbers = [(turn + i) % len(jpegs) for turn in turns for i in range(frames)]
        return engine.assess(
            some(jpegs, numbers) if frames > 1 else [decoded[n] for n in numbers],
            faces=[known[n] for n in numbers],
            references=[reference] * len(numbers),
        )

    return {
        "whole": whole(jpegs),
        "presence": presence,
        "tracked": tracked,
        "identity": lambda turns: judged(turns, 1),
        "check": lambda turns: judged(turns, CHECK_FRAMES),
        "no_face": whole([empty]),
        "too_dark": whole(dark),
    }


def _faces(bench: Bench, frames: Sequence[Frame]) -> list[tuple[Face, ...]]:
    found = bench.engine.detect(frames)
    if not all(found):
        raise InferenceFailed("A frame of the benchmark shows no face.")
    return found


def without_face(jpeg: bytes) -> bytes:
    """Give the frame's lower left corner, blurred and blown up: a wall, with its noise."""
    pixels = decode(jpeg).pixels
    height, width = pixels.shape[:2]
    corner = cv2.GaussianBlur(pixels[-40:, :40], (0, 0), 8)
    noise = np.random.default_rng(0).normal(0, 2.5, pixels.shape)
    wall = cv2.resize(corner, (width, height)).astype(np.float64) + noise
    return _encoded(np.clip(wall, 0, 255).astype(np.uint8))


def darkened(jpeg: bytes) -> bytes:
    """Give the frame with nearly no light."""
    return _encoded(cv2.convertScaleAbs(decode(jpeg).pixels, alpha=DARK))


def _encoded(pixels: cv2.typing.MatLike) -> bytes:
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise InferenceFailed("A frame of the benchmark could not be encoded.")
    return bytes(data)
