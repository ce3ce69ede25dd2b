"""Savings: what is not computed because the answer is known already. Each can be switched off.

A face that is plain to the small look needs no large one; what that could add is a further face of
less than a sixth of the picture, which is a flag at most (and of enrolments, where it is a reason,
nothing is saved).

A stream remembers of its last sample where the faces were and some hundred of its pixels
(`last_seen`), and hands that in with the next one. A near duplicate shows the same faces in the
same places. Otherwise the last boxes are verified by the small look alone, a fifth of the work of
both: where it shows the same faces in about the same places, only the close looks remain, which
place the landmarks as they always do; where it does not, the frame is searched in full. What the
small look cannot see is a further face of less than a fifth of the frame's height: so every sixth
sample of a camera is searched in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.pipeline import detect as detection
from verifier.types import Face, Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.detector import Detector

GRID: Final = (24, 32)
"""Rows and columns of the pixels that are compared."""
SAME_MEAN: Final = 2.0
SAME_MOST: Final = 24
"""Mean and greatest difference of the pixels of a near duplicate, in grey levels. A picture that
is sent again, encoded anew, stays below (seen: 1.5 and 9 at JPEG quality 70); a hand that holds a
phone does not (seen: 6.6 and 68 at the least, in frames 5 s apart)."""


OLDEST: Final = 5
"""So many samples in a row may rest on the one before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Which of them are used. None of them changes a verdict but within the detector's noise."""

    small_looks: bool = True
    """Detect small and place landmarks in close looks; else look at 640 px, once."""
    small_first: bool = True
    """Spare the large look where the small one plainly shows one face."""
    track: bool = True
    """Verify the boxes of the last sample by the small look."""
    duplicates: bool = True
    """Take over the faces of a near duplicate; compute equal frames of one batch once."""
    glances: bool = True
    """Presence on a small copy, and no close look but at faces that the first is not sure of."""
    early_exit: bool = True
    """Do not embed, nor judge for liveness, a face that can be no evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """What is remembered of a camera's last sample."""

    faces: tuple[Face, ...]
    shape: tuple[int, ...]
    """Of its pixels."""
    pixels: NDArray[np.uint8]
    """Some of them, `GRID` x 3, read-only."""
    age: int = 0
    """How many samples in a row may have rested on the one before them."""


def last_seen(frame: Frame, faces: tuple[Face, ...], before: LastSeen | None = None) -> LastSeen:
    """Remember a sample, found with the help of `before`; costs microseconds and 2 kB."""
    age = before.age + 1 if before is not None and before.age < OLDEST else 0
    return LastSeen(faces=faces, shape=frame.pixels.shape, pixels=_some_pixels(frame), age=age)


def is_near_duplicate(frame: Frame, last: LastSeen) -> bool:
    """Tell whether a frame shows what the last one showed, but for its encoding."""
    if frame.pixels.shape != last.shape:
        return False
    difference = np.abs(_some_pixels(frame).astype(np.int16) - last.pixels)
    return float(difference.mean()) <= SAME_MEAN and int(difference.max()) <= SAME_MOST


def detect(
    frames: Sequence[Frame],
    detector: Detector,
    savings: Savings,
    last: Sequence[LastSeen | None] | None = None,
) -> list[tuple[Face, ...]]:
    """Find the faces of each frame, the largest first, with what its camera showed last."""
    found, memory = unchanged(frames, savings, last)
    if savings.track and savings.small_looks and not detector.sides:
        found = _tracked(frames, detector, found, memory)
    rest = [index for index, faces in enumerate(found) if faces is None]
    if rest:
        # Of a camera that is followed the full search is full: the small look sees the others.
        how = savings if last is None else replace(savings, small_first=False)
        searched = _search([frames[index] for index in rest], detector, how)
        for index, faces in zip(rest, searched, strict=True):
            found[index] = faces
    return [faces or () for faces in found]


def unchanged(
    frames: Sequence[Frame], savings: Savings, last: Sequence[LastSeen | None] | None
) -> tuple[list[tuple[Face, ...] | None], list[LastSeen | None]]:
    """Give the faces of near duplicates, None for other frames, and what of `last` may be used."""
    if last is None:
        return [None] * len(frames), [None] * len(frames)
    if len(last) != len(frames):
        raise ValueError(f"{len(frames)} frames, {len(last)} seen before")
    memory = [None if one is None or one.age >= OLDEST else one for one in last]
    found = [
        one.faces
        if savings.duplicates and one is not None and is_near_duplicate(frame, one)
        else None
        for frame, one in zip(frames, memory, strict=True)
    ]
    return found, memory


def _tracked(
    frames: Sequence[Frame],
    detector: Detector,
    found: Sequence[tuple[Face, ...] | None],
    last: Sequence[LastSeen | None],
) -> list[tuple[Face, ...] | None]:
    """Verify the last boxes in the frames that are still open."""
    asked = {
        index: one.faces
        for index, one in enumerate(last)
        if found[index] is None and one is not None and one.faces
        if one.shape == frames[index].pixels.shape
    }
    answers = iter(
        detection.verify([frames[index] for index in asked], list(asked.values()), detector)
    )
    return [next(answers) if index in asked else faces for index, faces in enumerate(found)]


def _search(
    frames: Sequence[Frame], detector: Detector, savings: Savings
) -> list[tuple[Face, ...]]:
    if savings.small_looks or detector.sides:
        return detection.detect(frames, detector, small_first=savings.small_first)
    return detection.detect_large(frames, detector)


def _some_pixels(frame: Frame) -> NDArray[np.uint8]:
    height, width = frame.pixels.shape[:2]
    rows = np.linspace(0, height - 1, GRID[0]).astype(np.intp)
    columns = np.linspace(0, width - 1, GRID[1]).astype(np.intp)
    some = frame.pixels[rows[:, None], columns]
    some.setflags(write=False)
    return some
