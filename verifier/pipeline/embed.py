"""Embed: aligned crops of many frames through the embedding network in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from verifier.pipeline.align import align
from verifier.types import Face, Frame

if TYPE_CHECKING:
    from verifier.models.embedder import Embedder
    from verifier.types import Vector


def embed(frames: Sequence[Frame], faces: Sequence[Face], embedder: Embedder) -> list[Vector]:
    """Give the vector (d,) float32, L2-normalised, of one face of each frame."""
    if not frames:
        return []
    aligned = align(frames, faces, embedder.template, embedder.side)
    vectors = embedder.embed([face.crop for face in aligned])
    vectors.setflags(write=False)
    return list(vectors)
