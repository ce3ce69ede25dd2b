"""Detect: faces from far to frame-filling at two scales, then a second look for exact landmarks.

Phones fill the frame with the face, webcams show it small: each frame is looked at twice, large
and small, both with a margin so that crops that touch the border are found. A small look costs
landmark accuracy, and landmark accuracy is embedding quality (DESIGN, facts measured), so each
face is looked at again in a crop of its own, together with its mirror image, whose mean has no
left-right bias. What the second look cannot confirm is no face unless the first was sure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.models.warp import crop_matrix, halved, warp
from verifier.types import Face, Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.detector import Detector
    from verifier.types import Image

    Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One scale: the longer side of the picture becomes `inner` px, with a black margin."""

    inner: int
    margin: int


SMALL_LOOK = Look(inner=112, margin=24)
LARGE_LOOK = Look(inner=288, margin=16)
LOOKS = (LARGE_LOOK, SMALL_LOOK)
"""Together they find faces of 8 % to more than 100 % of the frame's height."""
LARGE_LOOKS = (Look(inner=608, margin=16), SMALL_LOOK)
"""What is looked at where nothing is saved: landmarks as a 640 px look gives them."""
MULTIPLE = 32
"""Canvas sizes are multiples of the detectors' largest stride."""
CLOSE_SIDE = 160
CLOSE_SCALE = 1.6
"""The second look: a crop of 1.6 x the longer side of the box, at 160 px. Chosen on lfw10 among
128 to 320 px and 1.5 to 2.6: no worse than a whole 640 px look, at 3 ms for both images."""
CLOSE_FACES = 8
"""The largest faces get a second look; further ones keep the first."""
MIRRORED = (1, 0, 2, 4, 3)
"""Order of the landmarks in a mirror image."""
PLAIN_SHARE = 0.25
"""A face of this share of the picture's longer side is plain to the small look alone."""
SURE_SCORE = 0.85
"""A first look at or above this stands even where the second finds nothing."""
SAME_IOU = 0.35
"""Boxes that overlap more are the same face."""
LEAST_PX = 2.0
"""A box or a set of landmarks that is smaller, in the picture looked at, is noise."""
INSIDE = 0.75
"""A box that lies so far inside a larger one is part of the same face."""


VGA = ((480, 640), (640, 480))
"""Heights and widths of frames that a detector is warmed up for."""


def canvases(detector: Detector, *, small_looks: bool = True) -> list[tuple[int, int]]:
    """List the heights and widths (px) in which the detector gets VGA frames and faces of them."""
    looks, canvas = _looks(detector, small_looks=small_looks)
    sizes = [_canvas(_inner(*size, look), look, canvas) for size in VGA for look in looks]
    close = max(detector.sides) if detector.sides else CLOSE_SIDE
    return list(dict.fromkeys([*sizes, (close, close)]))


def _looks(detector: Detector, *, small_looks: bool) -> tuple[tuple[Look, ...], int | None]:
    """Give the first looks, and the side of their canvas where the detector takes only one."""
    if not detector.sides:
        return (LOOKS if small_looks else LARGE_LOOKS), None
    canvas = max(detector.sides)
    return tuple(Look(inner=round(canvas * share), margin=0) for share in (0.9, 0.4)), canvas


def detect(
    frames: Sequence[Frame], detector: Detector, *, small_first: bool = False
) -> list[tuple[Face, ...]]:
    """Find the faces of each frame, in full-frame coordinates, the largest first.

    Frames of any shapes; those of one letterboxed shape share a batch. With `small_first` the
    large look is spared where the small one plainly shows one face; further faces of less than a
    sixth of the longer side are then not seen.
    """
    looks, canvas = _looks(detector, small_looks=True)
    close_side = canvas or CLOSE_SIDE
    if small_first and not canvas:
        first = _small_first(frames, detector)
    else:
        first = first_looks(frames, detector, looks, canvas)
    return [ordered(faces) for faces in _close_looks(frames, first, detector, close_side)]


def _small_first(frames: Sequence[Frame], detector: Detector) -> list[list[Face]]:
    """Look small, and large only where that does not plainly show one face."""
    found = first_looks(frames, detector, (SMALL_LOOK,))
    rest = [
        index
        for index, (frame, faces) in enumerate(zip(frames, found, strict=True))
        if not _is_plain(faces, frame)
    ]
    large = first_looks([frames[index] for index in rest], detector, (LARGE_LOOK,))
    for index, faces in zip(rest, large, strict=True):
        found[index] = merge([*found[index], *faces])
    return found


