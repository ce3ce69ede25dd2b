"""Align: warp a face so that its five landmarks lie where an embedding network expects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from verifier.models.warp import warp
from verifier.types import AlignedFace, Face, Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.types import Points


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Give the similarity (2, 3) that brings `source` (n, 2) closest to `target` (n, 2).

    Least squares in closed form (Umeyama, PAMI 1991, for two dimensions): with centred points as
    complex numbers a and b, the factor of rotation and scale is sum(conj(a) b) / sum(|a|^2).
    Never a reflection. Raises ValueError where the source points coincide.
    """
    a = np.asarray(source, dtype=np.float64)
    b = np.asarray(target, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2:
        raise ValueError(f"expected two arrays (n, 2), got {a.shape} and {b.shape}")
    from_mean, to_mean = a.mean(axis=0), b.mean(axis=0)
    a, b = a - from_mean, b - to_mean
    spread = float((a * a).sum())
    if not spread > 1e-9:
        raise ValueError("the landmarks coincide: nothing to align by")
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([turn, (to_mean - turn @ from_mean)[:, None]], axis=1)


def align(
    frames: Sequence[Frame], faces: Sequence[Face], template: Points, side: int
) -> list[AlignedFace]:
    """Warp one face of each frame to `template` (5, 2) in `side` x `side` px, black outside."""
    aligned = []
    for frame, face in zip(frames, faces, strict=True):
        crop = warp(frame.pixels, similarity(face.landmarks, template), side)
        crop.setflags(write=False)
        aligned.append(AlignedFace(crop=crop, face=face))
    return aligned
