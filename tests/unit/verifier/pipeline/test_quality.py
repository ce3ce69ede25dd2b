"""Tests of the quality measures and of each reason."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.models.drawing import LANDMARKS
from verifier.models.embedder import ARCFACE_TEMPLATE
from verifier.pipeline.align import align
from verifier.pipeline.profile import load_profile
from verifier.pipeline.quality import (
    Measures,
    head_pose_deg,
    measure,
    reasons_against,
    sharpness,
    unified_score,
    uniformity,
)
from verifier.pipeline.selftest import drawn_face
from verifier.types import Face, Frame, Quality, Reason

LEVELS = load_profile().quality
TEMPLATE = np.array(ARCFACE_TEMPLATE, dtype=np.float32)


def face_at(landmarks: np.ndarray, score: float = 0.93) -> Face:
    """A face with the given landmarks and a box around them."""
    low, size = landmarks.min(axis=0), np.ptp(landmarks, axis=0)
    x, y = (float(v) for v in low - 0.5 * size)
    return Face(
        box=(x, y, float(2 * size[0]), float(2 * size[1])),
        score=score,
        landmarks=landmarks.astype(np.float32),
    )


def measured(pixels: np.ndarray, face: Face | None = None) -> Measures:
    """Measure a picture with the drawn face's landmarks, or those of `face`."""
    frame = Frame(pixels=pixels, digest="")
    face = face or face_at(np.array(LANDMARKS, dtype=np.float64))
    (aligned,) = align([frame], [face], TEMPLATE, 112)
    return measure(frame, aligned, LEVELS)


def reasons(pixels: np.ndarray, face: Face | None = None) -> set[Reason]:
    """Give the reasons at the probe's limits."""
    return set(reasons_against(measured(pixels, face), LEVELS.probe))


DRAWN = drawn_face().pixels


def textured() -> np.ndarray:
    """The drawing with fine grain, as sharp as a photograph."""
    grain = np.random.default_rng(2).normal(0, 6, DRAWN.shape)
    return np.clip(DRAWN + grain, 0, 255).astype(np.uint8)


def test_a_plain_frontal_face_is_usable() -> None:
    """No reason against the drawing with some grain, and a pose near zero."""
    found = measured(textured())
    assert reasons_against(found, LEVELS.probe) == ()
    assert reasons_against(found, LEVELS.enrolment) == ()
    assert abs(found.quality.head_pose_yaw_deg) < 3
    assert abs(found.quality.head_pose_roll_deg) < 1
    assert found.quality.inter_eye_distance_px == pytest.approx(60)
    assert 0 < found.quality.unified_quality_score <= 1


def covered(rows: slice, columns: slice, colour: tuple[int, int, int] = (40, 40, 40)) -> np.ndarray:
    """The face with a plain sheet before it."""
    picture = textured()
    picture[rows, columns] = colour
    return picture


def side_lit() -> np.ndarray:
    """One half of the face in the dark."""
    picture = textured().astype(np.float64)
    picture[:, 162:] *= 0.12
    return picture.astype(np.uint8)


SPOILT = {
    Reason.BLURRED: cv2.GaussianBlur(textured(), (0, 0), 7),
    Reason.TOO_DARK: (textured() * 0.1).astype(np.uint8),
    Reason.TOO_BRIGHT: np.clip(textured().astype(int) + 90, 0, 255).astype(np.uint8),
    Reason.UNEVEN_LIGHT: side_lit(),
    Reason.EYES_HIDDEN: covered(slice(130, 175), slice(90, 230)),
    Reason.OCCLUDED: covered(slice(205, 260), slice(90, 230), (200, 160, 120)),
}


@pytest.mark.parametrize("reason", SPOILT)
def test_each_spoilt_picture_has_its_reason(reason: Reason) -> None:
    """What is wrong with a picture is among the reasons."""
    assert reason in reasons(SPOILT[reason])


def test_motion_in_any_direction_is_blur() -> None:
    """Horizontal and vertical motion are found, though the other direction stays sharp."""
    for shape in ((1, 41), (41, 1)):
        moved = cv2.filter2D(textured(), -1, np.full(shape, 1 / 41))
        assert Reason.BLURRED in reasons(moved)


def test_a_face_turned_away_and_one_too_small_are_told() -> None:
    """The nose beside the eyes' middle line is a turned head; near eyes are a far face."""
    turned = np.array(LANDMARKS, dtype=np.float64)
    turned[2, 0] += 45
    assert Reason.TURNED_AWAY in reasons(textured(), face_at(turned))
    small = np.array(LANDMARKS, dtype=np.float64) * 0.2 + 100
    assert Reason.FACE_TOO_SMALL in reasons(textured(), face_at(small))


@pytest.mark.parametrize("shift", [(-125, 0), (120, 0), (0, -150), (0, 90)])
def test_a_face_at_any_border_is_cut_off(shift: tuple[int, int]) -> None:
    """Left, right, top and bottom."""
    moved = np.array(LANDMARKS, dtype=np.float64) + shift
    assert Reason.FACE_CUT_OFF in reasons(textured(), face_at(moved))


