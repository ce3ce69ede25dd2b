"""Embed: aligned crops of many frames through the embedding network in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from verifier.pipeline.align import align
from verifier.types import AlignedFace, Face, Frame

if TYPE_CHECKING:
    from verifier.models.embedder import Embedder
    from verifier.types import Vector


def embed(frames: Sequence[Frame], faces: Sequence[Face], embedder: Embedder) -> list[Vector]:
    """Give the vector (d,) float32, L2-normalised, of one face of each frame."""
    return embed_aligned(align(frames, faces, embedder.template, embedder.side), embedder)


def embed_aligned(aligned: Sequence[AlignedFace], embedder: Embedder) -> list[Vector]:
    """Give the vectors of faces that are aligned to the embedder's own template and side."""
    if not aligned:
        return []
    return [_own(row) for row in embedder.embed([face.crop for face in aligned])]


def _own(row: Vector) -> Vector:
    """Copy a row: a view would keep the vectors of all faces of the batch as long as itself."""
    vector = row.copy()
    vector.setflags(write=False)
    return vector
