"""From pixels to what a network takes: numbers, or the pixels themselves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from verifier.errors import ModelError
from verifier.models.pixels import Pixels

ARCFACE = Pixels(rgb=True, mean=127.5, scale=1 / 127.5)
PLAIN = Pixels(rgb=False, mean=0.0, scale=1.0)
MESH = Pixels(rgb=True, mean=0.0, scale=1 / 255, nhwc=True)


def pictures(n: int = 2) -> np.ndarray:
    """(n, 4, 6, 3) of all values."""
    return np.random.default_rng(1).integers(0, 256, (n, 4, 6, 3), np.uint8)


@pytest.mark.parametrize("pixels", [ARCFACE, PLAIN])
def test_channels_first(pixels: Pixels) -> None:
    """(x - mean) * scale, in the order asked for."""
    given = pictures()
    expected = (given.astype(np.float64) - pixels.mean) * pixels.scale
    if pixels.rgb:
        expected = expected[..., ::-1]
    blob = pixels.blob(given)
    assert blob.dtype == np.float32
    assert blob.shape == (2, 3, 4, 6)
    np.testing.assert_allclose(blob, expected.transpose(0, 3, 1, 2), atol=1e-6)


def test_channels_last() -> None:
    """The same with the channels where the pictures have them; 255 is exactly 1."""
    given = pictures()
    given[0, 0, 0] = (0, 51, 255)
    blob = MESH.blob(list(given))
    assert blob.shape == given.shape
    assert blob[0, 0, 0].tolist() == [1.0, np.float32(0.2), 0.0]


def test_a_network_is_given_what_it_takes() -> None:
    """Numbers where the graph has no normalisation, bytes where it has this one."""
    given = pictures()
    numbers = ARCFACE.batch(SimpleNamespace(id="n@0", pixels=None), given)
    np.testing.assert_array_equal(numbers, ARCFACE.blob(given))
    as_they_are = ARCFACE.batch(SimpleNamespace(id="n@0", pixels=ARCFACE), list(given))
    assert as_they_are.dtype == np.uint8
    np.testing.assert_array_equal(as_they_are, given)


def test_a_graph_for_other_pixels_is_refused() -> None:
    """A graph with another normalisation inside would give wrong numbers without a word."""
    with pytest.raises(ModelError, match=r"n@0 was prepared for Pixels\(rgb=False"):
        ARCFACE.batch(SimpleNamespace(id="n@0", pixels=PLAIN), pictures())
