"""Tests of the detectors' decoding, on outputs written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from verifier.errors import BenrenError
from verifier.models.detector import Scrfd, YuNet, suppress

LEVELS = {8: 64, 16: 16, 32: 4}
"""Cells of a 64 x 64 picture by stride."""


class FakeNetwork:
    """Answers with what it was told, once per picture of the batch, and keeps what it was given."""

    id = "fake@00"
    pixels = None

    def __init__(self, outputs: list[np.ndarray]) -> None:
        self.outputs = outputs
        self.given: list[np.ndarray] = []

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer."""
        self.given.append(batch)
        return tuple(np.concatenate([output] * len(batch)) for output in self.outputs)


def yunet_outputs() -> dict[str, np.ndarray]:
    """Outputs of YuNet for one picture without a face."""
    outputs: dict[str, np.ndarray] = {}
    for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride, cells in LEVELS.items():
            outputs[f"{kind}_{stride}"] = np.zeros((1, cells, width), dtype=np.float32)
    return outputs


def pictures(n: int = 1) -> np.ndarray:
    """Black pictures (n, 64, 64, 3)."""
    return np.zeros((n, 64, 64, 3), dtype=np.uint8)


def test_yunet_decodes_box_landmarks_and_score() -> None:
    """One cell of stride 16 becomes the face that its numbers say."""
    outputs = yunet_outputs()
    cell = 6  # row 1, column 2 of 4 x 4
    outputs["cls_16"][0, cell] = 0.81
    outputs["obj_16"][0, cell] = 1.0
    outputs["bbox_16"][0, cell] = (0.5, 0.25, np.log(2.0), np.log(1.5))
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    (faces,) = YuNet(FakeNetwork(list(outputs.values()))).detect(pictures())  # type: ignore[arg-type]
    (face,) = faces
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((40 - 16, 20 - 12, 32, 24), abs=1e-4)
    assert face.landmarks[1] == pytest.approx([(2 + 0.2) * 16, (1 + 0.3) * 16], abs=1e-4)
    assert not face.landmarks.flags.writeable


def test_every_picture_of_a_batch_gets_its_own_faces() -> None:
    """Faces of one picture never show up in another."""
    outputs = yunet_outputs()
    network = FakeNetwork(list(outputs.values()))

    def run(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        copies = [np.concatenate([output] * len(batch)) for output in outputs.values()]
        copies[0][1, 0] = copies[3][1, 0] = 1.0  # a face in the second picture only
        return tuple(copies)

    network.run = run  # type: ignore[method-assign]
    found = YuNet(network).detect(pictures(3))  # type: ignore[arg-type]
    assert [len(faces) for faces in found] == [0, 1, 0]


def test_yunet_is_given_bgr_as_it_is() -> None:
    """Colour order and range are those of the pictures: BGR, 0..255."""
    network = FakeNetwork(list(yunet_outputs().values()))
    picture = pictures()
    picture[..., 0], picture[..., 2] = 10, 200
    YuNet(network).detect(picture)  # type: ignore[arg-type]
    assert network.given[0].shape == (1, 3, 64, 64)
    assert network.given[0][0, :, 5, 5].tolist() == [10.0, 0.0, 200.0]


@pytest.mark.parametrize("shape", [(1, 60, 64, 3), (64, 64, 3), (1, 64, 64, 4)])
def test_wrong_shapes_are_refused_with_the_shape(shape: tuple[int, ...]) -> None:
    """A shape that the network cannot take is named in the error."""
    with pytest.raises(ValueError, match=r"\d"):
        YuNet(FakeNetwork([])).detect(np.zeros(shape, dtype=np.uint8))  # type: ignore[arg-type]


def test_a_network_with_other_outputs_is_refused() -> None:
    """A file that is no YuNet is told by its outputs."""
    network = FakeNetwork(list(yunet_outputs().values())[:9])
    with pytest.raises(BenrenError, match="9 outputs"):
        YuNet(network).detect(pictures())  # type: ignore[arg-type]


def test_scrfd_decodes_distances_of_its_second_anchor() -> None:
    """One anchor of stride 32 becomes the face that its distances say."""
    scores = [np.zeros((1, cells * 2, 1), dtype=np.float32) for cells in LEVELS.values()]
    boxes = [np.zeros((1, cells * 2, 4), dtype=np.float32) for cells in LEVELS.values()]
    points = [np.zeros((1, cells * 2, 10), dtype=np.float32) for cells in LEVELS.values()]
    row = 2 * 3 + 1  # second anchor of row 1, column 1: centre (32, 32)
    scores[2][0, row] = 0.8
    boxes[2][0, row] = (0.5, 0.25, 0.25, 0.5)
    points[2][0, row] = [0.1, -0.1] * 5
    network = FakeNetwork([*scores, *boxes, *points])
    found = Scrfd(network, sides=(64,)).detect(pictures(2))  # type: ignore[arg-type]
    assert [len(faces) for faces in found] == [1, 1]
    face = found[0][0]
    assert face.box == pytest.approx((16, 24, 24, 24))
    assert face.landmarks[4] == pytest.approx([32 + 3.2, 32 - 3.2])
    assert len(network.given) == 2, "these files take one picture at a time"


def test_suppression_keeps_the_surest_of_doubles_and_both_of_two() -> None:
    """Overlapping boxes are one face; apart they are two."""
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [40, 40, 10, 10]], dtype=np.float32)
    points = np.zeros((3, 5, 2), dtype=np.float32)
    faces = suppress(np.array([0.7, 0.9, 0.8], dtype=np.float32), boxes, points, 0.6)
    assert [face.score for face in faces] == pytest.approx([0.9, 0.8])


def test_nothing_above_the_threshold_is_no_face() -> None:
    """Candidates below the threshold vanish."""
    boxes = np.array([[0, 0, 10, 10]], dtype=np.float32)
    assert suppress(np.array([0.5], np.float32), boxes, np.zeros((1, 5, 2), np.float32), 0.6) == ()


def test_detectors_name_their_network() -> None:
    """The id of the network is the id of the detector."""
    network: Any = SimpleNamespace(id="yunet@ff")
    assert YuNet(network).id == Scrfd(network).id == "yunet@ff"
