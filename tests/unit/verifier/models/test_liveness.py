"""Tests of the liveness networks' crops and scores."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.models.liveness import (
    SHIFTED_2_7,
    SQUARE_1_5,
    LivenessNetwork,
    crop_shifted,
    crop_square,
)


class Fixed:
    """Answers with the same logits for every crop."""

    id = "fixed@01"
    pixels = None

    def __init__(self, logits: list[float]) -> None:
        self.logits = logits
        self.given = np.empty(0)

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer."""
        self.given = batch
        return (np.tile(np.array(self.logits, dtype=np.float32), (len(batch), 1)),)


def ramp(height: int = 200, width: int = 300) -> np.ndarray:
    """A picture whose blue tells the column and whose green tells the row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, 0 * x], axis=-1).astype(np.uint8)


def test_the_live_class_is_read_by_the_contract() -> None:
    """Class 1 of three for the 80 px pair, class 0 of two for the 128 px one."""
    pair = LivenessNetwork(Fixed([0.0, 2.0, 0.0]), SHIFTED_2_7)  # type: ignore[arg-type]
    crops = np.zeros((2, 80, 80, 3), dtype=np.uint8)
    assert pair.score(crops) == pytest.approx([np.e**2 / (np.e**2 + 2)] * 2)
    third = LivenessNetwork(Fixed([3.0, 0.0]), SQUARE_1_5)  # type: ignore[arg-type]
    assert third.score(np.zeros((1, 128, 128, 3), dtype=np.uint8)) == pytest.approx([0.952574])


def test_huge_logits_do_not_overflow() -> None:
    """The softmax is computed relative to the largest logit."""
    network = LivenessNetwork(Fixed([-1e4, 1e4, 0.0]), SHIFTED_2_7)  # type: ignore[arg-type]
    assert network.score([np.zeros((80, 80, 3), dtype=np.uint8)]) == pytest.approx([1.0])


def test_colours_and_range_follow_the_contract() -> None:
    """BGR 0..255 for the pair, RGB 0..1 for the third."""
    pixel = np.full((80, 80, 3), (10, 20, 255), dtype=np.uint8)
    pair, third = Fixed([0.0, 0.0, 0.0]), Fixed([0.0, 0.0])
    LivenessNetwork(pair, SHIFTED_2_7).score([pixel])  # type: ignore[arg-type]
    assert pair.given[0, :, 0, 0].tolist() == [10.0, 20.0, 255.0]
    wide = np.full((128, 128, 3), (0, 51, 255), dtype=np.uint8)
    LivenessNetwork(third, SQUARE_1_5).score([wide])  # type: ignore[arg-type]
    assert third.given[0, :, 0, 0] == pytest.approx([1.0, 0.2, 0.0])


def test_a_crop_in_the_middle_is_the_box_scaled_about_its_centre() -> None:
    """With room on all sides the crop spans scale times the box."""
    crop = crop_shifted(ramp(), (130, 80, 40, 40), 2.7, 80).astype(float)
    left, right = crop[40, 0, 0] * 300 / 255, crop[40, -1, 0] * 300 / 255
    assert left == pytest.approx(150 - 54, abs=3)
    assert right == pytest.approx(150 + 54, abs=3)


def test_a_crop_at_the_border_is_shifted_not_padded() -> None:
    """Near the left border the crop begins at the border and keeps its width."""
    crop = crop_shifted(ramp(), (5, 80, 40, 40), 2.7, 80).astype(float)
    assert crop[40, 0, 0] <= 2
    assert crop[40, -1, 0] * 300 / 255 == pytest.approx(108, abs=4)


def test_a_face_that_fills_the_frame_gets_a_smaller_scale() -> None:
    """The crop never leaves the frame, however large the face is."""
    crop = crop_shifted(ramp(), (50, 10, 150, 180), 4.0, 80).astype(float)
    assert crop[40, 0, 0] * 300 / 255 == pytest.approx(125 - 83, abs=4)
    assert crop[0, 40, 1] <= 3
    assert crop[-1, 40, 1] >= 250


def test_a_square_beyond_the_border_reflects() -> None:
    """Columns outside mirror those inside, as BORDER_REFLECT_101 does."""
    picture = ramp()
    crop = crop_square(picture, (0, 60, 80, 80), 1.5, 120).astype(int)
    # The square begins at column -20: column 20 of the picture, mirrored at column 0.
    assert crop[60, 0, 0] == pytest.approx(crop[60, 40, 0], abs=2)
    assert crop[60, 20, 0] <= 2


boxes = st.tuples(
    st.floats(-300, 500), st.floats(-300, 500), st.floats(1, 2_000), st.floats(1, 2_000)
)


@given(box=boxes)
def test_any_box_gives_a_crop_of_the_right_size(
    box: tuple[float, float, float, float],
) -> None:
    """However odd the detector's box, there is a crop and no error."""
    picture = ramp(48, 64)
    assert crop_shifted(picture, box, 2.7, 80).shape == (80, 80, 3)
    assert crop_square(picture, box, 1.5, 128).shape == (128, 128, 3)


def test_crops_of_another_size_are_refused() -> None:
    """The expected and the actual shape are both named."""
    network = LivenessNetwork(Fixed([0.0, 0.0, 0.0]), SHIFTED_2_7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"80.*128"):
        network.score([np.zeros((128, 128, 3), dtype=np.uint8)])


def test_the_contract_chooses_the_geometry() -> None:
    """`crop` cuts what the network was trained on, at its size."""
    shifted = LivenessNetwork(Fixed([0.0] * 3), SHIFTED_2_7)  # type: ignore[arg-type]
    square = LivenessNetwork(Fixed([0.0] * 2), SQUARE_1_5)  # type: ignore[arg-type]
    box = (100.0, 60.0, 60.0, 60.0)
    assert np.array_equal(shifted.crop(ramp(), box), crop_shifted(ramp(), box, 2.7, 80))
    assert np.array_equal(square.crop(ramp(), box), crop_square(ramp(), box, 1.5, 128))
    assert (shifted.id, shifted.name) == ("fixed@01", "fixed")


@pytest.mark.parametrize(
    "box",
    [(10, 8, 20, 20), (-9, 5, 30, 40), (50, 30, 40, 30), (-40, -40, 120, 120), (62, 46, 9, 9)],
    ids=["inside", "left", "lower right", "larger than the frame", "corner"],
)
def test_a_square_is_cut_from_the_frame_reflected_as_often_as_it_takes(
    box: tuple[float, float, float, float],
) -> None:
    """Every pixel is the one that folding its row and column back into the frame gives."""
    picture = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    length = int(max(box[2:]) * 1.5)
    left, top = (int(box[i] + box[i + 2] / 2 - length / 2) for i in (0, 1))
    column = [cv2.borderInterpolate(left + i, 64, cv2.BORDER_REFLECT_101) for i in range(length)]
    row = [cv2.borderInterpolate(top + i, 48, cv2.BORDER_REFLECT_101) for i in range(length)]
    assert np.array_equal(crop_square(picture, box, 1.5, length), picture[row][:, column])
