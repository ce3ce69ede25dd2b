"""The self-test: every network at work on a drawn face whose geometry is known.

The picture is drawn (`verifier.models.drawing`), shows nobody, and ships with the code, so that
readiness can be checked anywhere. What is checked holds for any sound detector, embedder, liveness
or mesh network, not for particular weights: those are proven by their digests.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from verifier.errors import InferenceFailed
from verifier.models.drawing import LANDMARKS, draw_face
from verifier.types import Evidence, Frame

if TYPE_CHECKING:
    from verifier.models.packs import Pack
    from verifier.pipeline.engine import Engine
    from verifier.types import Image

TOLERANCE_PX = 20.0
"""A quarter of the distance of the eyes and more: a landmark further away is a broken detector."""
LEAST_SIMILARITY = 0.5
"""Of the drawing and its mirror image, which are nearly the same; two strangers reach 0.4."""
REMEDY = "Run 'benren models verify', and check the provider and its drivers."


@cache
def drawn_face() -> Frame:
    """Draw the picture, once."""
    return _frame(draw_face())


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


def _frame(pixels: Image) -> Frame:
    pixels.setflags(write=False)
    return Frame(pixels=pixels, digest=hashlib.sha256(pixels.tobytes()).hexdigest())
