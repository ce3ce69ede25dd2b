"""Pictures of a person looking straight, to both sides, up and down, made from one photograph.

What a learner shows who follows the arrows of a challenge. Directions are the person's own: who
turns to his left turns to the right of the picture. The demo's cameras move between the poses; a
test in a browser draws the JPEG files on a canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

import cv2
import numpy as np

from benren.demo.cameras import VGA, Size, as_picture
from benren.demo.turning import Relief
from verifier.errors import ImageUnreadable
from verifier.models.packs import DEFAULT_PACK, load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.detect import detect
from verifier.types import Frame

if TYPE_CHECKING:
    from benren.demo.cameras import Picture
    from verifier.models.detector import Detector
    from verifier.models.landmarks import FaceMesh
    from verifier.types import Face

YAW_DEG: Final = 32.0
PITCH_DEG: Final = 26.0
"""How far the head is turned; a mesh reads some three quarters of it."""
ANGLES: Final = {
    "neutral": (0.0, 0.0),
    "left": (YAW_DEG, 0.0),
    "right": (-YAW_DEG, 0.0),
    "up": (0.0, PITCH_DEG),
    "down": (0.0, -PITCH_DEG),
}
"""Pose -> yaw and pitch in degrees, signs as in :class:`verifier.types.Quality`."""
FACE_SHARE: Final = 0.45
"""Height of the face in the frame: near enough for every network, with room to turn."""


class PoseStudio:
    """Turns photographs into poses; needs a detector and a mesh of its own."""

    def __init__(self, detector: Detector, mesh: FaceMesh) -> None:
        self._detector = detector
        self._mesh = mesh

    @classmethod
    def of_store(cls, store: Store) -> Self:
        """Load what is needed of the default pack. Raises ModelMissing, ModelAltered."""
        pack = load_pack(DEFAULT_PACK, store, Runtime("cpu", threads=1))
        assert pack.mesh is not None  # noqa: S101 - the default pack has one
        return cls(pack.detector, pack.mesh)

    def relief(self, photograph: Picture, *, size: Size = VGA, share: float = FACE_SHARE) -> Relief:
        """Frame the largest face of a photograph as a camera would, ready to be turned.

        Raises ImageUnreadable where there is no face.
        """
        x, y, wide, tall = self._face(photograph).box
        width, height = size
        scale = share * height / tall
        shift = (width / 2 - scale * (x + wide / 2), 0.48 * height - scale * (y + tall / 2))
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
        framed = as_picture(
            cv2.warpAffine(
                photograph if scale >= 1 else cv2.GaussianBlur(photograph, (0, 0), 0.4 / scale),
                matrix,
                size,
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
        return self.relief_in_place(framed)

    def relief_in_place(self, picture: Picture) -> Relief:
        """Take the largest face of a picture as it is. Raises ImageUnreadable without one."""
        (mesh,) = self._mesh.locate([picture], [self._face(picture)])
        return Relief(picture, mesh)

    def most_frontal(self, pictures: Sequence[Picture]) -> Picture:
        """Pick the picture whose largest face is surest and looks straightest.

        Raises ImageUnreadable where none shows a face.
        """

        def worth(picture: Picture) -> float:
            (faces,) = detect([Frame(pixels=picture, digest="")], self._detector)
            if not faces:
                return float("-inf")
            (mesh,) = self._mesh.locate([picture], [faces[0]])
            yaw, pitch, _ = mesh.pose_deg()
            return faces[0].score + mesh.face_flag - (abs(yaw) + abs(pitch + 9.0)) / 45

        best = max(pictures, key=worth)
        self._face(best)
        return best

    def poses(self, photograph: Picture, *, size: Size = VGA) -> dict[str, bytes]:
        """Give a JPEG per pose of `ANGLES`."""
        relief = self.relief(photograph, size=size)
        return {name: jpeg_of(relief.turned(*angles)) for name, angles in ANGLES.items()}

    def _face(self, picture: Picture) -> Face:
        (faces,) = detect([Frame(pixels=picture, digest="")], self._detector)
        if not faces:
            raise ImageUnreadable("There is no face in the photograph.", remedy="Take another one.")
        return faces[0]


def jpeg_of(picture: Picture, quality: int = 92) -> bytes:
    """Encode a picture."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageUnreadable("The picture could not be encoded.")
    return bytes(data)
