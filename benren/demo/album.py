"""Where the demo's faces come from: photographs on this machine, never copied into the project."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2

from benren.demo.cameras import Clip, Photograph, read_photograph
from verifier.errors import ConfigurationError, ImageUnreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of the cast."""

    id_photo: bytes
    """JPEG or PNG as uploaded for enrolment: another picture than those before the camera."""
    portrait: Photograph
    """The same picture: what an impostor would print or show on a screen."""
    poses: tuple[Photograph, ...]
    """What the simulated camera shows, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """The cast's faces."""

    people: Mapping[str, Person]
    """`tom`, `ana`, `wei`, `mei` and `leo` (the singer of the recording)."""
    recording: Path | None
    """Real moving pictures of `leo`; None where there are none."""
    source: str
    """In words, for the report."""
    mechanics_only: bool
    """Whether the pictures are too few to judge anything: enrolment and camera show the same."""

    def scene_of_recording(self) -> Clip | None:
        """Open the real recording as a scene that gives every frame once."""
        if self.recording is None:
            return None
        return Clip(self.recording, first=FIRST_FRAME, last=LAST_FRAME)


FIRST_FRAME, LAST_FRAME = 90, 211
"""Frames of the recording that show the singer alone; from 212 on it shows the audience."""


def open_album(folder: Path | None = None) -> Album:
    """Find the photographs of `folder`, of BENREN_FACES, of shared/faces, or of insightface.

    A folder that was named must hold the pictures; raises ConfigurationError where nothing is
    found.
    """
    named = folder or (Path(os.environ["BENREN_FACES"]) if "BENREN_FACES" in os.environ else None)
    if named is not None:
        return _shared_album(named.expanduser())
    beside = Path(__file__).resolve().parents[3] / "shared" / "faces"
    if (beside / "families").is_dir():
        return _shared_album(beside)
    return _sample_album()


def _shared_album(folder: Path) -> Album:
    families = folder / "families"
    if not families.is_dir():
        raise ConfigurationError(
            f"There are no photographs in {folder}.",
            remedy="Name the folder that holds families/, people/ and video/, or leave it out.",
        )

    def person(id_photo: Path, *poses: Path) -> Person:
        if not id_photo.is_file():
            raise ImageUnreadable(f"{id_photo} is missing.", remedy="Check the folder.")
        shown = tuple(read_photograph(pose) for pose in poses)
        return Person(
            id_photo=id_photo.read_bytes(), portrait=read_photograph(id_photo), poses=shown
        )

    def of(name: str) -> Path:
        return families / f"{name}.jpg"

    singer = folder / "video" / "miranda_reference.png"
    return Album(
        people=MappingProxyType(
            {
                "tom": person(of("Family1-Dad1"), of("Family1-Dad2"), of("Family1-Dad3")),
                "ana": person(of("Family1-Mom2"), of("Family1-Mom1")),
                "wei": person(of("Family2-Man1"), of("Family2-Man2")),
                "mei": person(of("Family2-Lady1"), of("Family2-Lady2")),
                "leo": person(singer, singer),
            }
        ),
        recording=folder / "video" / "white_house_clip.mp4",
        source="photographs of families and a real recording (shared/faces)",
        mechanics_only=False,
    )


_GROUP_WINDOWS = {
    "tom": (0.54, 0.27, 0.71, 0.66),
    "ana": (0.0, 0.20, 0.178, 0.55),
    "wei": (0.83, 0.20, 1.0, 0.62),
    "mei": (0.15, 0.06, 0.33, 0.42),
    "leo": (0.29, 0.18, 0.55, 0.66),
}
"""Five people of the group picture that the insightface package carries as its sample."""


def _sample_album() -> Album:
    spec = importlib.util.find_spec("insightface")
    origin = Path(spec.origin).parent if spec is not None and spec.origin else None
    picture = origin / "data" / "images" / "t1.jpg" if origin else None
    if picture is None or not picture.is_file():
        raise ConfigurationError(
            "There are no photographs to play the demo with.",
            remedy="Put shared/ beside the checkout, name a folder with --faces, "
            "or install benren[insightface] for its sample picture.",
        )
    people: dict[str, Person] = {}
    for name, window in _GROUP_WINDOWS.items():
        photograph = read_photograph(picture, window)
        _, data = cv2.imencode(".png", photograph.view)
        people[name] = Person(id_photo=bytes(data), portrait=photograph, poses=(photograph,))
    return Album(
        people=MappingProxyType(people),
        recording=None,
        source="the sample picture of the insightface package",
        mechanics_only=True,
    )
