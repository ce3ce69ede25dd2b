"""Real faces to prove prepared graphs on: photographs on this machine, never copied anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from verifier.errors import BenrenError, ConfigurationError
from verifier.models.detector import YuNet
from verifier.models.packs import DEFAULT_PACK
from verifier.models.prepare.crops import Portrait
from verifier.models.runtime import Runtime
from verifier.pipeline.detect import SURE_SCORE, detect_large

if TYPE_CHECKING:
    from verifier.models.store import Store
    from verifier.types import Frame

FACES_VARIABLE: Final = "BENREN_FACES"
MOST: Final = 6
"""Portraits; each gives four crops to every network."""
TRIED: Final = 60
"""Files that are looked at for them."""
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})


def find_portraits(named: Path | None, store: Store) -> tuple[Portrait, ...]:
    """Find photographs with one plain face: in `named`, BENREN_FACES, or shared/faces beside.

    Gives none where no folder was named and none is beside the checkout. Raises
    `ConfigurationError` where a folder was named and shows no face, and what loading the detector
    raises.
    """
    given = named or (Path(os.environ[FACES_VARIABLE]) if FACES_VARIABLE in os.environ else None)
    folder = given or beside_the_checkout()
    if folder is None:
        return ()
    detector = YuNet(
        Runtime("cpu", warm_up=False).load(
            store.find(store.manifest.pack(DEFAULT_PACK).detector), YuNet.PIXELS
        )
    )
    found: list[Portrait] = []
    for frame in _frames(folder):
        (faces,) = detect_large([frame], detector)
        if len(faces) == 1 and faces[0].score >= SURE_SCORE:
            found.append(
                Portrait(
                    pixels=frame.pixels,
                    landmarks=faces[0].landmarks,
                    about=f"photographs of {folder.name}",
                )
            )
        if len(found) == MOST:
            break
    if given is not None and not found:
        raise ConfigurationError(
            f"No picture of {folder} shows one plain face (of the first {TRIED}).",
            remedy=f"Name a folder with portraits by --faces or {FACES_VARIABLE}, or leave it out.",
        )
    return tuple(found)


def beside_the_checkout() -> Path | None:
    """Find ``shared/faces`` beside the folder with ``pyproject.toml``; None when installed."""
    checkout = Path(__file__).resolve().parents[1]
    beside = checkout.parent / "shared" / "faces"
    return beside if (checkout / "pyproject.toml").is_file() and beside.is_dir() else None


def _frames(folder: Path) -> Iterator[Frame]:
    """Decode pictures below `folder`, in the order of their names; others are passed over."""
    from benren.inference import read_frame  # noqa: PLC0415 - heavy
    from verifier.pipeline.intake import DEFAULT_LIMITS  # noqa: PLC0415

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in paths[:TRIED]:
        try:
            yield read_frame(path, DEFAULT_LIMITS)
        except BenrenError:
            continue
