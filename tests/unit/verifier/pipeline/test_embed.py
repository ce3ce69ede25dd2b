"""Tests of the embedding stage."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.pipeline.embed import embed
from verifier.types import Face, Frame

TEMPLATE = np.array([(10, 12), (22, 12), (16, 18), (11, 24), (21, 24)], dtype=np.float32)


class MeanColour:
    """Embeds a crop as its mean colour."""

    side = 32
    template = TEMPLATE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, crops: list[np.ndarray]) -> np.ndarray:
        """Give (B, 3) of length 1."""
        self.batches.append(len(crops))
        vectors = np.stack([crop.reshape(-1, 3).mean(axis=0) for crop in crops])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_all_frames_share_a_batch_and_keep_their_order() -> None:
    """One vector per frame, read-only, in order."""
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    frames = [Frame(pixels=np.full((90, 90, 3), c, dtype=np.uint8), digest="") for c in colours]
    face = Face(box=(20, 20, 40, 40), score=0.9, landmarks=TEMPLATE * 1.5 + 20)
    embedder = MeanColour()
    vectors = embed(frames, [face] * 3, embedder)  # type: ignore[arg-type]
    assert embedder.batches == [3]
    assert np.stack(vectors) == pytest.approx(np.eye(3))
    assert not vectors[0].flags.writeable
    assert all(vector.base is None for vector in vectors), "one face keeps those of others"


def test_nothing_in_nothing_out() -> None:
    """No faces, no inference."""
    embedder = MeanColour()
    assert embed([], [], embedder) == []  # type: ignore[arg-type]
    assert embedder.batches == []
