"""A drawn face whose geometry is known: it shows nobody, and ships with the code.

The self-test looks for it with every network; prepared graphs are proven on crops of it where no
photographs are at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from verifier.types import Image

SIZE = 320
"""Side of the picture, px."""
LANDMARKS = ((130, 152), (190, 152), (160, 193), (136, 228), (184, 228))
"""Where the drawing has eyes, nose tip and corners of the mouth, px."""
SUBPIXEL_BITS = 4


def draw_face() -> Image:
    """Draw (SIZE, SIZE, 3) uint8 BGR: a plain frontal face, upright, lit from one side."""
    picture = np.full((SIZE, SIZE, 3), (150, 160, 165), dtype=np.uint8)
    _ellipse(picture, (160, 330), (120, 70), (110, 70, 50))  # shoulders
    _ellipse(picture, (160, 265), (34, 50), (120, 150, 195))  # neck
    _ellipse(picture, (160, 140), (86, 108), (35, 40, 50))  # hair
    _ellipse(picture, (160, 168), (72, 96), (140, 172, 216))  # face
    _ellipse(picture, (160, 95), (66, 34), (35, 40, 50))  # fringe
    for side in (-1, 1):
        _ellipse(picture, (160 + 74 * side, 170), (9, 18), (125, 155, 200))  # ear
        _draw_eye(picture, 160 + 30 * side)
    _ellipse(picture, (160, 185), (6, 24), (120, 150, 198))  # nose
    _ellipse(picture, (160, 198), (14, 8), (115, 145, 192))
    for side in (-1, 1):
        _ellipse(picture, (160 + 7 * side, 203), (4, 2.5), (60, 75, 110))
    _ellipse(picture, (160, 228), (26, 9), (90, 95, 170))  # mouth
    _ellipse(picture, (160, 227), (26, 2), (50, 50, 100))
    light = np.linspace(1.08, 0.86, SIZE)[None, :, None]
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 2.0) * light, 0, 255).astype(np.uint8)


def _draw_eye(picture: Image, x: float) -> None:
    _ellipse(picture, (x, 152), (15, 8), (235, 238, 240))
    _ellipse(picture, (x, 152), (7, 7.5), (45, 55, 75))
    _ellipse(picture, (x, 152), (3, 3), (10, 10, 10))
    _arc(picture, (x, 150), (16, 8), (60, 75, 100), 2)  # lid
    _arc(picture, (x, 137), (19, 6), (40, 50, 65), 4)  # brow


def _ellipse(
    picture: Image,
    centre: tuple[float, float],
    axes: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    cv2.ellipse(
        picture, _fine(centre), _fine(axes), 0, 0, 360, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS
    )


def _arc(
    picture: Image,
    centre: tuple[float, float],
    axes: tuple[float, float],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw the upper half of an ellipse's outline."""
    cv2.ellipse(
        picture,
        _fine(centre),
        _fine(axes),
        0,
        180,
        360,
        colour,
        thickness,
        cv2.LINE_AA,
        SUBPIXEL_BITS,
    )


def _fine(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0] * 2**SUBPIXEL_BITS), round(point[1] * 2**SUBPIXEL_BITS)
