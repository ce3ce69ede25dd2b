"""Peers: they do the same work, on original graphs, with answers like ours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.frames import arms_length_frames
from benchmarks.peers import INSIGHTFACE, Ours, scrfd_path
from benchmarks.rivals import (
    LIVENESS,
    Answer,
    InsightFace,
    OpenCv,
    plain_crop,
    plain_decode,
    plain_quality,
)
from verifier.errors import BenrenError, ModelMissing
from verifier.models.liveness import crop_shifted, crop_square
from verifier.models.store import Store


def _picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((16, 16, 1), dtype=np.uint8))


@pytest.mark.parametrize("box", [(200.0, 150.0, 180.0, 220.0), (-20.0, 30.0, 400.0, 460.0)])
def test_plain_crops_are_those_of_the_product(box: tuple[float, float, float, float]) -> None:
    """Inside the frame and beyond its borders: the same geometry, so the same question."""
    picture = cv2.GaussianBlur(_picture(), (0, 0), 8.0)  # as smooth as photographs are
    for _, contract in LIVENESS:
        crop = crop_shifted if contract.geometry == "shifted" else crop_square
        ours = crop(picture, box, contract.scale, contract.side)
        plain = plain_crop(picture, box, contract)
        assert plain.shape == (contract.side, contract.side, 3)
        assert np.abs(plain.astype(int) - ours.astype(int)).mean() < 2.0


def test_plain_quality_tells_sharp_from_flat() -> None:
    """A grey wall has no sharpness."""
    flat = np.full((480, 640, 3), 90, dtype=np.uint8)
    assert plain_quality(flat, (100, 100, 200, 200)) == (0.0, 90.0)
    assert plain_quality(_picture(), (100, 100, 200, 200))[0] > 100


def test_bytes_that_are_no_picture_are_an_error() -> None:
    """A peer that decodes nothing must not look fast."""
    with pytest.raises(BenrenError, match="no picture"):
        plain_decode(b"not a jpeg")


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_opencv_says_what_the_pack_with_its_embedder_says(
    model_store: Store, faces_dir: Path
) -> None:
    """The same face, nearly the same vector, the same three liveness networks."""
    jpeg = arms_length_frames(faces_dir)[0].jpeg
    _agree(OpenCv(model_store).check(jpeg, None), Ours("open", model_store).check(jpeg, None))


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_insightface_says_what_the_pack_with_its_embedder_says(
    model_store: Store, faces_dir: Path
) -> None:
    """The same face, nearly the same vector; the library's own warnings are not ours."""
    jpeg = arms_length_frames(faces_dir)[0].jpeg
    peer = InsightFace(model_store, scrfd_path(model_store))
    _agree(peer.check(jpeg, None), Ours("edgeface", model_store).check(jpeg, None))


def _agree(peer: Answer, ours: Answer) -> None:
    assert peer.embedding is not None
    assert ours.embedding is not None
    assert float(peer.embedding @ ours.embedding) > 0.85
    assert len(peer.liveness) == len(LIVENESS)
    fused = float(np.exp(np.mean(np.log(np.clip(peer.liveness, 1e-3, 1.0)))))
    assert abs(fused - ours.liveness[0]) < 0.3


@pytest.mark.models
@pytest.mark.filterwarnings("ignore")
def test_a_peer_without_its_weights_says_what_is_missing(
    model_store: Store, tmp_path: Path
) -> None:
    """The run goes on without it, and the report repeats this."""
    with pytest.raises(ModelMissing, match="scrfd") as caught:
        InsightFace(model_store, tmp_path / "scrfd_500m_kps.onnx")
    assert "research/" in caught.value.remedy
    assert INSIGHTFACE == "insightface"
