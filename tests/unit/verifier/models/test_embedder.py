"""Tests of the embedder's pre- and postprocessing, on a network that shows what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.errors import InferenceFailed
from verifier.models.embedder import ARCFACE, REIDENTIFICATION, Embedder


class Echo:
    """Answers with the first numbers of its input, (B, d, 1, 1)."""

    id = "echo@ab"
    pixels = None

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.given = np.empty(0)

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer."""
        self.given = batch
        return ((batch[:, :, :2, 0].reshape(len(batch), -1) * self.factor)[:, :, None, None],)


def crop(side: int, bgr: tuple[int, int, int]) -> np.ndarray:
    """One plain crop."""
    return np.full((side, side, 3), bgr, dtype=np.uint8)


def test_arcface_turns_to_rgb_and_scales() -> None:
    """(x - 127.5) / 127.5 in RGB order."""
    network = Echo()
    Embedder(network, ARCFACE).embed([crop(112, (0, 255, 51))])  # type: ignore[arg-type]
    assert network.given[0, :, 0, 0] == pytest.approx([-0.6, 1.0, -1.0], abs=1e-5)


def test_reidentification_keeps_bgr_and_range() -> None:
    """0..255 in BGR order, crops of 128 px."""
    network = Echo()
    Embedder(network, REIDENTIFICATION).embed([crop(128, (1, 2, 250))])  # type: ignore[arg-type]
    assert network.given[0, :, 0, 0].tolist() == [1.0, 2.0, 250.0]


def test_vectors_have_length_one_and_keep_their_order() -> None:
    """Whatever the network's scale, each row is normalised by itself."""
    crops = np.stack([crop(112, (10, 90, 200)), crop(112, (255, 0, 0))])
    vectors = Embedder(Echo(7.0), ARCFACE).embed(crops)  # type: ignore[arg-type]
    assert vectors.shape == (2, 6)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0])
    assert vectors[1, 4] > 0 > vectors[0, 4]


def test_a_vector_without_direction_is_an_error() -> None:
    """A zero vector cannot be compared, so it is never handed on."""
    with pytest.raises(InferenceFailed, match="direction"):
        Embedder(Echo(0.0), ARCFACE).embed([crop(112, (1, 2, 3))])  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_an_error(factor: float) -> None:
    """NaN and infinity never become a vector."""
    with pytest.raises(InferenceFailed), np.errstate(invalid="ignore"):
        Embedder(Echo(factor), ARCFACE).embed([crop(112, (1, 2, 3))])  # type: ignore[arg-type]


def test_crops_of_another_size_are_refused() -> None:
    """The expected and the actual shape are both named."""
    with pytest.raises(ValueError, match=r"112.*64"):
        Embedder(Echo(), ARCFACE).embed([crop(64, (1, 2, 3))])  # type: ignore[arg-type]


def test_the_template_is_in_pixels_of_the_crop() -> None:
    """Five points inside the crop, eyes above nose above mouth, the right eye on the left."""
    for contract in (ARCFACE, REIDENTIFICATION):
        embedder = Embedder(Echo(), contract)  # type: ignore[arg-type]
        template = embedder.template
        assert template.shape == (5, 2)
        assert 0.2 * contract.side < template.min() < template.max() < 0.9 * contract.side
        assert template[0, 0] < template[2, 0] < template[1, 0]
        assert template[1, 1] < template[2, 1] < template[3, 1]
        assert embedder.name == "echo"
