"""Tests of the dense landmarks: geometry of the crops, pose, eyes and mouth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verifier.models.landmarks import (
    IRIS_EAR,
    LEFT_EYE_CORNERS,
    RIGHT_EYE_CORNERS,
    Eyes,
    FaceMesh,
    Mesh,
    aspect_ratio,
    eye_matrix,
    mesh_matrix,
)
from verifier.types import Face


def a_face(angle: float = 0.0) -> Face:
    """A face of 100 px about (200, 150), its eyes turned by `angle`."""
    landmarks = np.zeros((5, 2), dtype=np.float32)
    landmarks[0] = (200 - 20 * math.cos(angle), 140 - 20 * math.sin(angle))
    landmarks[1] = (200 + 20 * math.cos(angle), 140 + 20 * math.sin(angle))
    return Face(box=(160, 100, 80, 100), score=0.9, landmarks=landmarks)


def a_mesh(turn: np.ndarray | None = None) -> Mesh:
    """A head of which only the points that the tests read are placed."""
    points = np.zeros((468, 3), dtype=np.float64)
    points[234], points[454] = (-50, 0, 0), (50, 0, 0)
    points[10], points[152] = (0, -70, 0), (0, 70, 0)
    points[33], points[133] = (-30, -20, 0), (-10, -20, 0)
    points[362], points[263] = (10, -20, 0), (30, -20, 0)
    points[78], points[308] = (-20, 40, 0), (20, 40, 0)
    for upper, lower in ((81, 178), (13, 14), (311, 402)):
        points[upper], points[lower] = (0, 35, 0), (0, 47, 0)
    if turn is not None:
        points = points @ turn.T
    return Mesh(points=(points + np.array((300, 200, 0))).astype(np.float32), face_flag=1.0)


class FakeMesh:
    """Puts every landmark into the middle of its crop, 10 deep."""

    id = "mesh@00"
    pixels = None

    def __init__(self) -> None:
        self.given = np.empty(0)

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer."""
        self.given = batch
        points = np.tile(np.array([96.0, 96.0, 10.0], dtype=np.float32), (len(batch), 468))
        flags = np.full((len(batch), 1), 0.75, dtype=np.float32)
        return points, flags, np.zeros((len(batch), 266), dtype=np.float32)


class FakeIris:
    """Puts every landmark a quarter of the crop right of its left border."""

    id = "iris@00"
    pixels = None

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer."""
        return (np.tile(np.array([16.0, 32.0, 0.0], dtype=np.float32), (len(batch), 76)),)


@pytest.mark.parametrize("angle", [0.0, 0.4, -0.9])
def test_the_mesh_crop_is_upright_by_the_eyes(angle: float) -> None:
    """In the crop both eyes are on one level and the box's centre is in the middle."""
    face = a_face(angle)
    matrix = mesh_matrix(face)
    eyes = face.landmarks[:2] @ matrix[:, :2].T + matrix[:, 2]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-3)
    assert eyes[0, 0] < eyes[1, 0]
    assert matrix @ np.array([200, 150, 1]) == pytest.approx([95.5, 95.5])
    assert np.hypot(*matrix[:, 0]) == pytest.approx(192 / 140)


def test_landmarks_come_back_to_the_frame() -> None:
    """The crop's middle is the box's centre; depth is scaled like the rest."""
    frame = np.zeros((400, 600, 3), dtype=np.uint8)
    network = FakeMesh()
    (mesh,) = FaceMesh(network).locate([frame], [a_face(0.3)])  # type: ignore[arg-type]
    assert network.given.shape == (1, 192, 192, 3)
    assert mesh.points.shape == (468, 3)
    assert mesh.points[17] == pytest.approx([200, 150, 10 * 140 / 192], abs=0.01)
    assert mesh.face_flag == 0.75


def test_the_network_is_given_rgb_between_0_and_1() -> None:
    """NHWC, RGB, [0, 1]."""
    frame = np.full((400, 600, 3), (0, 51, 255), dtype=np.uint8)
    network = FakeMesh()
    FaceMesh(network).locate([frame], [a_face()])  # type: ignore[arg-type]
    assert network.given[0, 96, 96] == pytest.approx([1.0, 0.2, 0.0], abs=1e-6)


