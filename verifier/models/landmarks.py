"""FaceMesh and iris networks: 468 dense landmarks, whether a whole face is there, pose, eyes.

Geometry, indices and starting points: the model pack's notes on FaceMesh (MediaPipe, Apache-2.0).
The identity pipeline does not need them; active challenges and occlusion hints do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.models.pixels import Pixels
from verifier.models.warp import crop_matrix, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.models.runtime import Network
    from verifier.types import Face, Image

MESH_SIDE = 192
"""Input of the mesh network, px."""
MESH_SCALE = 1.4
"""Side of the crop over the longer side of the detector's box."""
IRIS_SIDE = 64
"""Input of the iris network, px."""
IRIS_SCALE = 2.3
"""Side of an eye's crop over the distance of its corners."""
PIXELS = Pixels(rgb=True, mean=0.0, scale=1 / 255, nhwc=True)
"""Both networks take RGB between 0 and 1."""

RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (263, 362)
"""Outer and inner corner of each eye in the mesh; *right* is the person's own."""
RIGHT_EYE_EAR = (33, 160, 158, 133, 153, 144)
LEFT_EYE_EAR = (263, 387, 385, 362, 380, 373)
IRIS_EAR = (0, 11, 13, 8, 5, 3)
"""p1..p6 of the eye aspect ratio (Soukupova and Cech 2016) in the mesh and in the iris network."""
MOUTH_HEIGHTS = ((81, 178), (13, 14), (311, 402))
MOUTH_WIDTH = (78, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Dense landmarks of one face."""

    points: NDArray[np.float32]
    """(468, 3) float32: x and y in pixels of the frame, z in the same unit, smaller is nearer."""
    face_flag: float
    """0..1: whether a whole face is in the crop; falls on masks and heavy occlusion."""

    def axes(self) -> NDArray[np.float64]:
        """Give the head's unit axes as rows of (3, 3): to its left, downwards, and x cross y."""
        p = self.points.astype(np.float64)
        x = _unit(p[454] - p[234])
        down = p[152] - p[10]
        y = _unit(down - x * float(down @ x))
        return np.stack([x, y, np.cross(x, y)])

    def pose_deg(self) -> tuple[float, float, float]:
        """Give yaw (positive: to the person's own left), pitch (up), roll (to the left shoulder).

        Neutral pitch reads about -9 degrees, and yaw saturates near 45: take differences.
        """
        x, _, backwards = self.axes()
        yaw = math.atan2(-backwards[0], math.hypot(backwards[1], backwards[2]))
        pitch = math.atan2(backwards[1], backwards[2])
        roll = math.atan2(x[1], math.hypot(x[0], x[2]))
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

    def eye_aspect_ratios(self) -> tuple[float, float]:
        """Measure how open the right and the left eye are by the mesh: 0.1 shut to 0.4 wide."""
        return aspect_ratio(self.points, RIGHT_EYE_EAR), aspect_ratio(self.points, LEFT_EYE_EAR)

    def mouth_ratio(self) -> float:
        """Measure height over width of the mouth's opening: about 0 shut, above 0.3 open."""
        p = self.points[:, :2]
        heights = sum(float(np.linalg.norm(p[a] - p[b])) for a, b in MOUTH_HEIGHTS)
        width = float(np.linalg.norm(p[MOUTH_WIDTH[0]] - p[MOUTH_WIDTH[1]]))
        return heights / (len(MOUTH_HEIGHTS) * max(width, 1e-6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Both eyes of one face by the iris network."""

    right: NDArray[np.float32]
    """(76, 3) float32: 71 points of the lids and brow, then 5 of the iris, px of the frame."""
    left: NDArray[np.float32]
    """The same of the left eye, in mirrored order, so that indices mean the same."""

    def aspect_ratios(self) -> tuple[float, float]:
        """Measure how open the right and the left eye are: 0.05-0.08 shut, 0.22 and more open."""
        return aspect_ratio(self.right, IRIS_EAR), aspect_ratio(self.left, IRIS_EAR)


class FaceMesh:
    """The mesh network and, where given, the iris network; without state."""

    def __init__(self, mesh: Network, iris: Network | None = None):
        self._mesh = mesh
        self._iris = iris

    @property
    def id(self) -> str:
        """``name@sha256`` of the mesh network."""
        return self._mesh.id

    @property
    def has_iris(self) -> bool:
        """Whether :meth:`eyes` can be asked."""
        return self._iris is not None

    def locate(self, frames: Sequence[Image], faces: Sequence[Face]) -> list[Mesh]:
        """Find one mesh per pair of frame (H, W, 3) uint8 BGR and face of it (px of the frame).

        Raises ValueError where there is not one face for each frame, `InferenceFailed` where the
        network fails or gives NaN.
        """
        if len(frames) != len(faces):
            raise ValueError(f"{len(frames)} frames for {len(faces)} faces")
        if not frames:
            return []
        matrices = [mesh_matrix(face) for face in faces]
        crops = [
            warp(pixels, matrix, MESH_SIDE) for pixels, matrix in zip(frames, matrices, strict=True)
        ]
        landmarks, flags = self._mesh.run(PIXELS.batch(self._mesh, crops))[:2]
        return [
            Mesh(points=_to_frame(row.reshape(468, 3), matrix), face_flag=float(flag[0]))
            for row, flag, matrix in zip(landmarks, flags, matrices, strict=True)
        ]

    def eyes(self, frames: Sequence[Image], meshes: Sequence[Mesh]) -> list[Eyes]:
        """Look at both eyes of each mesh, cut from the original frame, (H, W, 3) uint8 BGR.

        Points come in pixels of the frame. Raises ValueError without an iris network and where
        there is not one mesh for each frame, `InferenceFailed` where the network fails.
        """
        if self._iris is None:
            raise ValueError("this pack has no iris network")
        if len(frames) != len(meshes):
            raise ValueError(f"{len(frames)} frames for {len(meshes)} meshes")
        if not frames:
            return []
        crops: list[Image] = []
        matrices: list[NDArray[np.float64]] = []
        for pixels, mesh in zip(frames, meshes, strict=True):
            for corners, mirrored in ((RIGHT_EYE_CORNERS, False), (LEFT_EYE_CORNERS, True)):
                matrix = eye_matrix(mesh, corners, mirrored=mirrored)
                crops.append(warp(pixels, matrix, IRIS_SIDE))
                matrices.append(matrix)
        rows = self._iris.run(PIXELS.batch(self._iris, crops))[0].reshape(-1, 76, 3)
        points = [_to_frame(row, matrix) for row, matrix in zip(rows, matrices, strict=True)]
        return [Eyes(right=points[i], left=points[i + 1]) for i in range(0, len(points), 2)]


def mesh_matrix(face: Face) -> NDArray[np.float64]:
    """Map frame pixels to the mesh network's crop, centred and upright by the eyes: (2, 3)."""
    x, y, width, height = face.box
    right_eye, left_eye = face.landmarks[0], face.landmarks[1]
    angle = math.atan2(float(left_eye[1] - right_eye[1]), float(left_eye[0] - right_eye[0]))
    side = MESH_SCALE * max(width, height)
    return crop_matrix((x + width / 2, y + height / 2), side, angle, MESH_SIDE)


def eye_matrix(mesh: Mesh, corners: tuple[int, int], *, mirrored: bool) -> NDArray[np.float64]:
    """Map frame pixels to the iris network's crop of one eye: (2, 3)."""
    outer, inner = (mesh.points[i, :2].astype(np.float64) for i in corners)
    along = outer - inner if mirrored else inner - outer
    angle = math.atan2(along[1], along[0])
    side = max(IRIS_SCALE * float(np.hypot(*along)), 1.0)
    centre = (outer + inner) / 2
    matrix = crop_matrix((centre[0], centre[1]), side, angle, IRIS_SIDE)
    if mirrored:  # the network knows right eyes only: x -> side - x, in edge coordinates
        matrix[0] = -matrix[0]
        matrix[0, 2] += IRIS_SIDE - 1
    return matrix


def aspect_ratio(points: NDArray[np.float32], indices: Sequence[int]) -> float:
    """Compute (|p2 p6| + |p3 p5|) / (2 |p1 p4|) in the picture plane: a number without a unit.

    `points` are (n, 2 or more) float32, x and y first, in pixels; `indices` name p1 to p6, else
    ValueError, and IndexError where a point is not there.
    """
    p1, p2, p3, p4, p5, p6 = (points[i, :2] for i in indices)
    across = float(np.linalg.norm(p1 - p4))
    return float(np.linalg.norm(p2 - p6) + np.linalg.norm(p3 - p5)) / (2 * max(across, 1e-6))


def _to_frame(points: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring crop coordinates (n, 3) to the frame: x and y by the inverse map, z by its scale."""
    inverse = np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float64)
    # The networks count from the crop's edge, the map from pixel centres.
    xy = (points[:, :2] - 0.5) @ inverse[:, :2].T + inverse[:, 2]
    z = points[:, 2:] * math.hypot(inverse[0, 0], inverse[1, 0])
    out = np.concatenate([xy, z], axis=1).astype(np.float32)
    out.setflags(write=False)
    return out


def _unit(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9), dtype=np.float64)
