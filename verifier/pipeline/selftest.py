"""The self-test: every network at work on a drawn face whose geometry is known.

The picture is drawn here, shows nobody, and ships with the code, so that readiness can be checked
anywhere. What is checked holds for any sound detector, embedder, liveness or mesh network, not for
particular weights: those are proven by their digests.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.errors import InferenceFailed
from verifier.types import Evidence, Frame

if TYPE_CHECKING:
    from verifier.models.packs import Pack
    from verifier.pipeline.engine import Engine
    from verifier.types import Image

SIZE = 320
"""Side of the picture, px."""
LANDMARKS = ((130, 152), (190, 152), (160, 193), (136, 228), (184, 228))
"""Where the drawing has eyes, nose tip and corners of the mouth, px."""
TOLERANCE_PX = 20.0
"""A quarter of the distance of the eyes and more: a landmark further away is a broken detector."""
LEAST_SIMILARITY = 0.5
"""Of the drawing and its mirror image, which are nearly the same; two strangers reach 0.4."""
SUBPIXEL_BITS = 4
REMEDY = "Run 'benren models verify', and check the provider and its drivers."


@cache
def drawn_face() -> Frame:
    """Draw the picture: a plain frontal face, upright, lit from one side."""
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
    lit = np.clip(cv2.GaussianBlur(picture, (0, 0), 2.0) * light, 0, 255).astype(np.uint8)
    return _frame(lit)


def check_engine(pack: Pack, engine: Engine) -> None:
    """Run every network of `pack`; raise InferenceFailed where one gives nonsense."""
    frame = drawn_face()
    mirrored = _frame(np.ascontiguousarray(frame.pixels[:, ::-1]))
    seen, twin = engine.assess([frame, mirrored])
    _check_faces(pack, seen)
    if seen.embedding is None or twin.embedding is None:
        raise InferenceFailed(f"{pack.embedder.id} gave nothing for the self-test.", remedy=REMEDY)
    similarity = float(np.dot(seen.embedding, twin.embedding))
    if not similarity >= LEAST_SIMILARITY:
        raise InferenceFailed(
            f"{pack.embedder.id} finds a drawing and its mirror image unlike ({similarity:.2f}).",
            remedy=REMEDY,
        )
    if seen.liveness_score is None or not 0.0 <= seen.liveness_score <= 1.0:
        raise InferenceFailed(
            f"The liveness networks gave {seen.liveness_score} for the self-test.", remedy=REMEDY
        )
    _check_mesh(pack, seen, frame)


def _check_faces(pack: Pack, seen: Evidence) -> None:
    """One face, where it was drawn."""
    if len(seen.faces) != 1:
        raise InferenceFailed(
            f"{pack.detector.id} found {len(seen.faces)} faces in the self-test, not one.",
            remedy=REMEDY,
        )
    away = np.linalg.norm(seen.faces[0].landmarks - np.asarray(LANDMARKS), axis=1).max()
    if not away <= TOLERANCE_PX:
        raise InferenceFailed(
            f"{pack.detector.id} misses the landmarks of the self-test by {away:.0f} px.",
            remedy=REMEDY,
        )


def _check_mesh(pack: Pack, seen: Evidence, frame: Frame) -> None:
    """Dense landmarks and irises near the drawn eyes, where the pack has these networks."""
    if pack.mesh is None:
        return
    (mesh,) = pack.mesh.locate([frame.pixels], [seen.faces[0]])
    middles = [mesh.points[[33, 133], :2].mean(axis=0), mesh.points[[263, 362], :2].mean(axis=0)]
    if pack.mesh.has_iris:
        (eyes,) = pack.mesh.eyes([frame.pixels], [mesh])
        middles += [eyes.right[71, :2], eyes.left[71, :2]]
    drawn = np.asarray(LANDMARKS)[[0, 1, 0, 1][: len(middles)]]
    away = np.linalg.norm(np.stack(middles) - drawn, axis=1).max()
    if not away <= TOLERANCE_PX:
        raise InferenceFailed(
            f"{pack.mesh.id} misses the eyes of the self-test by {away:.0f} px.", remedy=REMEDY
        )


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


def _frame(pixels: Image) -> Frame:
    pixels.setflags(write=False)
    return Frame(pixels=pixels, digest=hashlib.sha256(pixels.tobytes()).hexdigest())
