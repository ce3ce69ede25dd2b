"""Tests of the similarity maps and warps."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.models.warp import crop_matrix, warp


def test_the_identity_crop_gives_the_picture_back() -> None:
    """A crop as large as the picture, at the same scale, is the picture."""
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(warp(picture, crop_matrix((31.5, 31.5), 64, 0.0, 64), 64), picture)


@pytest.mark.parametrize("side", [20.0, 64.0, 300.0])
def test_the_centre_of_the_square_lands_in_the_centre_of_the_crop(side: float) -> None:
    """Whatever the scale and the angle, the centre maps to the centre."""
    matrix = crop_matrix((40.0, 70.0), side, 0.7, 96)
    assert matrix @ np.array([40.0, 70.0, 1.0]) == pytest.approx([47.5, 47.5])


def test_what_lies_outside_the_picture_is_black() -> None:
    """A crop beyond the border shows the picture on one side and black on the other."""
    picture = np.full((50, 50, 3), 200, dtype=np.uint8)
    crop = warp(picture, crop_matrix((0.0, 25.0), 40, 0.0, 40), 40)
    assert crop[:, :18].max() == 0
    assert crop[:, 22:].min() == 200


def test_a_crop_wholly_outside_is_black() -> None:
    """Nothing of the picture in the crop is no error."""
    picture = np.full((50, 50, 3), 200, dtype=np.uint8)
    assert warp(picture, crop_matrix((500.0, 500.0), 40, 0.0, 40), 40).max() == 0


def test_strong_shrinking_averages_instead_of_skipping_pixels() -> None:
    """A fine black and white pattern becomes grey, not a coarser pattern."""
    picture = np.zeros((640, 640, 3), dtype=np.uint8)
    picture[::2] = 255
    crop = warp(picture, crop_matrix((319.5, 319.5), 600, 0.0, 64), 64)
    assert abs(float(crop.mean()) - 127.5) < 3
    assert crop.std() < 12
