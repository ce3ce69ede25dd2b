"""Crops of faces as networks get them, for proofs: what a graph was rewritten for goes through it.

A proof compares a graph with itself, so where exactly a crop is cut matters little; that it is of
the size, the colours and the content that the network will see matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from verifier.models.drawing import LANDMARKS, draw_face
from verifier.models.warp import crop_matrix, warp

if TYPE_CHECKING:
    from verifier.types import Image, Points

SCALES: Final = (1.0, 3.2, 4.4, 6.2)
"""Sides of square crops over the distance of the eyes: an eye as the iris network gets it, a face
as an embedder, as the mesh and the wide liveness network, and as the other liveness networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A picture with one face."""

    pixels: Image
    """(H, W, 3) uint8 BGR"""
    landmarks: Points
    """(5, 2) px, in the order of `Face.landmarks`."""
    about: str
    """For messages: what it is."""


@cache
def drawn() -> Portrait:
    """Give the drawn face."""
    landmarks = np.asarray(LANDMARKS, dtype=np.float32)
    return Portrait(pixels=draw_face(), landmarks=landmarks, about="a drawn face")


def crops(portraits: Sequence[Portrait], height: int, width: int) -> Image:
    """Cut (n, height, width, 3) uint8 BGR: squares of `SCALES`, or whole pictures of other shapes.

    `portraits` are at least one, and crops follow in their order.
    """
    if height == width:
        cut = [_square(one, scale, width) for one in portraits for scale in SCALES]
    else:
        cut = [_whole(one, height, width) for one in portraits]
    return np.stack(cut)


def _whole(portrait: Portrait, height: int, width: int) -> Image:
    resized = cv2.resize(portrait.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def _square(portrait: Portrait, scale: float, side: int) -> Image:
    right, left = portrait.landmarks[0].astype(np.float64), portrait.landmarks[1].astype(np.float64)
    middle = right if scale <= 1 else portrait.landmarks.mean(axis=0)
    apart = max(float(np.linalg.norm(left - right)), 1.0)
    matrix = crop_matrix((float(middle[0]), float(middle[1])), scale * apart, 0.0, side)
    return warp(portrait.pixels, matrix, side)