def test_an_unsure_detector_means_a_cover() -> None:
    """Covers and odd lights make the detector unsure long before it fails."""
    face = face_at(np.array(LANDMARKS, dtype=np.float64), score=0.8)
    assert reasons(textured(), face) == {Reason.OCCLUDED}


def test_only_the_near_eye_of_a_turned_face_is_judged() -> None:
    """The far eye lies behind the nose; that is no cover."""
    turned = np.array(LANDMARKS, dtype=np.float64)
    turned[2, 0] += 25
    half = covered(slice(130, 175), slice(168, 230))
    assert Reason.EYES_HIDDEN in reasons(half)
    assert Reason.EYES_HIDDEN not in reasons(half, face_at(turned))


@pytest.mark.parametrize("angle", [-30.0, -10.0, 0.0, 25.0])
def test_roll_is_the_angle_of_the_eyes_and_leaves_yaw_alone(angle: float) -> None:
    """A tilted head has the roll that it was tilted by: towards its left shoulder is positive."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    points = (np.array(LANDMARKS) - 160) @ np.array([[c, s], [-s, c]]) + 160
    yaw, pitch, roll = head_pose_deg(face_at(points))
    straight = head_pose_deg(face_at(np.array(LANDMARKS, dtype=np.float64)))
    assert roll == pytest.approx(angle, abs=0.1)
    assert (yaw, pitch) == pytest.approx(straight[:2], abs=0.1)


def test_signs_of_yaw_and_pitch() -> None:
    """Nose to the image's right: to the own left, positive. Nose up: looking up, positive."""
    points = np.array(LANDMARKS, dtype=np.float64)
    right, up = points.copy(), points.copy()
    right[2, 0] += 12
    up[2, 1] -= 12
    straight = head_pose_deg(face_at(points))
    assert head_pose_deg(face_at(right))[0] > straight[0] + 5
    assert head_pose_deg(face_at(up))[1] > straight[1] + 5


def test_sharpness_of_known_patterns() -> None:
    """A ramp has none; stripes have it across only, so the weaker direction is 0."""
    y, x = np.mgrid[:112, :112].astype(np.float64)
    assert sharpness(x + y) == pytest.approx(0)
    assert sharpness(100 * (x % 2)) == pytest.approx(0)
    checks = 100 * ((x + y) % 2)
    assert sharpness(checks) == pytest.approx(200.0**2)


def test_uniformity_of_known_halves() -> None:
    """Equal halves share everything, black and white halves nothing."""
    grey = np.full((112, 112), 100.0)
    assert uniformity(grey) == pytest.approx(1)
    grey[:, 56:] = 200
    assert uniformity(grey) == pytest.approx(0)


def quality_of(**changes: float) -> Quality:
    """An ideal face with some values changed."""
    values = {
        "sharpness": 100.0,
        "illumination_mean": 130.0,
        "illumination_uniformity": 0.9,
        "head_pose_yaw_deg": 0.0,
        "head_pose_pitch_deg": 0.0,
        "head_pose_roll_deg": 0.0,
        "inter_eye_distance_px": 100.0,
        "unified_quality_score": 0.0,
    }
    return Quality(**(values | changes))


def test_the_unified_score_is_1_at_the_ideal_and_0_at_the_limit() -> None:
    """The worst of the values decides."""
    assert unified_score(quality_of(), LEVELS) == 1.0
    assert unified_score(quality_of(sharpness=LEVELS.probe.min_sharpness), LEVELS) == 0.0
    assert unified_score(quality_of(head_pose_yaw_deg=-90), LEVELS) == 0.0
    middle = (LEVELS.probe.min_inter_eye_px + LEVELS.ideal.min_inter_eye_px) / 2
    assert unified_score(quality_of(inter_eye_distance_px=middle), LEVELS) == pytest.approx(0.5)


@given(
    sharp=st.floats(0, 1e4), mean=st.floats(0, 255), uniform=st.floats(0, 1),
    yaw=st.floats(-90, 90), pitch=st.floats(-90, 90), eyes=st.floats(0, 1e3),
)  # fmt: skip
def test_the_unified_score_is_positive_only_within_the_limits(
    *, sharp: float, mean: float, uniform: float, yaw: float, pitch: float, eyes: float
) -> None:
    """A face that fails a limit scores 0, and the score never leaves 0..1."""
    quality = quality_of(
        sharpness=sharp, illumination_mean=mean, illumination_uniformity=uniform,
        head_pose_yaw_deg=yaw, head_pose_pitch_deg=pitch, inter_eye_distance_px=eyes,
    )  # fmt: skip
    score = unified_score(quality, LEVELS)
    assert 0 <= score <= 1
    found = dataclasses.replace(measured(textured()), quality=quality)
    if reasons_against(found, LEVELS.probe):
        assert score == 0
