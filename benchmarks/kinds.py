"""The kinds of work that a learner causes, done as streams do them: by the batcher's own runs.

Names follow the credit model: a *presence sample* is decoded and glanced at, with what its camera
showed before; an *identity sample* is decoded again, its landmarks are refined, it is embedded and
judged for liveness; a *check* does the same on the frames that are there, together (all of them:
that one or the other was an identity sample already is not reckoned with). A *whole check* is one
request with one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import cv2
import numpy as np

from benchmarks.latency import Bench
from verifier.errors import InferenceFailed
from verifier.pipeline.batching import glancer, inspector
from verifier.pipeline.intake import decode
from verifier.pipeline.savings import OLDEST

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Frame

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
    """Give every kind of work on the frames of `bench`. Raises InferenceFailed without a face."""
    engine, reference, jpegs = bench.engine, bench.reference, bench.jpegs
    look, inspect = glancer(engine, decode, False), inspector(engine, decode)
    seen: list[Glance] = list(look([(jpeg, None) for jpeg in jpegs], {}))
    if not all(one.faces for one in seen):
        raise InferenceFailed("A frame of the benchmark shows no face.")
    followed = [one.seen for one in seen]
    rested = [replace(one, age=OLDEST) for one in followed]
    empty, dark = without_face(jpegs[0]), [darkened(jpeg) for jpeg in jpegs]

    def whole(data: Sequence[bytes]) -> Run:
        def run(turns: Sequence[int]) -> object:
            frames: list[Frame] = [decode(data[turn % len(data)]) for turn in turns]
            return engine.assess(frames, references=[reference] * len(turns))

        return run

    def presence(data: Sequence[bytes], last: Sequence[LastSeen]) -> Run:
        def run(turns: Sequence[int]) -> object:
            return look([(data[turn % len(data)], last[turn % len(last)]) for turn in turns], {})

        return run

    def identity(frames: int) -> Run:
        """Look at so many frames for each turn."""

        def run(turns: Sequence[int]) -> object:
            numbers = [(turn + i) % len(jpegs) for turn in turns for i in range(frames)]
            known = [seen[number].evidence for number in numbers]
            pictures = [jpegs[number] for number in numbers]
            return inspect(
                [
                    (picture, one.digest, one.faces, reference)
                    for picture, one in zip(pictures, known, strict=True)
                ],
                {},
            )

        return run

    return {
        "whole": whole(jpegs),
        "presence": presence(jpegs, rested),
        "tracked": presence(bench.later, followed),
        "identity": identity(1),
        "check": identity(CHECK_FRAMES),
        "no_face": whole([empty]),
        "too_dark": whole(dark),
    }


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