def _is_plain(faces: Sequence[Face], frame: Frame) -> bool:
    if len(faces) != 1 or faces[0].score < SURE_SCORE:
        return False
    height, width = frame.pixels.shape[:2]
    return bool(max(faces[0].box[2:]) >= PLAIN_SHARE * max(height, width))


def detect_large(frames: Sequence[Frame], detector: Detector) -> list[tuple[Face, ...]]:
    """Find the same faces by a large look at once, and no close one: three times the work."""
    return [ordered(faces) for faces in first_looks(frames, detector, LARGE_LOOKS)]


def verify(
    frames: Sequence[Frame], known: Sequence[Sequence[Face]], detector: Detector
) -> list[tuple[Face, ...] | None]:
    """Look only small, and close, where faces are expected (`known`, in full-frame coordinates).

    None for a frame that does not plainly show these faces and no other.
    """
    seen = first_looks(frames, detector, (SMALL_LOOK,))
    as_before = [same_faces(faces, some) for some, faces in zip(seen, known, strict=True)]
    confirmed = iter(
        _close_looks(
            [frame for frame, same in zip(frames, as_before, strict=True) if same],
            [some for some, same in zip(seen, as_before, strict=True) if same],
            detector,
            CLOSE_SIDE,
        )
    )
    found = [next(confirmed) if same else [] for same in as_before]
    return [
        ordered(some) if len(some) == len(faces) else None
        for some, faces in zip(found, known, strict=True)
    ]


def refine(
    frames: Sequence[Frame], seen: Sequence[Sequence[Face]], detector: Detector
) -> list[tuple[Face, ...]]:
    """Look closely at faces that a first look has seen; the largest first."""
    side = max(detector.sides) if detector.sides else CLOSE_SIDE
    return [ordered(faces) for faces in _close_looks(frames, seen, detector, side)]


def same_faces(known: Sequence[Face], seen: Sequence[Face]) -> bool:
    """Tell whether a look shows the faces that are known, and no other."""
    return len(seen) == len(known) and all(_same(face, seen) for face in known)


def first_looks(
    frames: Sequence[Frame],
    detector: Detector,
    looks: Sequence[Look],
    canvas: int | None = None,
) -> list[list[Face]]:
    """Look at every frame at every scale; doubles between the scales are merged."""
    by_shape: dict[tuple[int, ...], list[tuple[int, Image, NDArray[np.float64]]]] = defaultdict(
        list
    )
    for index, frame in enumerate(frames):
        for look in looks:
            picture, to_picture = letterbox(frame.pixels, look, canvas)
            by_shape[picture.shape].append((index, picture, to_picture))
    found: list[list[Face]] = [[] for _ in frames]
    for group in by_shape.values():
        answers = detector.detect(np.stack([picture for _, picture, _ in group]))
        for (index, _, to_picture), faces in zip(group, answers, strict=True):
            found[index] += [to_frame(face, to_picture) for face in faces if is_sound(face)]
    return [merge(faces) for faces in found]


def _close_looks(
    frames: Sequence[Frame], found: Sequence[Sequence[Face]], detector: Detector, side: int
) -> list[list[Face]]:
    """Look at each face again in a crop of its own; crops of all frames share a batch."""
    asked: list[tuple[int, Face, NDArray[np.float64]]] = []
    rest: list[list[Face]] = []
    crops: list[Image] = []
    for index, (frame, faces) in enumerate(zip(frames, found, strict=True)):
        ordered = sorted(faces, key=lambda face: -face.box[2] * face.box[3])
        rest.append(ordered[CLOSE_FACES:])
        for face in ordered[:CLOSE_FACES]:
            x, y, width, height = face.box
            centre = (x + width / 2, y + height / 2)
            matrix = crop_matrix(centre, CLOSE_SCALE * max(width, height), 0.0, side)
            crop = warp(frame.pixels, matrix, side)
            asked.append((index, face, matrix))
            crops += [crop, crop[:, ::-1]]
    if not crops:
        return rest
    answers = detector.detect(np.stack(crops))
    for number, (index, face, matrix) in enumerate(asked):
        plain = [to_frame(seen, matrix) for seen in answers[2 * number] if is_sound(seen)]
        mirrored = [
            to_frame(mirror(seen, side), matrix)
            for seen in answers[2 * number + 1]
            if is_sound(seen)
        ]
        views = [view for view in (_same(face, plain), _same(face, mirrored)) if view is not None]
        if views:
            rest[index].append(_mean(views))
        elif face.score >= SURE_SCORE:
            rest[index].append(face)
    return rest


