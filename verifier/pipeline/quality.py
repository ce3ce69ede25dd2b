"""Quality: what a picture of a face is worth as evidence, and the reasons where it is worth none.

Values bear the names of ISO/IEC 29794-5 (OFIQ) and are measured on one canonical crop (112 x 112,
ArcFace template), whatever embedding network follows, so that limits hold for every pack.

What the cover checks can do: a plain cover (dark glasses, a black bar, a palm, a sheet of one
colour) over eyes or mouth is found nearly always; a textured one (a printed mask, hair, clear
glasses) is found only as far as it makes the detector unsure. Shut eyes are not looked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.types import AlignedFace, Face, Frame, Quality, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verifier.pipeline.profile import QualityLevels, QualityLimits

    Grey = NDArray[np.float64]

SIDE = 112
"""Side of the canonical crop."""
FACE = (slice(32, 104), slice(22, 90))
HALVES = ((slice(32, 104), slice(22, 56)), (slice(32, 104), slice(56, 90)))
RIGHT_EYE = (slice(46, 58), slice(30, 46))
LEFT_EYE = (slice(46, 58), slice(66, 82))
MOUTH = (slice(84, 102), slice(38, 74))
"""Parts of the canonical crop: rows, columns. The eyes' centres are near (52, 38) and (52, 74)."""
HISTOGRAM_BINS = 32
YAW_SLOPE = 1.46
"""tan(yaw) = 1.46 x the nose's distance from the line between the middles of eyes and mouth, in
eye distances. Least squares against FaceMesh on 134 photographs: correlation 0.97, rest 3 degrees;
FaceMesh saturates near 45, so beyond it this is a direction."""
PITCH_OF_NOSE = -202.7
PITCH_OF_HEIGHT = -78.1
NEUTRAL_NOSE = 0.574
NEUTRAL_HEIGHT = 1.02
"""Pitch from the nose's height between eyes and mouth, and from that height over the eye distance;
against FaceMesh less its neutral -9 degrees on the same photographs: rest 6 degrees, so coarse."""
TURNED_DEG = 20.0
"""Turned further, the far eye is half hidden by the nose, and only the near one is judged."""
COVERS = frozenset({Reason.EYES_HIDDEN, Reason.OCCLUDED})
"""Reasons that excuse a face from not matching, but do not make a match of it worthless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Everything measured of one face: what is reported and what only decides."""

    quality: Quality
    visible: float
    """Share of the detector's box inside the picture, 0..1."""
    side_margin: float
    """Distance of the outermost landmark from the left or right border, in face sizes."""
    end_margin: float
    """The same from the upper or lower border."""
    detector_score: float
    eye_structure: float
    """Contrast of the eye that shows less, over the contrast of the face."""
    mouth_structure: float


def measure(frame: Frame, aligned: AlignedFace, levels: QualityLevels) -> Measures:
    """Measure one face; `aligned` is its canonical crop (112, 112, 3) uint8 BGR.

    Box and landmarks of the face are pixels of the frame, (H, W, 3) uint8 BGR.
    """
    face = aligned.face
    grey = cv2.cvtColor(aligned.crop, cv2.COLOR_BGR2GRAY).astype(np.float64)
    yaw, pitch, roll = head_pose_deg(face)
    contrast = float(grey[FACE].std()) + 1e-3
    eyes = [float(grey[part].std()) / contrast for part in (RIGHT_EYE, LEFT_EYE)]
    visible, side_margin, end_margin = _placement(frame, face)
    right_eye, left_eye = face.landmarks[0], face.landmarks[1]
    values = {
        "sharpness": sharpness(grey),
        "illumination_mean": float(grey[FACE].mean()),
        "illumination_uniformity": uniformity(grey),
        "head_pose_yaw_deg": yaw,
        "head_pose_pitch_deg": pitch,
        "head_pose_roll_deg": roll,
        "inter_eye_distance_px": float(np.hypot(*(left_eye - right_eye))),
    }
    unified = unified_score(Quality(**values, unified_quality_score=0.0), levels)
    return Measures(
        quality=Quality(**values, unified_quality_score=unified),
        visible=visible,
        side_margin=side_margin,
        end_margin=end_margin,
        detector_score=face.score,
        eye_structure=max(eyes) if abs(yaw) > TURNED_DEG else min(eyes),
        mouth_structure=float(grey[MOUTH].std()) / contrast,
    )


