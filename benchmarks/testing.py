"""For tests: an engine that reads faces off painted pictures, and data sets of such pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verifier.pipeline.engine import Enrolment
from verifier.pipeline.profile import load_profile
from verifier.types import Evidence, Face, Reason

if TYPE_CHECKING:
    from verifier.pipeline.profile import ThresholdProfile
    from verifier.types import Frame, Image, Vector

CELLS = 8
"""A painted face is 8 x 8 cells of colour, which are its vector."""
CELL_PX = 8
STRIP_PX = 8
"""Rows below the face whose brightness is the liveness score."""


def paint(person: int, number: int = 0, *, live: float = 1.0, spread: float = 20.0) -> Image:
    """Paint a picture (72, 64, 3) uint8 BGR of a person; pictures of one person differ a little."""
    look = np.random.default_rng(person).normal(128, 40, (CELLS, CELLS, 3))
    look += np.random.default_rng((person, number)).normal(0, spread, look.shape)
    cells = np.clip(look, 1, 255).astype(np.uint8)
    face = cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
    strip = np.full((STRIP_PX, face.shape[1], 3), round(live * 255), dtype=np.uint8)
    return np.concatenate([face, strip])


def nobody() -> Image:
    """Paint a picture without a face."""
    return np.zeros((CELLS * CELL_PX + STRIP_PX, CELLS * CELL_PX, 3), dtype=np.uint8)


def save(picture: Image, path: Path) -> None:
    """Write a picture as PNG, which changes no pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", picture)
    path.write_bytes(data.tobytes())


def save_identities(root: Path, persons: int, pictures: int = 2, *, spread: float = 20.0) -> None:
    """Write `identities/<person>/<number>.png`."""
    for person in range(persons):
        for number in range(pictures):
            path = root / "identities" / f"person-{person:04}" / f"{number}.png"
            save(paint(person, number, spread=spread), path)


class PaintedEngine:
    """Reads vector and liveness off painted pictures; counts what went through it."""

    def __init__(
        self,
        profile: ThresholdProfile | None = None,
        *,
        embedder: str = "painted",
        digest: str = "0",
        provider: str = "paper",
    ) -> None:
        self._profile = profile or load_profile("provisional-2026-11")
        self._models = {
            "detector": f"brush@{digest * 64}",
            "embedder": f"{embedder}@{digest * 64}",
            "liveness_1": f"varnish@{digest * 64}",
        }
        self._providers = dict.fromkeys(self._models, provider)
        self.assessed = 0

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> id."""
        return self._models

    @property
    def providers(self) -> Mapping[str, str]:
        """Role -> the same provider for all."""
        return self._providers

    @property
    def profile(self) -> ThresholdProfile:
        """As given."""
        return self._profile

    def assess(self, frames: Sequence[Frame], *, liveness: bool) -> list[Evidence]:
        """Read each picture."""
        self.assessed += len(frames)
        return [_read(frame, liveness=liveness) for frame in frames]

    def enrol(self, frame: Frame) -> Enrolment:
        """Refuse what shows nobody."""
        evidence = _read(frame, liveness=False)
        return Enrolment(
            embedding=evidence.embedding, quality=None, reasons=evidence.reasons, face=None
        )


def _read(frame: Frame, *, liveness: bool) -> Evidence:
    if not frame.pixels.any():
        return Evidence(digest=frame.digest, faces=(), reasons=(Reason.NO_FACE,))
    side = CELLS * CELL_PX
    face = Face(box=(0.0, 0.0, side, side), score=1.0, landmarks=np.zeros((5, 2), np.float32))
    return Evidence(
        digest=frame.digest,
        faces=(face,),
        embedding=vector_of(frame.pixels),
        liveness_score=float(frame.pixels[-1, 0, 0]) / 255 if liveness else None,
    )


def vector_of(pixels: Image) -> Vector:
    """Read the vector (192,) of a painted picture."""
    half = CELL_PX // 2
    cells = pixels[half : CELLS * CELL_PX : CELL_PX, half::CELL_PX].astype(np.float32) - 128
    flat = cells.ravel()
    return np.asarray(flat / np.linalg.norm(flat), dtype=np.float32)