def ordered(faces: Sequence[Face]) -> tuple[Face, ...]:
    """Give each face once, the largest first."""
    return tuple(sorted(merge(faces), key=lambda face: -face.box[2] * face.box[3]))


def letterbox(
    pixels: Image, look: Look, canvas: int | None = None
) -> tuple[Image, NDArray[np.float64]]:
    """Shrink (or grow) a frame to the look, centred on black; also the map (2, 3) to it.

    The canvas has the smallest sides that are multiples of 32 and leave the margin; or it is a
    square of `canvas` px.
    """
    height, width = pixels.shape[:2]
    inner = _inner(height, width, look)
    shape = _canvas(inner, look, canvas)
    out = np.zeros((*shape, 3), dtype=np.uint8)
    top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
    small, times = halved(pixels, max(height, width) / look.inner)
    out[top : top + inner[0], left : left + inner[1]] = cv2.resize(
        small, (inner[1], inner[0]), interpolation=cv2.INTER_LINEAR
    )
    sx, sy = inner[1] / (times * small.shape[1]), inner[0] / (times * small.shape[0])
    # Pixel centres at whole numbers: (x + 0.5) * s - 0.5 + left.
    return out, np.array([[sx, 0, sx / 2 - 0.5 + left], [0, sy, sy / 2 - 0.5 + top]])


def _inner(height: int, width: int, look: Look) -> tuple[int, int]:
    """Give height and width of a frame of that shape in a look, px."""
    scale = look.inner / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _canvas(inner: tuple[int, int], look: Look, canvas: int | None) -> tuple[int, int]:
    """Give height and width of the picture around it, px."""
    if canvas:
        return canvas, canvas
    rows, columns = (
        math.ceil((length + 2 * look.margin) / MULTIPLE) * MULTIPLE for length in inner
    )
    return rows, columns


def to_frame(face: Face, matrix: NDArray[np.float64]) -> Face:
    """Map a face back through an upright map (2, 3) from frame to picture."""
    sx, sy, left, top = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    x, y, width, height = face.box
    box = (float((x - left) / sx), float((y - top) / sy), float(width / sx), float(height / sy))
    landmarks = ((face.landmarks - (left, top)) / (sx, sy)).astype(np.float32)
    return _face(box, face.score, landmarks)


def mirror(face: Face, side: int) -> Face:
    """Turn a face found in a mirror image of `side` px width back."""
    x, y, width, height = face.box
    landmarks = face.landmarks[list(MIRRORED)].copy()
    landmarks[:, 0] = side - 1 - landmarks[:, 0]
    return _face((side - 1 - x - width, y, width, height), face.score, landmarks)


def is_sound(face: Face) -> bool:
    """Tell whether a face has finite numbers, a size, and landmarks that can be aligned by."""
    spread = np.ptp(face.landmarks, axis=0)
    finite = bool(np.isfinite(face.box).all() and np.isfinite(spread).all())
    return finite and min(face.box[2:]) >= LEAST_PX and float(spread.max()) >= LEAST_PX


def merge(faces: Sequence[Face]) -> list[Face]:
    """Keep the surest of faces that are the same: overlapping, or one inside the other.

    All in one frame's coordinates (px); the surest first. Faces must be sound (`is_sound`): a box
    without an area raises ZeroDivisionError.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_is_same(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """Give intersection over union, and intersection over the smaller box: shares, 0..1.

    Boxes are x, y, width, height, in pixels of one picture, with positive sizes.
    """
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0, 0.0
    common = width * height
    first, second = a[2] * a[3], b[2] * b[3]
    return common / (first + second - common), common / min(first, second)


def _is_same(a: Box, b: Box) -> bool:
    union, smaller = overlap(a, b)
    return union > SAME_IOU or smaller > INSIDE


def _same(face: Face, seen: Sequence[Face]) -> Face | None:
    """Pick which of the faces seen in a close crop is the one that was asked for."""
    ranked = max(seen, key=lambda other: overlap(face.box, other.box)[0], default=None)
    if ranked is None or overlap(face.box, ranked.box)[0] < SAME_IOU:
        return None
    return ranked


def _mean(views: Sequence[Face]) -> Face:
    boxes = np.mean([view.box for view in views], axis=0)
    landmarks = np.mean([view.landmarks for view in views], axis=0).astype(np.float32)
    x, y, width, height = (float(v) for v in boxes)
    score = float(np.mean([view.score for view in views]))
    return _face((x, y, width, height), score, landmarks)


def _face(box: Box, score: float, landmarks: NDArray[np.float32]) -> Face:
    landmarks.setflags(write=False)
    return Face(box=box, score=score, landmarks=landmarks)
