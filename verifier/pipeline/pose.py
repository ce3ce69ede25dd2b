"""Head pose: where a head is turned, from the dense mesh and the five landmarks together.

The two err differently: the mesh saturates near 45 degrees of yaw and reads its neutral pitch some
nine degrees low, the landmarks are coarse in pitch. Their weighted mean is meant as a *change*
against the same person's own neutral pose, never as an angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from verifier.pipeline.quality import head_pose_deg
from verifier.types import Face, Frame, HeadPose

if TYPE_CHECKING:
    from verifier.models.landmarks import FaceMesh

MESH_WEIGHT: Final = 0.7
"""The rest is the landmarks'. Our choice; on lfw10 they agree to 3 degrees of yaw, 6 of pitch."""
WHOLE_FACE: Final = 0.5
"""Below this flag of the mesh there is no whole face, and the pose means nothing."""


def poses(
    frames: Sequence[Frame], faces: Sequence[Face], mesh: FaceMesh | None
) -> list[HeadPose | None]:
    """Give the pose of one face of each frame; None where the face is not whole.

    Without a mesh the five landmarks alone speak.
    """
    coarse = [head_pose_deg(face) for face in faces]
    if mesh is None:
        return [HeadPose(yaw_deg=yaw, pitch_deg=pitch, roll_deg=r) for yaw, pitch, r in coarse]
    meshes = mesh.locate([frame.pixels for frame in frames], faces)
    found: list[HeadPose | None] = []
    for one, (yaw, pitch, _) in zip(meshes, coarse, strict=True):
        if one.face_flag < WHOLE_FACE:
            found.append(None)
            continue
        fine_yaw, fine_pitch, roll = one.pose_deg()
        found.append(
            HeadPose(
                yaw_deg=MESH_WEIGHT * fine_yaw + (1 - MESH_WEIGHT) * yaw,
                pitch_deg=MESH_WEIGHT * fine_pitch + (1 - MESH_WEIGHT) * pitch,
                roll_deg=roll,
            )
        )
    return found