def test_both_eyes_are_cut_so_that_indices_mean_the_same() -> None:
    """Outer corners lie left in both crops: the left eye is mirrored."""
    mesh = a_mesh()
    for corners, mirrored in ((RIGHT_EYE_CORNERS, False), (LEFT_EYE_CORNERS, True)):
        matrix = eye_matrix(mesh, corners, mirrored=mirrored)
        outer, inner = (mesh.points[i, :2] @ matrix[:, :2].T + matrix[:, 2] for i in corners)
        assert outer == pytest.approx([31.5 - 32 / 2.3, 31.5], abs=1e-3)
        assert inner == pytest.approx([31.5 + 32 / 2.3, 31.5], abs=1e-3)


def test_eyes_come_back_to_the_frame_unmirrored() -> None:
    """A point left of the middle in a crop lies on the outer side of either eye."""
    frame = np.zeros((400, 600, 3), dtype=np.uint8)
    meshes = FaceMesh(FakeMesh(), FakeIris())  # type: ignore[arg-type]
    (eyes,) = meshes.eyes([frame], [a_mesh()])
    assert eyes.right[0, :2] == pytest.approx([280 - 46 / 4, 180], abs=0.01)
    assert eyes.left[0, :2] == pytest.approx([320 + 46 / 4, 180], abs=0.01)


def test_eyes_need_the_iris_network() -> None:
    """A pack without it says so."""
    mesh = FaceMesh(FakeMesh())  # type: ignore[arg-type]
    assert not mesh.has_iris
    with pytest.raises(ValueError, match="iris"):
        mesh.eyes([], [])


def test_nothing_in_nothing_out() -> None:
    """No faces, no inference, no error; unequal lengths are an error."""
    mesh = FaceMesh(FakeMesh(), FakeIris())  # type: ignore[arg-type]
    assert mesh.locate([], []) == []
    assert mesh.eyes([], []) == []
    with pytest.raises(ValueError, match="faces"):
        mesh.locate([], [a_face()])


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Rotate about x (0), y (1) or z (2); x right, y down, z away from the camera."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def test_pose_of_a_frontal_head_is_zero() -> None:
    """No turn, no angles."""
    assert a_mesh().pose_deg() == pytest.approx((0, 0, 0), abs=1e-4)


def test_yaw_is_positive_to_the_persons_own_left() -> None:
    """The own left is the image's right: the nose, nearest to the camera, moves there."""
    nose_before = np.array([0.0, 0.0, -1.0])
    turn = rotation(1, -25)
    assert (turn @ nose_before)[0] > 0
    assert a_mesh(turn).pose_deg() == pytest.approx((25, 0, 0), abs=1e-3)


def test_pitch_is_positive_upwards() -> None:
    """Looking up, the nose moves up in the picture."""
    turn = rotation(0, -15)
    assert (turn @ np.array([0.0, 0.0, -1.0]))[1] < 0
    assert a_mesh(turn).pose_deg() == pytest.approx((0, 15, 0), abs=1e-3)


def test_roll_is_positive_to_the_persons_own_left_shoulder() -> None:
    """The head's left side, right in the picture, goes down."""
    turn = rotation(2, 12)
    assert (turn @ np.array([1.0, 0.0, 0.0]))[1] > 0
    assert a_mesh(turn).pose_deg() == pytest.approx((0, 0, 12), abs=1e-3)


def test_mouth_and_eye_ratios() -> None:
    """Heights over widths, as documented."""
    assert a_mesh().mouth_ratio() == pytest.approx(12 / 40)
    square = np.array([(0, 0), (1, 1), (3, 1), (4, 0), (3, -1), (1, -1)], dtype=np.float32)
    assert aspect_ratio(square, range(6)) == pytest.approx(0.5)


def test_iris_ratios_use_the_same_indices_for_both_eyes() -> None:
    """A shut right and an open left eye are told apart."""
    shut, opened = np.zeros((76, 3), np.float32), np.zeros((76, 3), np.float32)
    for points, half in ((shut, 0.05), (opened, 1.0)):
        for index, place in zip(
            IRIS_EAR, [(0, 0), (1, half), (3, half), (4, 0), (3, -half), (1, -half)], strict=True
        ):
            points[index, :2] = place
    right, left = Eyes(right=shut, left=opened).aspect_ratios()
    assert (right, left) == (pytest.approx(0.025), pytest.approx(0.5))
