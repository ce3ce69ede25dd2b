"""Tests of alignment: the closed form, and crops whose landmarks lie where they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.models.embedder import ARCFACE_TEMPLATE
from verifier.pipeline.align import align, similarity
from verifier.types import Face, Frame

TEMPLATE = np.array(ARCFACE_TEMPLATE, dtype=np.float32)


def turned(
    points: np.ndarray, scale: float, angle: float, shift: tuple[float, float]
) -> np.ndarray:
    """Scale, turn and move points."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) + np.array(shift)


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
)
def test_an_exact_similarity_is_recovered(scale: float, angle: float, x: float, y: float) -> None:
    """Points that were scaled, turned and moved come back exactly."""
    source = turned(TEMPLATE.astype(np.float64), scale, angle, (x, y))
    matrix = similarity(source, TEMPLATE)  # type: ignore[arg-type]
    back = source @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(back - TEMPLATE).max() < 1e-3


def test_no_other_similarity_is_closer() -> None:
    """Small changes of the four parameters only make the squared distance larger."""
    rng = np.random.default_rng(5)
    source = TEMPLATE + rng.normal(0, 6, (5, 2))
    matrix = similarity(source, TEMPLATE)

    def error(candidate: np.ndarray) -> float:
        moved = source @ candidate[:, :2].T + candidate[:, 2]
        return float(((moved - TEMPLATE) ** 2).sum())

    best = error(matrix)
    for _ in range(200):
        a, b, x, y = rng.normal(0, 0.02, 4)
        assert error(matrix + np.array([[a, -b, x], [b, a, y]])) >= best


def test_a_mirror_image_is_never_mirrored_back() -> None:
    """A similarity turns and scales; a reflection would make another face."""
    mirrored = TEMPLATE * (-1, 1) + (112, 0)
    matrix = similarity(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_points_that_coincide_are_refused() -> None:
    """There is nothing to align by."""
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.ones((5, 2), dtype=np.float32), TEMPLATE)


def test_shapes_are_checked() -> None:
    """Both shapes are named."""
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(5, 2\)"):
        similarity(TEMPLATE[:4], TEMPLATE)


def test_marks_at_the_landmarks_land_on_the_template() -> None:
    """White dots drawn at a turned face's landmarks are found at the template's points."""
    landmarks = turned(TEMPLATE.astype(np.float64), 3.0, 0.5, (300, 100)).astype(np.float32)
    pixels = np.zeros((700, 700, 3), dtype=np.uint8)
    for x, y in landmarks.round().astype(int):
        pixels[y - 6 : y + 7, x - 6 : x + 7] = 255
    face = Face(box=(0, 0, 1, 1), score=0.9, landmarks=landmarks)
    (aligned,) = align([Frame(pixels=pixels, digest="")], [face], TEMPLATE, 112)
    assert aligned.crop.shape == (112, 112, 3)
    assert aligned.face is face
    assert not aligned.crop.flags.writeable
    for x, y in TEMPLATE.round().astype(int):
        assert aligned.crop[y, x].min() > 200
    assert aligned.crop.mean() < 30