def reasons_against(measures: Measures, limits: QualityLimits) -> tuple[Reason, ...]:
    """List why a face fails `limits`; empty where it does not."""
    quality = measures.quality
    cut = (
        measures.visible < limits.min_visible
        or measures.side_margin < limits.min_side_margin
        or measures.end_margin < limits.min_end_margin
    )
    failed = {
        Reason.FACE_TOO_SMALL: quality.inter_eye_distance_px < limits.min_inter_eye_px,
        Reason.FACE_CUT_OFF: cut,
        Reason.TOO_DARK: quality.illumination_mean < limits.min_illumination,
        Reason.TOO_BRIGHT: quality.illumination_mean > limits.max_illumination,
        Reason.UNEVEN_LIGHT: quality.illumination_uniformity < limits.min_uniformity,
        Reason.BLURRED: quality.sharpness < limits.min_sharpness,
        Reason.TURNED_AWAY: abs(quality.head_pose_yaw_deg) > limits.max_yaw_deg
        or abs(quality.head_pose_pitch_deg) > limits.max_pitch_deg,
        Reason.EYES_HIDDEN: measures.eye_structure < limits.min_eye_structure,
        Reason.OCCLUDED: measures.detector_score < limits.min_detector_score
        or measures.mouth_structure < limits.min_mouth_structure,
    }
    return tuple(reason for reason, is_so in failed.items() if is_so)


def sharpness(grey: Grey) -> float:
    """Give the variance of the second difference in its weaker direction, of the face's part.

    `grey` is the canonical crop, (112, 112) float64, 0..255.
    The usual variance of the Laplacian adds both directions and so misses motion blur, which
    leaves one of them sharp. Grey levels squared.
    """
    rows, columns = FACE
    across = np.diff(grey[rows, columns.start - 1 : columns.stop + 1], n=2, axis=1)
    down = np.diff(grey[rows.start - 1 : rows.stop + 1, columns], n=2, axis=0)
    return float(min(across.var(), down.var()))


def uniformity(grey: Grey) -> float:
    """Give the common part of the grey histograms of the two halves, 0..1 (ISO/IEC 29794-5).

    `grey` is the canonical crop, (112, 112) float64, 0..255.
    """
    shares = []
    for half in HALVES:
        bins = (grey[half] * (HISTOGRAM_BINS / 256)).astype(np.intp)
        counts = np.bincount(bins.reshape(-1), minlength=HISTOGRAM_BINS)
        shares.append(counts / counts.sum())
    return float(np.minimum(shares[0], shares[1]).sum())


def head_pose_deg(face: Face) -> tuple[float, float, float]:
    """Estimate yaw, pitch and roll from the five landmarks; signs as in `Quality`.

    Yaw from how far the nose lies beside the line from the middle of the eyes to the middle of
    the mouth, pitch from how high it lies between them, roll from the line of the eyes.
    """
    points = face.landmarks.astype(np.float64)
    eyes, mouth, nose = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2, points[2]
    along = points[1] - points[0]
    distance = max(float(np.hypot(*along)), 1e-6)
    u = along / distance
    v = np.array([-u[1], u[0]])
    height = max(float((mouth - eyes) @ v), 1e-6)
    drop = float((nose - eyes) @ v) / height
    beside = float((nose - eyes) @ u) - drop * float((mouth - eyes) @ u)
    yaw = math.degrees(math.atan(YAW_SLOPE * beside / distance))
    pitch = PITCH_OF_NOSE * (drop - NEUTRAL_NOSE)
    pitch += PITCH_OF_HEIGHT * (height / distance - NEUTRAL_HEIGHT)
    return yaw, min(max(pitch, -90.0), 90.0), math.degrees(math.atan2(u[1], u[0]))


def unified_score(quality: Quality, levels: QualityLevels) -> float:
    """Give the smallest value mapped between the probe's limit (0) and the ideal (1)."""
    worst, best = levels.probe, levels.ideal
    shares = (
        _share(quality.sharpness, worst.min_sharpness, best.min_sharpness),
        _share(quality.illumination_mean, worst.min_illumination, best.min_illumination),
        _share(quality.illumination_mean, worst.max_illumination, best.max_illumination),
        _share(quality.illumination_uniformity, worst.min_uniformity, best.min_uniformity),
        _share(abs(quality.head_pose_yaw_deg), worst.max_yaw_deg, best.max_yaw_deg),
        _share(abs(quality.head_pose_pitch_deg), worst.max_pitch_deg, best.max_pitch_deg),
        _share(quality.inter_eye_distance_px, worst.min_inter_eye_px, best.min_inter_eye_px),
    )
    return min(shares)


def _share(value: float, worst: float, best: float) -> float:
    if worst == best:
        return float(value >= best)
    return min(max((value - worst) / (best - worst), 0.0), 1.0)


def _placement(frame: Frame, face: Face) -> tuple[float, float, float]:
    """Give the visible share of the box and the margins at the sides and at the ends."""
    rows, columns = frame.pixels.shape[:2]
    x, y, width, height = face.box
    inside = max(min(x + width, columns) - max(x, 0.0), 0.0)
    inside *= max(min(y + height, rows) - max(y, 0.0), 0.0)
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    size = max(float(np.max(high - low)), 1e-6)
    sides = min(float(low[0]), columns - 1 - float(high[0])) / size
    ends = min(float(low[1]), rows - 1 - float(high[1])) / size
    return inside / max(width * height, 1e-6), sides, ends
