"""A photographed head that turns: the dense landmarks as a relief, rotated and painted anew.

From one photograph of a person, pictures of the same person turned to a side, as a simulated
learner shows when a challenge asks for it. The 468 points of FaceMesh give the depth of the face;
two rings around it stand for the head, and fade into the background, which stays as it is. What a
turn would uncover (the far ear) is not there to be seen, so turns beyond some 30 degrees look
stretched. All pictures are (height, width, 3) uint8, BGR; angles have the signs of
:class:`verifier.types.Quality`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from benren.demo.cameras import as_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benren.demo.cameras import Picture
    from verifier.models.landmarks import Mesh

    Floats = NDArray[np.float64]

OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The outline of the face in the mesh (MediaPipe's face oval)."""
EARS: Final = (234, 454)
RINGS: Final = (
    *((1.06, 0.06, 1.0), (1.14, 0.14, 0.98), (1.24, 0.24, 0.92), (1.38, 0.34, 0.8)),
    *((1.56, 0.44, 0.6), (1.8, 0.5, 0.36), (2.15, 0.5, 0.14), (2.6, 0.5, 0.0)),
)
"""Rings around the outline: size over the outline's, how far behind it, in half widths of the face,
and how much of the turn it takes part in."""
NECK: Final = 0.35
"""Rings below the chin take part by so much less at their lowest point."""
PIVOT: Final = -0.2
"""How far behind the ears the head turns, in half widths of the face. A neck is behind them, but
then a near face would leave the picture."""
SOFTNESS: Final = 0.035
"""Deviation of the blur of the displacements, in half widths: the far edge is no zigzag."""
_SUBPIXEL: Final = 4


class Relief:
    """One photograph of a face, to be seen turned."""

    def __init__(self, pixels: Picture, mesh: Mesh) -> None:
        """`mesh` must have been found in `pixels`."""
        self.pixels = pixels
        """As photographed."""
        height, width = pixels.shape[:2]
        points = mesh.points.astype(np.float64)
        ears = points[list(EARS)]
        self._half = float(np.linalg.norm(ears[1] - ears[0])) / 2
        self._pivot = ears.mean(axis=0) + np.array((0.0, 0.0, PIVOT * self._half))
        rings, weights = _rings(points, self._half)
        border = _border(width, height)
        solid = np.vstack([points, rings])
        held = np.concatenate([np.ones(len(points)), weights])
        inside = _within(solid, width, height)
        self._solid = np.vstack([solid[inside], border])
        self._held = np.concatenate([held[inside], np.zeros(len(border))])
        self._triangles = _triangulate(self._solid[:, :2], width, height)

    def turned(self, yaw_deg: float, pitch_deg: float) -> Picture:
        """Paint the head turned by so much from how it was photographed."""
        seen = self._rotated(yaw_deg, pitch_deg)
        height, width = self.pixels.shape[:2]
        corners = seen[self._triangles]
        order = np.argsort(-corners[..., 2].mean(axis=1))  # the farthest is painted first
        ids = np.full((height, width), -1, np.int32)
        scaled = np.rint(corners[..., :2] * 2**_SUBPIXEL).astype(np.int32)
        for index in order:
            cv2.fillConvexPoly(ids, scaled[index], int(index), cv2.LINE_8, _SUBPIXEL)
        return self._painted(ids, corners[..., :2])

    def _rotated(self, yaw_deg: float, pitch_deg: float) -> Floats:
        """Turn every point about the pivot by its share; x right, y down, z away from us."""
        yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
        x, y, z = (self._solid - self._pivot).T
        x, z = x * math.cos(yaw) - z * math.sin(yaw), x * math.sin(yaw) + z * math.cos(yaw)
        y, z = y * math.cos(pitch) + z * math.sin(pitch), z * math.cos(pitch) - y * math.sin(pitch)
        full = np.stack([x, y, z], axis=1) + self._pivot
        return np.asarray(self._solid + (full - self._solid) * self._held[:, None], np.float64)

    def _painted(self, ids: NDArray[np.int32], corners: Floats) -> Picture:
        """Look up for every pixel where its triangle had it in the photograph."""
        rows, columns = ids.shape
        source = self._solid[self._triangles][..., :2]
        affine = _affine(corners, source)
        ys, xs = np.mgrid[0:rows, 0:columns].astype(np.float64)
        chosen = affine[np.maximum(ids, 0)]
        from_x = chosen[..., 0, 0] * xs + chosen[..., 1, 0] * ys + chosen[..., 2, 0]
        from_y = chosen[..., 0, 1] * xs + chosen[..., 1, 1] * ys + chosen[..., 2, 1]
        none = ids < 0
        from_x[none], from_y[none] = xs[none], ys[none]
        sigma = SOFTNESS * self._half
        return as_picture(
            cv2.remap(
                self.pixels,
                (xs + cv2.GaussianBlur(from_x - xs, (0, 0), sigma)).astype(np.float32),
                (ys + cv2.GaussianBlur(from_y - ys, (0, 0), sigma)).astype(np.float32),
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def _rings(points: Floats, half: float) -> tuple[Floats, Floats]:
    """Give points of a head around the face, (n, 3), and how much each takes part, (n,)."""
    oval = points[list(OVAL)]
    centre = oval.mean(axis=0)
    rings, weights = [], []
    for size, behind, share in RINGS:
        ring = centre + (oval - centre) * np.array((size, size, 0.0))
        ring[:, 2] = oval[:, 2] + behind * half
        below = np.clip((ring[:, 1] - oval[:, 1].max()) / half, 0.0, 1.0)
        rings.append(ring)
        weights.append(share * (1 - (1 - NECK) * below))
    return np.vstack(rings), np.concatenate(weights)


def _border(width: int, height: int) -> Floats:
    """Give points along the picture's edge, which never move."""
    xs, ys = np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)
    edge = [(x, y) for x in xs for y in (0.0, height - 1.0)]
    edge += [(x, y) for x in (0.0, width - 1.0) for y in ys[1:-1]]
    return np.array([(x, y, 0.0) for x, y in edge])


def _within(points: Floats, width: int, height: int) -> NDArray[np.bool_]:
    x, y = points[:, 0], points[:, 1]
    return np.asarray((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2), np.bool_)


def _triangulate(points: Floats, width: int, height: int) -> NDArray[np.intp]:
    """Triangulate (Delaunay) the points of the picture plane: (m, 3) indices."""
    plane = cv2.Subdiv2D((0, 0, width, height))
    number: dict[tuple[float, float], int] = {}
    for index, (x, y) in enumerate(points.astype(np.float32)):
        number.setdefault((float(x), float(y)), index)
    plane.insert([*number])
    found = []
    for row in plane.getTriangleList():
        corners = [(float(row[i]), float(row[i + 1])) for i in (0, 2, 4)]
        if all(corner in number for corner in corners):
            found.append([number[corner] for corner in corners])
    return np.array(found, np.intp)


def _affine(seen: Floats, source: Floats) -> Floats:
    """Map each triangle of `seen` (m, 3, 2) to `source`: (m, 3, 2), applied to (x, y, 1)."""
    ones = np.ones((*seen.shape[:2], 1))
    system = np.concatenate([seen, ones], axis=2)
    flat = np.abs(np.linalg.det(system)) < 1e-9
    system[flat] = np.eye(3)
    return np.asarray(np.linalg.solve(system, source), np.float64)
