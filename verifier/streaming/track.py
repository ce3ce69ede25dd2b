"""Whether the face of this sample continues the face of the last one: a pure rule.

Samples lie about 5 s apart, so a person has moved meanwhile, and the rule can only notice what
is plain: nobody there, a face elsewhere, a face of another size, a hole in time. A swap in the
very same place within one period is beyond it (seen: a cut in a film from one face to another,
0.3 sides apart); that is what the randomly drawn identity samples are for. A break costs no more
than one further identity sample, so in doubt the rule breaks.

The face continues where its centre moved by at most 0.75 of its own side and it grew or shrank by
at most half; a side is the square root of the box's area. The constants are our choice: leaning in
or back, or shifting on a chair, stays within; another seat does not. (Measured on a person who
moves about in front of a microphone, 4 s apart: grown by 1.11 at most.) Boxes are compared in
units of the picture's longer side, so that a camera which lowers its resolution breaks no track.

Where a face joins or leaves while the followed one stays, the track goes on, but it is a moment
in which people may have changed places: it is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import TypeAlias

from verifier.clock import Stamp
from verifier.types import Face

Box: TypeAlias = tuple[float, float, float, float]
"""x, y (top left), width, height, in units of the picture's longer side."""

MAX_SHIFT = 0.75
MAX_GROWTH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What is remembered from one sample to the next."""

    number: int = 0
    """The number given last; 0 before the first face."""
    box: Box | None = None
    """Where the followed face was in the last sample; None where there was none."""
    at: Stamp | None = None
    """When the last sample arrived."""
    faces: int = 0
    """How many faces the last sample showed."""

    @property
    def visible(self) -> int:
        """The number of the track in view, 0 where the last sample showed no face."""
        return 0 if self.box is None else self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one sample does to the track."""

    track: Track
    """To be remembered."""
    fresh: bool
    """Whether a new track begins with this sample (its number counted up)."""
    company_changed: bool = False
    """Whether the followed face is now among more or fewer others than before."""


def follow(
    track: Track, faces: Sequence[Face], *, longer_side_px: int, at: Stamp, gap_ms: int
) -> Sighting:
    """Follow one face from `track` to `faces`, which lie in a picture of that size.

    Among several faces the one that moved least is followed, and the first (the largest) where
    none continues. After more than `gap_ms` without a sample nothing continues.
    """
    if not faces:
        return Sighting(track=Track(number=track.number, at=at), fresh=False)
    boxes = [relative(face, longer_side_px) for face in faces]
    last = track.box
    if last is not None and track.at is not None and at.ms_since(track.at) <= gap_ms:
        going_on = [box for box in boxes if continues(last, box)]
        if going_on:
            nearest = min(going_on, key=lambda box: _shift(last, box))
            return Sighting(
                track=Track(number=track.number, box=nearest, at=at, faces=len(faces)),
                fresh=False,
                company_changed=len(faces) != track.faces,
            )
    begun = Track(number=track.number + 1, box=boxes[0], at=at, faces=len(faces))
    return Sighting(track=begun, fresh=True)


def anchored(track: Track, face: Face, *, longer_side_px: int) -> Track:
    """Follow `face` from here on, under the same number: identity was seen on it just now."""
    return replace(track, box=relative(face, longer_side_px))


def relative(face: Face, longer_side_px: int) -> Box:
    """Give the face's box in units of the picture's longer side."""
    x, y, width, height = face.box
    return (
        x / longer_side_px,
        y / longer_side_px,
        width / longer_side_px,
        height / longer_side_px,
    )


def continues(before: Box, after: Box) -> bool:
    """Tell whether one face can have moved from `before` to `after` between two samples."""
    small, large = sorted((_side(before), _side(after)))
    return _shift(before, after) <= MAX_SHIFT and large <= MAX_GROWTH * small


def _side(box: Box) -> float:
    return sqrt(box[2] * box[3])


def _shift(before: Box, after: Box) -> float:
    """Distance of the centres, in mean sides."""
    dx = after[0] + after[2] / 2 - before[0] - before[2] / 2
    dy = after[1] + after[3] / 2 - before[1] - before[3] / 2
    mean = (_side(before) + _side(after)) / 2
    return hypot(dx, dy) / mean if mean > 0 else float("inf")
