"""Similarity maps between a frame and a square crop, and warps by them that do not alias.

Pixel centres lie at whole numbers: the edges of a square of `n` pixels are at -0.5 and n - 0.5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.types import Image


def halvings(factor: float) -> int:
    """Say what `halved` does for a factor: the power of 2 that leaves 1 to 2 of it.

    Bilinear sampling reads 2 x 2 pixels: shrunk by more than 2, it skips some.
    """
    return 1 << max(int(math.log2(factor)), 0) if factor > 0 else 1


def halved(pixels: Image, factor: float) -> tuple[Image, int]:
    """Halve a picture by the mean of 2 x 2 pixels until `factor` is below 2; also by how much.

    The picture is (H, W, 3) or (H, W) uint8 in any order of colours, and comes out so; `factor` is
    how many of its pixels go into one of what will be made of it, along a side. It is never halved
    below 1 px, and given back itself where there is nothing to halve.
    OpenCV averages 2 x 2 pixels twenty times as fast as areas of any other size. An odd last row
    or column is left out; where pixels of the result lie in the picture does not change by that.
    """
    times, wanted = 1, halvings(factor)
    while times < wanted and min(pixels.shape[:2]) >= 2:
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = np.asarray(
            cv2.resize(
                pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA
            ),
            dtype=np.uint8,
        )
        times *= 2
    return pixels, times


def crop_matrix(
    centre: tuple[float, float], side: float, angle: float, target: int
) -> NDArray[np.float64]:
    """Map a square of `side` px about `centre`, turned by `angle` (radians), to `target` px."""
    scale = target / side
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    middle = target / 2 - 0.5
    x, y = centre
    return np.array([[c, s, middle - c * x - s * y], [-s, c, middle + s * x - c * y]])


def warp(pixels: Image, matrix: NDArray[np.float64], target: int) -> Image:
    """Warp a frame (H, W, 3) uint8 by `matrix` (2, 3) to (target, target, 3), black outside.

    Only the part that is needed is touched; where it shrinks by 2 or more, by halves first.
    """
    factor = 1.0 / max(math.hypot(matrix[0, 0], matrix[1, 0]), 1e-6)
    x0, y0, x1, y1 = _needed(pixels, matrix, target, margin=2 * factor + 2)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((target, target, 3), dtype=np.uint8)
    part = pixels[y0:y1, x0:x1]
    matrix = _compose(matrix, np.array([[1.0, 0.0, x0], [0.0, 1.0, y0], [0.0, 0.0, 1.0]]))
    part, times = halved(part, factor)
    if times > 1:
        # Pixel centres at whole numbers: the middle of the first square is at (times - 1) / 2.
        middle = (times - 1) / 2
        matrix = _compose(matrix, np.array([[times, 0, middle], [0, times, middle], [0, 0, 1.0]]))
    return np.asarray(
        cv2.warpAffine(part, matrix, (target, target), flags=cv2.INTER_LINEAR), dtype=np.uint8
    )


def _needed(
    pixels: Image, matrix: NDArray[np.float64], target: int, *, margin: float
) -> tuple[int, int, int, int]:
    """Bound the part of the frame that the crop shows: x0, y0, x1, y1, ends excluded."""
    inverse = np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float64)
    edge = target - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [-0.5, edge], [edge, edge]])
    points = corners @ inverse[:, :2].T + inverse[:, 2]
    height, width = pixels.shape[:2]
    low = np.floor(points.min(axis=0) - margin)
    high = np.ceil(points.max(axis=0) + margin) + 1
    x0, y0 = (int(v) for v in np.clip(low, 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(high, 0, (width, height)))
    return x0, y0, x1, y1


def _compose(matrix: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply `first` (3, 3), then `matrix` (2, 3)."""
    return np.asarray(matrix @ first, dtype=np.float64)
