"""Presence: what every frame of a stream goes through, and no more than it needs.

Whether a face is there, and the same as before, is seen on a copy of a half or a quarter of the
size; so is the quality of a face that fills it. The close look, which places landmarks for the
embedding, is left to the frames that are looked at (`detect.refine`), a sixth of them: here it is
taken only where the first look is not sure of a face. A face that the first look is sure of stands
whatever the close one says (`detect.SURE_SCORE`), so the faces are the same either way, and where
they are, within the detector's noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.models.warp import halved, warp
from verifier.pipeline import detect as detection
from verifier.pipeline.align import align, similarity
from verifier.pipeline.quality import SIDE
from verifier.pipeline.savings import LastSeen, Savings, unchanged
from verifier.types import AlignedFace, Face, Frame

if TYPE_CHECKING:
    from verifier.models.detector import Detector
    from verifier.types import Evidence, Points

LEAST_SIDE: Final = 320
"""The longer side of a small copy has at least so many pixels: the large look needs 288."""
LEAST_FACE: Final = 20.0
"""Height of a face in the small look from which on its landmarks will do for the quality. (Seen in
24 to 72 px: the same reasons as by close looks; yaw differs by 3 degrees in the median.)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a frame shows at a glance."""

    faces: tuple[Face, ...]
    """In full-frame coordinates, the largest first; landmarks as far as they were needed."""
    evidence: Evidence
    """Faces and quality; no embedding, no liveness."""
    seen: LastSeen
    """To be handed in with the camera's next frame."""
    shown: bytes
    """The fingerprint of a frame with a face, else empty."""
    longer_side_px: int
    frame: Frame | None = None
    """The picture decoded, where it was looked at closely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A frame and a small copy of it."""

    frame: Frame
    copy: Frame
    factor: int
    """How often the copy's sides go into the frame's."""


def shrink(frame: Frame) -> Small:
    """Make a copy whose sides are the frame's over a power of 2, as small as will do."""
    height, width = frame.pixels.shape[:2]
    factor = 1
    while max(height, width) >= 2 * factor * LEAST_SIDE and not (
        height % (2 * factor) or width % (2 * factor)
    ):
        factor *= 2
    if factor == 1:
        return Small(frame=frame, copy=frame, factor=1)
    pixels, _ = halved(frame.pixels, factor)
    pixels.setflags(write=False)
    return Small(frame=frame, copy=replace(frame, pixels=pixels), factor=factor)


def find(
    smalls: Sequence[Small],
    detector: Detector,
    savings: Savings,
    last: Sequence[LastSeen | None] | None,
    *,
    sure: float,
) -> list[tuple[Face, ...]]:
    """Find the faces of each frame, as `savings.detect` does, but for how exactly they are placed.

    A face whose first look scores below `sure` or is small gets its close look here.
    """
    found, memory = unchanged([one.frame for one in smalls], savings, last)
    if savings.track:
        asked = [
            index
            for index, one in enumerate(memory)
            if found[index] is None and one is not None and one.faces
            if one.shape == smalls[index].frame.pixels.shape
        ]
        seen = _look([smalls[index] for index in asked], detector, (detection.SMALL_LOOK,))
        held = [
            (index, some)
            for index, some in zip(asked, seen, strict=True)
            if (one := memory[index]) is not None and detection.same_faces(one.faces, some)
        ]
        placed = _placed([smalls[i] for i, _ in held], [some for _, some in held], detector, sure)
        for (index, some), faces in zip(held, placed, strict=True):
            found[index] = faces if len(faces) == len(some) else None
    rest = [index for index, faces in enumerate(found) if faces is None]
    frames = [smalls[index] for index in rest]
    seen = _look(frames, detector, detection.LOOKS)
    for index, faces in zip(rest, _placed(frames, seen, detector, sure), strict=True):
        found[index] = faces
    return [faces or () for faces in found]


def _look(
    smalls: Sequence[Small], detector: Detector, looks: Sequence[detection.Look]
) -> list[list[Face]]:
    """Take first looks at the copies; coordinates are those of the frames."""
    seen = detection.first_looks([one.copy for one in smalls], detector, looks)
    return [
        [_enlarged(face, one.factor) for face in some]
        for one, some in zip(smalls, seen, strict=True)
    ]


def _placed(
    smalls: Sequence[Small], seen: Sequence[Sequence[Face]], detector: Detector, sure: float
) -> list[tuple[Face, ...]]:
    """Order the faces of each frame; where one is doubtful, look at that frame's closely."""
    placed = [detection.ordered(some) for some in seen]
    doubtful = [
        index
        for index, (one, faces) in enumerate(zip(smalls, placed, strict=True))
        if not all(_is_plain(face, one.frame, sure) for face in faces)
    ]
    refined = detection.refine(
        [smalls[index].frame for index in doubtful], [seen[index] for index in doubtful], detector
    )
    for index, faces in zip(doubtful, refined, strict=True):
        placed[index] = faces
    return placed


def _is_plain(face: Face, frame: Frame, sure: float) -> bool:
    in_look = face.box[3] * detection.SMALL_LOOK.inner / max(frame.pixels.shape[:2])
    return face.score >= max(sure, detection.SURE_SCORE) and in_look >= LEAST_FACE


def _enlarged(face: Face, factor: int) -> Face:
    """Map a face from the copy to the frame; pixel centres lie at whole numbers."""
    if factor == 1:
        return face
    x, y, width, height = face.box
    shift = (factor - 1) / 2
    landmarks = (face.landmarks * factor + shift).astype(np.float32)
    landmarks.setflags(write=False)
    box = (x * factor + shift, y * factor + shift, width * factor, height * factor)
    return Face(box=box, score=face.score, landmarks=landmarks)


def aligned(small: Small, faces: Sequence[Face], template: Points) -> list[AlignedFace]:
    """Cut the canonical crop of each face, from the copy where that has pixels enough."""
    cut = []
    for face in faces:
        matrix = similarity(face.landmarks, template)
        shrinks = 1.0 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6)
        if small.factor == 1 or shrinks < small.factor:
            cut += align([small.frame], [face], template, SIDE)
            continue
        # A pixel of the copy at c lies at c * factor + shift in the frame.
        shift = (small.factor - 1) / 2
        matrix[:, 2] += matrix[:, :2] @ np.array([shift, shift])
        matrix[:, :2] *= small.factor
        crop = warp(small.copy.pixels, matrix, SIDE)
        crop.setflags(write=False)
        cut.append(AlignedFace(crop=crop, face=face))
    return cut
