"""Tests of the fusion of liveness scores, over networks and over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.pipeline.liveness import fuse_networks, fuse_over_time, judge, score
from verifier.pipeline.profile import LivenessThresholds
from verifier.types import Face, Frame, LivenessDecision

THRESHOLDS = LivenessThresholds(live_from=0.7, spoof_below=0.4)
shares = st.floats(0, 1)


@given(st.lists(shares, min_size=3, max_size=3))
def test_the_fused_score_lies_between_the_networks_scores(scores: list[float]) -> None:
    """A mean is never beyond its parts (above the floor)."""
    (fused,) = fuse_networks(np.array([scores], dtype=np.float32))
    assert min(scores) - 1e-6 <= fused <= max(*scores, 1e-3) + 1e-6


def test_one_network_sure_of_an_attack_pulls_the_score_down() -> None:
    """Two of three are not enough to call it live; the third alone cannot make it 0."""
    (fused,) = fuse_networks(np.array([[1.0, 1.0, 0.0]], dtype=np.float32))
    assert fused == pytest.approx(0.1)


def test_each_frame_is_fused_by_itself() -> None:
    """Rows do not mix."""
    fused = fuse_networks(np.array([[0.9] * 3, [0.1] * 3], dtype=np.float32))
    assert fused == pytest.approx([0.9, 0.1])


def test_scores_without_networks_are_an_error() -> None:
    """There is nothing to fuse."""
    with pytest.raises(ValueError, match="networks"):
        fuse_networks(np.zeros((2, 0), dtype=np.float32))


@given(st.lists(shares, min_size=5, max_size=5), st.lists(shares, min_size=2, max_size=2))
def test_fewer_than_half_of_the_frames_cannot_leave_the_range_of_the_others(
    scores: list[float], planted: list[float]
) -> None:
    """Two planted frames of five leave the result within the range of the other three."""
    rest = scores[:3]
    fused = fuse_over_time([*rest, *planted])
    assert fused is not None
    assert min(rest) <= fused <= max(rest)


@given(st.lists(shares, min_size=1), st.randoms())
def test_the_order_of_the_frames_does_not_matter(scores: list[float], random: object) -> None:
    """A burst is a set."""
    shuffled = list(scores)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fuse_over_time(shuffled) == fuse_over_time(scores)


@pytest.mark.parametrize(
    ("scores", "decision"),
    [
        ([0.7], LivenessDecision.LIVE),
        ([0.69], LivenessDecision.UNDECIDED),
        ([0.4], LivenessDecision.UNDECIDED),
        ([0.39], LivenessDecision.SPOOF),
        ([0.1, 0.9, 0.9], LivenessDecision.LIVE),
        ([], LivenessDecision.UNDECIDED),
        ([float("nan")], LivenessDecision.UNDECIDED),
        ([float("nan"), 0.1], LivenessDecision.SPOOF),
    ],
)
def test_the_band_between_the_thresholds_is_undecided(
    scores: list[float], decision: LivenessDecision
) -> None:
    """At the upper threshold it is live, below the lower one it is an attack."""
    result = judge(scores, THRESHOLDS)
    assert result.decision is decision
    assert result.threshold == 0.7


class Brightness:
    """Scores a crop by its brightness and keeps the boxes that it was asked for."""

    def __init__(self) -> None:
        self.boxes: list[object] = []
        self.batches: list[int] = []

    def crop(self, pixels: np.ndarray, box: object) -> np.ndarray:
        """Keep the box, give the pixels."""
        self.boxes.append(box)
        return pixels

    def score(self, crops: list[np.ndarray]) -> np.ndarray:
        """Brightness as a share of white."""
        self.batches.append(len(crops))
        return np.array([crop.mean() / 255 for crop in crops], dtype=np.float32)


def test_every_network_sees_every_frame_in_one_batch() -> None:
    """Frames stay in order, and each network cuts its own crop."""
    frames = [Frame(pixels=np.full((40, 40, 3), v, dtype=np.uint8), digest="") for v in (255, 51)]
    faces = [
        Face(box=(float(i), 0, 9, 9), score=0.9, landmarks=np.zeros((5, 2), np.float32))
        for i in range(2)
    ]
    networks = [Brightness(), Brightness()]
    assert score(frames, faces, networks) == pytest.approx([1.0, 0.2])  # type: ignore[arg-type]
    for network in networks:
        assert network.batches == [2]
        assert network.boxes == [face.box for face in faces]
    assert score([], [], networks) == []  # type: ignore[arg-type]
