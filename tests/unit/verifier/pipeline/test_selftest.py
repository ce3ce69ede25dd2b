"""Tests of the self-test: it passes with sound networks and notices each kind of nonsense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from verifier.errors import InferenceFailed
from verifier.models.drawing import LANDMARKS, SIZE
from verifier.models.landmarks import Mesh
from verifier.models.packs import Pack, load_pack
from verifier.models.runtime import Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.profile import load_profile
from verifier.pipeline.selftest import drawn_face

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def pack() -> Pack:
    """The real default pack."""
    return load_pack("open", Store.default(), Runtime("cpu", threads=1))


def run(pack: Pack) -> None:
    """Run the self-test of an engine on `pack`."""
    Engine(pack, load_profile()).self_test()


@pytest.mark.parametrize("name", ["open", "edgeface"])
def test_real_networks_pass(name: str) -> None:
    """Every network of both packs, on the drawn face."""
    run(load_pack(name, Store.default(), Runtime("cpu", threads=1)))


class Wrapped:
    """A network's wrapper of which one method is replaced."""

    def __init__(self, inner: object, **replaced: object) -> None:
        self._inner = inner
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on."""
        return getattr(self._inner, name)


def test_an_embedder_that_gives_noise_fails(pack: Pack) -> None:
    """Unit vectors without any sense are noticed."""
    rng = np.random.default_rng(8)

    def noise(crops: list[np.ndarray]) -> np.ndarray:
        vectors = rng.normal(size=(len(crops), 256))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    broken: Any = Wrapped(pack.embedder, embed=noise)
    with pytest.raises(InferenceFailed, match="unlike"):
        run(replace(pack, embedder=broken))


def test_a_detector_that_is_off_fails(pack: Pack) -> None:
    """Landmarks far from where they were drawn are noticed."""

    def shifted(images: np.ndarray) -> list[Any]:
        return [
            tuple(replace(face, landmarks=face.landmarks[[1, 0, 2, 4, 3]]) for face in faces)
            for faces in pack.detector.detect(images)
        ]

    broken: Any = Wrapped(pack.detector, detect=shifted)
    with pytest.raises(InferenceFailed, match=r"landmarks|unlike"):
        run(replace(pack, detector=broken))


def test_a_liveness_network_that_leaves_the_range_fails(pack: Pack) -> None:
    """A score that is no probability is noticed."""
    broken = tuple(
        Wrapped(network, score=lambda crops: np.full(len(crops), np.nan, np.float32))
        for network in pack.liveness
    )
    with pytest.raises(InferenceFailed, match="liveness"):
        run(replace(pack, liveness=broken))  # type: ignore[arg-type]


def test_a_mesh_that_is_off_fails(pack: Pack) -> None:
    """Dense landmarks in the wrong place are noticed."""

    def nowhere(frames: list[Any], faces: list[Any]) -> list[Mesh]:
        return [Mesh(points=np.zeros((468, 3), np.float32), face_flag=1.0) for _ in faces]

    broken: Any = Wrapped(pack.mesh, locate=nowhere)
    with pytest.raises(InferenceFailed, match="eyes"):
        run(replace(pack, mesh=broken))


def test_a_pack_without_a_mesh_passes(pack: Pack) -> None:
    """Dense landmarks are optional."""
    run(replace(pack, mesh=None))


def test_the_drawing_is_the_same_every_time_and_holds_its_landmarks() -> None:
    """It is drawn once, read-only; the pupils are dark where the eyes are said to be."""
    frame = drawn_face()
    assert frame is drawn_face()
    assert frame.pixels.shape == (SIZE, SIZE, 3)
    assert not frame.pixels.flags.writeable
    for x, y in LANDMARKS[:2]:
        assert frame.pixels[y, x].mean() < 80
