"""Passive liveness networks (MiniFASNet): the crop that each wants, and its probability of live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from verifier.models.pixels import Pixels
from verifier.models.warp import halved, halvings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.runtime import Network
    from verifier.types import Image

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessContract:
    """What a liveness network expects of its crops and how its answer reads."""

    side: int
    """Height and width of a crop, px."""
    geometry: Literal["shifted", "square"]
    """``shifted``: the box scaled about its centre, made smaller and shifted to stay inside the
    frame, then stretched to a square. ``square``: a square on the longer side with reflected
    borders."""
    scale: float
    """Factor on the box."""
    rgb: bool
    """Whether the channels are turned from BGR to RGB."""
    divisor: float
    """Values of 0..255 are divided by it."""
    live_class: int
    """Index of *live* among the logits."""

    @property
    def pixels(self) -> Pixels:
        """What becomes of the pixels of a crop."""
        return Pixels(rgb=self.rgb, mean=0.0, scale=1 / self.divisor)


SHIFTED_2_7 = LivenessContract(
    side=80, geometry="shifted", scale=2.7, rgb=False, divisor=1.0, live_class=1
)
SHIFTED_4_0 = LivenessContract(
    side=80, geometry="shifted", scale=4.0, rgb=False, divisor=1.0, live_class=1
)
"""Both: minivision Silent-Face-Anti-Spoofing, ``src/generate_patches.py`` and its model names."""
SQUARE_1_5 = LivenessContract(
    side=128, geometry="square", scale=1.5, rgb=True, divisor=255.0, live_class=0
)
"""face-antispoof-onnx, ``src/inference/preprocess.py``."""
CONTRACTS = {
    "minifasnet-2.7": SHIFTED_2_7,
    "minifasnet-4.0": SHIFTED_4_0,
    "minifasnet-pad1.5": SQUARE_1_5,
}
"""Contracts by the name that a manifest uses."""


class LivenessNetwork:
    """One liveness network with its contract; without state, safe to share between threads."""

    def __init__(self, network: Network, contract: LivenessContract):
        self._network = network
        self.contract = contract

    @property
    def id(self) -> str:
        """``name@sha256`` of the network."""
        return self._network.id

    @property
    def name(self) -> str:
        """The name without the digest."""
        return self.id.partition("@")[0]

    def crop(self, pixels: Image, box: Box) -> Image:
        """Cut what the network judges from a frame: (side, side, 3) uint8 BGR.

        The frame is (H, W, 3) uint8 BGR, the box x, y, width, height in its pixels; the box may
        stick out of the frame.
        """
        if self.contract.geometry == "shifted":
            return crop_shifted(pixels, box, self.contract.scale, self.contract.side)
        return crop_square(pixels, box, self.contract.scale, self.contract.side)

    def score(self, crops: Image | Sequence[Image]) -> NDArray[np.float32]:
        """Give the probability of live, (B,) float32, 0..1, of (B, side, side, 3) uint8 BGR crops.

        Raises ValueError for crops of another shape or dtype, `InferenceFailed` where the network
        fails or gives NaN.
        """
        pictures = list(crops)
        expected = (self.contract.side, self.contract.side, 3)
        for crop in pictures:
            if crop.shape != expected or crop.dtype != np.uint8:
                raise ValueError(f"expected {expected} uint8, got {crop.shape} {crop.dtype}")
        batch = self.contract.pixels.batch(self._network, pictures)
        logits = np.asarray(self._network.run(batch)[0], dtype=np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        live = odds[:, self.contract.live_class] / odds.sum(axis=1)
        return np.asarray(live, dtype=np.float32)


def crop_shifted(pixels: Image, box: Box, scale: float, side: int) -> Image:
    """Cut the box times `scale`, shifted to stay inside the frame, stretched to a square.

    From (H, W, 3) uint8 BGR to (side, side, 3) of the same; the box is x, y, width, height in
    pixels of the frame, with positive sizes (else ZeroDivisionError).
    Geometry of Silent-Face-Anti-Spoofing, ``src/generate_patches.py``; bilinear, as in training.
    """
    height, width = pixels.shape[:2]
    x, y, box_width, box_height = box
    scale = min((height - 1) / box_height, (width - 1) / box_width, scale)
    x0, x1 = _inside(x + box_width / 2, box_width * scale, width)
    y0, y1 = _inside(y + box_height / 2, box_height * scale, height)
    part = pixels[y0 : y1 + 1, x0 : x1 + 1]
    return np.asarray(
        cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
    )


def _inside(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Place a stretch of `length` around `centre` within 0..limit-1: its first and last pixel."""
    first = min(max(centre - length / 2, 0.0), limit - 1 - length)
    first = max(first, 0.0)
    return int(first), min(int(first + length), limit - 1)


def crop_square(pixels: Image, box: Box, scale: float, side: int) -> Image:
    """Cut a square of `scale` times the longer side of the box, borders reflected.

    From (H, W, 3) uint8 BGR to (side, side, 3) of the same; the box is x, y, width, height in
    pixels of the frame, and may stick out of it.
    """
    height, width = pixels.shape[:2]
    box_x, box_y, box_width, box_height = box
    # A box beyond all reason must not allocate a picture beyond all reason.
    length = min(max(int(max(box_width, box_height) * scale), 1), 3 * max(height, width))
    length -= length % halvings(length / side)
    left = int(box_x + box_width / 2 - length / 2)
    top = int(box_y + box_height / 2 - length / 2)
    # Where the face lies so far outside that nothing can be reflected, clamp the square's place.
    left = min(max(left, 1 - length), width - 1)
    top = min(max(top, 1 - length), height - 1)
    x, across = _reach(left, length, width)
    y, down = _reach(top, length, height)
    part = pixels[y, x]
    if any((*down, *across)):
        part = np.asarray(
            cv2.copyMakeBorder(part, *down, *across, cv2.BORDER_REFLECT_101), dtype=np.uint8
        )
    row, column = top - (y.start - down[0]), left - (x.start - across[0])
    part = part[row : row + length, column : column + length]
    # By halves first, as far as they go: five times as fast, and as good as the same mean.
    part, _ = halved(part, length / side)
    method = cv2.INTER_AREA if length > side else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(part, (side, side), interpolation=method), dtype=np.uint8)


def _reach(first: int, length: int, limit: int) -> tuple[slice, tuple[int, int]]:
    """Say which of 0..limit-1 a stretch shows, itself or mirrored, and how far it sticks out."""
    last = first + length - 1
    before, after = max(-first, 0), max(last - limit + 1, 0)
    start = max(min(first, limit - 1 - after), 0)
    stop = min(max(last, before), limit - 1) + 1
    return slice(start, stop), (before, after)
