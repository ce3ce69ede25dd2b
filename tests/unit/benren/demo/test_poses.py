"""The virtual learner turns where it is told to, stays the same person, and looks alive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benren.demo.poses import ANGLES
from tests import virtual_learner
from verifier.models.packs import load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile

pytestmark = [pytest.mark.models, pytest.mark.faces, pytest.mark.slow]

LEAST_YAW_DEG, LEAST_PITCH_DEG = 15.0, 12.0


def test_poses_of_every_person(faces_dir: Path, pack_dir: Path) -> None:
    """Every pose shows one whole, live face of the same person, turned to its side only."""
    pack = load_pack("open", Store.default(models_dir=pack_dir), Runtime("cpu", threads=1))
    engine = Engine(pack, load_profile(None))
    assert pack.mesh is not None
    for name in virtual_learner.PHOTOGRAPHS:
        frames = {
            pose: decode(jpeg)
            for pose, jpeg in virtual_learner.poses(name, faces_dir, pack_dir).items()
        }
        assert set(frames) == set(ANGLES)
        evidence = dict(zip(frames, engine.assess([*frames.values()]), strict=True))
        faces = [one.faces[0] for one in evidence.values()]
        meshes = pack.mesh.locate([one.pixels for one in frames.values()], faces)
        angles = {pose: m.pose_deg() for pose, m in zip(frames, meshes, strict=True)}
        straight = evidence["neutral"]
        for pose, one in evidence.items():
            assert not one.reasons, (name, pose)
            assert one.liveness_score is not None
            assert one.liveness_score > 0.5, (name, pose)
            assert one.embedding is not None
            assert straight.embedding is not None
            assert float(one.embedding @ straight.embedding) > 0.6, (name, pose)
        yaw, pitch, _ = (
            {pose: value[i] - angles["neutral"][i] for pose, value in angles.items()}
            for i in range(3)
        )
        assert yaw["left"] > LEAST_YAW_DEG, (name, yaw)
        assert yaw["right"] < -LEAST_YAW_DEG, (name, yaw)
        assert pitch["up"] > LEAST_PITCH_DEG, (name, pitch)
        assert pitch["down"] < -LEAST_PITCH_DEG, (name, pitch)
        assert max(abs(pitch["left"]), abs(pitch["right"])) < LEAST_PITCH_DEG, (name, pitch)
        assert max(abs(yaw["up"]), abs(yaw["down"])) < LEAST_PITCH_DEG, (name, yaw)


def test_a_head_that_is_not_turned_is_the_photograph(faces_dir: Path, pack_dir: Path) -> None:
    """Without a turn, nothing of the picture changes."""
    studio = virtual_learner._studio(pack_dir)
    relief = studio.relief(virtual_learner.photograph("lady", faces_dir))
    assert np.abs(relief.turned(0, 0).astype(int) - relief.pixels.astype(int)).mean() < 1.0
