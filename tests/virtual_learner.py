"""A learner for tests: real photographs of a person, and the same person turned to every side.

``poses(name, faces_dir, store)`` gives JPEG files of 640 x 480 by pose (`neutral`, `left`, `right`,
`up`, `down`; the person's own directions), to be drawn on a canvas or pushed as frames; show one
of them for about a second per step, `neutral` in between, with a little motion. Enrol the person
with ``id_photo(name, faces_dir)``, which is another picture.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from benren.demo.cameras import as_picture
from benren.demo.poses import PoseStudio
from verifier.models.store import Store

PHOTOGRAPHS = {
    "dad": ("families/Family1-Dad3.jpg", "families/Family1-Dad2.jpg"),
    "mom": ("families/Family1-Mom2.jpg", "families/Family1-Mom1.jpg"),
    "lady": ("families/Family2-Lady2.jpg", "families/Family2-Lady1.jpg"),
    "man": ("families/Family2-Man1.jpg", "families/Family2-Man2.jpg"),
    "obama": ("people/obama/2.jpg", "people/obama/1.jpg"),
    "lacamoire": ("people/lacamoire/1.png", "people/lacamoire/2.jpg"),
    "biden": ("people/biden/1.jpg", "people/biden/2.jpg"),
    "powell": (
        "lfw10/Colin_Powell/Colin_Powell_0002.jpg",
        "lfw10/Colin_Powell/Colin_Powell_0009.jpg",
    ),
    "blair": (
        "lfw10/Tony_Blair/Tony_Blair_0007.jpg",
        "lfw10/Tony_Blair/Tony_Blair_0002.jpg",
    ),
    "bush": (
        "lfw10/George_W_Bush/George_W_Bush_0007.jpg",
        "lfw10/George_W_Bush/George_W_Bush_0008.jpg",
    ),
}
"""Name -> the photograph to enrol and the one that sits before the camera."""


def id_photo(name: str, faces_dir: Path) -> bytes:
    """Give the file to enrol a person with."""
    return (faces_dir / PHOTOGRAPHS[name][0]).read_bytes()


@cache
def poses(name: str, faces_dir: Path, models_dir: Path | None = None) -> dict[str, bytes]:
    """Give a JPEG of 640 x 480 per pose of a person."""
    return _studio(models_dir).poses(photograph(name, faces_dir))


def photograph(name: str, faces_dir: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Read the photograph that sits before the camera: (height, width, 3) uint8 BGR."""
    picture = cv2.imread(str(faces_dir / PHOTOGRAPHS[name][1]))
    assert picture is not None, name
    return as_picture(picture)


@cache
def _studio(models_dir: Path | None) -> PoseStudio:
    return PoseStudio.of_store(Store.default(models_dir=models_dir))
