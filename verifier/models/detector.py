"""Face detectors: boxes and five landmarks from a batch of pictures of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeAlias

import cv2
import numpy as np

from verifier.errors import BenrenError
from verifier.models.pixels import Pixels
from verifier.types import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.runtime import Network
    from verifier.types import Image

    Candidates: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """Scores (n,), boxes (n, 4) as x, y, width, height, landmarks (n, 5, 2)."""

SCORE_THRESHOLD = 0.6
"""Least confidence of a face; the value of OpenCV's YuNet demonstration is 0.6 to 0.9."""
NMS_IOU = 0.3
"""Boxes that overlap more are one face (OpenCV ``FaceDetectorYN`` default)."""
TOP_K = 1_000
"""Candidates that enter the suppression, a bound on its work."""
MAX_LOG_SIZE = 8.0
"""Of a box in strides: e^8 strides are larger than any picture, and finite."""
MAX_FACES = 50
"""Faces kept per picture, a bound on what follows."""
GRIDS = 128
"""Shapes of levels remembered: those of 40 shapes of pictures, at most 51 kB each."""


class Detector(Protocol):
    """What the pipeline needs of a detector."""

    @property
    def id(self) -> str:
        """``name@sha256`` of the network."""
        ...

    @property
    def sides(self) -> tuple[int, ...] | None:
        """The only square sizes (px) it can take; None where every multiple of 32 will do."""
        ...

    def detect(self, images: Image) -> list[tuple[Face, ...]]:
        """Find the faces in each picture of (B, H, W, 3) uint8 BGR, highest score first.

        Boxes and landmarks are pixels of those pictures. Raises ValueError for another shape or
        dtype, `InferenceFailed` where the network fails.
        """
        ...

    def warm_up(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Run every batch size on pictures of these heights and widths (px) once.

        Raises `ModelTooLarge` where memory runs out, `InferenceFailed` where the network fails.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What YuNet says at one stride of a batch of pictures."""

    stride: int
    grid: NDArray[np.float32]
    """(cells, 2): column and row."""
    scores: NDArray[np.float32]
    """(B, cells)"""
    boxes: NDArray[np.float32]
    """(B, cells, 4): offset of the centre, logarithm of the size; in strides."""
    points: NDArray[np.float32]
    """(B, cells, 10): offsets of the landmarks, in strides."""


class YuNet:
    """YuNet-n (Wu, Peng, Yu 2023), anchor-free, strides 8, 16 and 32.

    Decoding as the authors' ``libfacedetection.train`` and OpenCV's ``FaceDetectorYN`` do it:
    score = sqrt(cls * obj); centre = (cell + offset) * stride; size = exp(.) * stride.
    """

    STRIDES = (8, 16, 32)
    PIXELS = Pixels(rgb=False, mean=0.0, scale=1.0)
    sides: tuple[int, ...] | None = None

    def __init__(self, network: Network, *, score_threshold: float = SCORE_THRESHOLD):
        self._network = network
        self._score_threshold = score_threshold

    @property
    def id(self) -> str:
        """``name@sha256`` of the network."""
        return self._network.id

    def detect(self, images: Image) -> list[tuple[Face, ...]]:
        """Find the faces in each picture of (B, H, W, 3) uint8 BGR with H and W multiples of 32.

        Boxes and landmarks (float32) are pixels of those pictures; highest score first. Raises
        ValueError for another shape or dtype, `InferenceFailed` where the network fails or gives
        NaN, `BenrenError` where it is not YuNet.
        """
        _check_images(images, multiple=32)
        height, width = images.shape[1:3]
        outputs = self._network.run(self.PIXELS.batch(self._network, images))
        if len(outputs) != 4 * len(self.STRIDES):
            raise BenrenError(
                f"{self.id} has {len(outputs)} outputs where YuNet has {4 * len(self.STRIDES)}.",
                remedy="Use the file that the manifest names.",
            )
        n = len(self.STRIDES)
        levels = [
            self._level(stride, outputs[i::n], (height // stride, width // stride))
            for i, stride in enumerate(self.STRIDES)
        ]
        return [self._faces(levels, picture) for picture in range(len(images))]

    def warm_up(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Run every batch size on pictures of these heights and widths (px) once."""
        _warm_up(self._network, sizes)

    def _level(
        self, stride: int, outputs: Sequence[NDArray[np.float32]], cells: tuple[int, int]
    ) -> Level:
        """Score all cells of one level in all pictures, once for the batch."""
        kind, obj, boxes, points = outputs
        scores = np.sqrt(np.clip(kind[:, :, 0], 0, 1) * np.clip(obj[:, :, 0], 0, 1))
        return Level(stride=stride, grid=_grid(*cells), scores=scores, boxes=boxes, points=points)

    def _faces(self, levels: Sequence[Level], picture: int) -> tuple[Face, ...]:
        """Collect the faces of one picture from all levels.

        Only cells that reach the threshold are turned into pixels: of some thousand a handful.
        """
        found = []
        for level in levels:
            above = np.flatnonzero(level.scores[picture] >= self._score_threshold)
            if above.size:
                found.append(_decoded(level, picture, above))
        if not found:
            return ()
        scores, boxes, points = (np.concatenate(part) for part in zip(*found, strict=True))
        return suppress(scores, boxes, points, self._score_threshold)


def _decoded(level: Level, picture: int, cells: NDArray[np.intp]) -> Candidates:
    """Turn class, object, box and landmark outputs of some cells of YuNet into pixels."""
    grid, boxes = level.grid[cells], level.boxes[picture][cells]
    centres = (grid + boxes[:, :2]) * level.stride
    sizes = np.exp(np.minimum(boxes[:, 2:], MAX_LOG_SIZE)) * level.stride
    offsets = level.points[picture][cells].reshape(-1, 5, 2)
    points = (grid[:, None, :] + offsets) * level.stride
    boxes = np.concatenate([centres - sizes / 2, sizes], axis=1)
    return level.scores[picture][cells], boxes, points


class Scrfd:
    """SCRFD with landmarks (Guo et al. 2022) as InsightFace packs carry it.

    Two anchors per cell at strides 8, 16 and 32; distances to the four sides and to the
    landmarks in units of the stride; RGB, (x - mean) / divisor; nine outputs: scores, boxes and
    landmarks of each level. These files fix the batch at 1, so pictures go one by one.
    """

    STRIDES = (8, 16, 32)
    ANCHORS = 2

    def __init__(
        self,
        network: Network,
        *,
        sides: Sequence[int] | None = None,
        score_threshold: float = 0.5,
        mean: float = 127.5,
        divisor: float = 128.0,
    ):
        self._network = network
        self._score_threshold = score_threshold
        self._pixels = Pixels(rgb=True, mean=mean, scale=1 / divisor)
        self.sides: tuple[int, ...] | None = tuple(sides) if sides else None

    @property
    def id(self) -> str:
        """``name@sha256`` of the network."""
        return self._network.id

    def detect(self, images: Image) -> list[tuple[Face, ...]]:
        """Find the faces in each picture of (B, H, W, 3) uint8 BGR, highest score first.

        H and W are multiples of 32, or `sides` where the file fixes them. Boxes and landmarks
        (float32) are pixels of those pictures. Raises ValueError for another shape or dtype,
        `InferenceFailed` where the network fails or gives NaN, `BenrenError` where it has no
        landmarks.
        """
        _check_images(images, multiple=32)
        return [self._detect_one(image) for image in images]

    def warm_up(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Run pictures of these heights and widths (px) once."""
        _warm_up(self._network, sizes)

    def _detect_one(self, image: Image) -> tuple[Face, ...]:
        outputs = self._network.run(self._pixels.batch(self._network, image[None]))
        if len(outputs) != 3 * len(self.STRIDES):
            raise BenrenError(
                f"{self.id} has {len(outputs)} outputs; SCRFD with landmarks has "
                f"{3 * len(self.STRIDES)}.",
                remedy="Use a detector with landmarks; the names of such files end in kps.",
            )
        n = len(self.STRIDES)
        scores, boxes, points = [], [], []
        for i, stride in enumerate(self.STRIDES):
            rows, columns = image.shape[0] // stride, image.shape[1] // stride
            centres = np.repeat(_grid(rows, columns) * stride, self.ANCHORS, axis=0)
            distance = outputs[n + i].reshape(-1, 4) * stride
            low, high = centres - distance[:, :2], centres + distance[:, 2:]
            scores.append(outputs[i].reshape(-1))
            boxes.append(np.concatenate([low, high - low], axis=1))
            offsets = outputs[2 * n + i].reshape(-1, 5, 2) * stride
            points.append(centres[:, None, :] + offsets)
        return suppress(
            np.concatenate(scores),
            np.concatenate(boxes),
            np.concatenate(points),
            self._score_threshold,
            iou=0.4,  # InsightFace's own nms_thresh
        )


def suppress(
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
    points: NDArray[np.float32],
    threshold: float,
    *,
    iou: float = NMS_IOU,
) -> tuple[Face, ...]:
    """Keep faces at or above `threshold`, each once.

    Scores (n,), boxes (n, 4) as x, y, width, height, landmarks (n, 5, 2).
    """
    above = np.flatnonzero(scores >= threshold)
    if not above.size:
        return ()
    rows = np.asarray(
        cv2.dnn.NMSBoxes(
            boxes[above].astype(np.float64).tolist(),
            scores[above].astype(np.float64).tolist(),
            threshold,
            iou,
            top_k=TOP_K,
        ),
        dtype=np.intp,
    ).reshape(-1)
    faces = []
    for row in above[rows[:MAX_FACES]]:
        x, y, width, height = (float(v) for v in boxes[row])
        landmarks = np.ascontiguousarray(points[row], dtype=np.float32)
        landmarks.setflags(write=False)
        faces.append(Face(box=(x, y, width, height), score=float(scores[row]), landmarks=landmarks))
    return tuple(faces)


@lru_cache(maxsize=GRIDS)
def _grid(rows: int, columns: int) -> NDArray[np.float32]:
    """List column and row of each cell, row by row: (rows * columns, 2), read-only."""
    y, x = np.mgrid[:rows, :columns]
    grid = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
    grid.setflags(write=False)
    return grid


def _warm_up(network: Network, sizes: Sequence[tuple[int, int]]) -> None:
    if network.open_sizes:  # else it was warmed up when it was loaded
        for size in sizes:
            network.warm_up(*size)


def _check_images(images: Image, *, multiple: int) -> None:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected (B, H, W, 3) uint8, got {images.shape} {images.dtype}")
    if images.shape[1] % multiple or images.shape[2] % multiple:
        raise ValueError(
            f"height and width must be multiples of {multiple}, got {images.shape[1:3]}"
        )
