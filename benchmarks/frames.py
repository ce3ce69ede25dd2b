"""The frames that speed is measured on: VGA JPEGs of real faces, as a phone's camera sends them.

Each photograph fills the frame with its own content, swayed, noisy and encoded by the demo's
simulated camera. Two kinds: *at arm's length* (the face a third to two thirds of the height, which
every detector finds) and *near* (the face fills the frame, as phones show it).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benren.demo.cameras import VGA, Camera, Handheld, read_photograph
from verifier.errors import ConfigurationError

VARIABLE: Final = "BENREN_FACES"
AT_ARMS_LENGTH: Final = (
    "people/lacamoire/1.png",
    "people/lacamoire/2.jpg",
    "people/biden/2.jpg",
    "spoof_samples/real/minivision_T1.jpg",
    "spoof_samples/real/true_001.jpg",
    "spoof_samples/real/true_002.jpg",
)
"""Photographs of sufficient size, beside the first one of each person of `lfw10/`."""
MAX_FRAMES: Final = 16
PERIOD_S: Final = 5.0
"""Between two samples of a camera (`PresencePolicy.sample_period_ms`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One frame as it arrives."""

    name: str
    """Of the photograph."""
    jpeg: bytes = field(repr=False)


def find_faces(named: Path | None = None) -> Path:
    """Find the photographs: the folder named, BENREN_FACES, or `shared/faces` by the checkout."""
    if named is None and os.environ.get(VARIABLE):
        named = Path(os.environ[VARIABLE])
    folder = named if named is not None else Path(__file__).resolve().parents[2] / "shared/faces"
    folder = folder.expanduser().absolute()
    if not (folder / "lfw10").is_dir() or not (folder / "families").is_dir():
        raise ConfigurationError(
            f"There are no photographs to measure with in {folder}.",
            remedy="Put shared/ beside the checkout, or name the folder that holds lfw10/ and"
            f" families/ with --faces or {VARIABLE}.",
        )
    return folder


def arms_length_frames(faces: Path, number: int = 0) -> tuple[Sample, ...]:
    """Give frames with one face each at arm's length: of each camera the sample of that number."""
    paths = [
        sorted(person.glob("*.jpg"))[0]
        for person in sorted((faces / "lfw10").iterdir())
        if person.is_dir()
    ]
    paths += [faces / name for name in AT_ARMS_LENGTH if (faces / name).is_file()]
    return _seen(faces, paths[:MAX_FRAMES], number)


def near_frames(faces: Path) -> tuple[Sample, ...]:
    """Give frames that a face fills."""
    return _seen(faces, sorted((faces / "families").glob("*.jpg"))[:MAX_FRAMES])


def _seen(faces: Path, paths: list[Path], number: int = 0) -> tuple[Sample, ...]:
    samples = []
    for seed, path in enumerate(paths):
        camera = Camera(Handheld([read_photograph(path)], VGA, seed), seed=seed)
        name = path.relative_to(faces).as_posix()
        samples.append(Sample(name=name, jpeg=camera.frame(number, number * PERIOD_S)))
    return tuple(samples)
