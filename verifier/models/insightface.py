"""Packs of InsightFace: a folder with an SCRFD detector and an ArcFace embedder.

The ``insightface`` package knows where packs lie, downloads them, and reads their manifests and
signed licences; inference goes through :mod:`verifier.models.runtime`. The weights are for
non-commercial research unless a signed licence in the folder says more, so the terms must have
been accepted (:mod:`verifier.models.licences`), which also pins the digest of every file used.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from verifier.errors import (
    LicenceNotAccepted,
    ModelAltered,
    ModelDownloadFailed,
    ModelError,
    ModelMissing,
)
from verifier.models.insightface_folder import FolderContent, from_package, read_folder
from verifier.models.licences import Acceptance, Licences
from verifier.models.store import Store

PREFIX: Final = "insightface:"
TERMS: Final = "InsightFace's weights are for non-commercial research only."
ROOT: Final = "~/.insightface"
"""Where the package keeps what it downloads (``FaceAnalysis(root=...)``)."""

_PACK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def load_folder(name: str, store: Store, licences: Licences) -> FolderContent:
    """Read the pack `name` (after ``insightface:``), whose licence was accepted.

    `name` is a pack of InsightFace, a folder below a place of `store`, or the path of a folder.
    Raises `ModelMissing`, `LicenceNotAccepted`, `ModelAltered` (another digest than at the time
    of acceptance), `ModelError`.
    """
    folder = require_folder(name, store)
    pack = pack_name(name)
    terms = terms_of(folder)
    accepted = licences.require(pack, terms=terms)
    content = read_folder(folder, store.manifest)
    for file, digest in content.digests.items():
        expected = accepted.files.get(file)
        if expected != digest:
            raise ModelAltered(
                f"{folder / file} is altered: its SHA-256 is {digest},"
                f" accepted was {expected or 'no file of that name'}.",
                remedy=(
                    "Put the original back, or, where the new file is meant, run"
                    f" 'benren models pull {pack} --accept-licence' again."
                ),
            )
    return content


def pull_folder(
    name: str,
    store: Store,
    licences: Licences,
    *,
    accept_licence: bool,
    root: Path | None = None,
) -> tuple[FolderContent, Acceptance]:
    """Download the pack `name` where it is not there yet, and record that its licence is accepted.

    Raises `LicenceNotAccepted` before anything is fetched, where `accept_licence` is false and
    there is no earlier record.
    """
    pack = pack_name(name)
    if not accept_licence:
        accepted = licences.require(pack, terms=TERMS)
        return load_folder(name, store, licences), accepted
    folder = find_folder(name, store, root=root)
    if folder is None:
        if _is_path(name):
            raise _missing(name, store)
        folder = _download(name, (root or Path(ROOT)).expanduser())
    content = read_folder(folder, store.manifest)
    accepted = licences.accept(pack, terms=terms_of(folder), files=content.digests)
    return content, accepted


def require_folder(name: str, store: Store) -> Path:
    """Say where the pack `name` lies; raises `ModelMissing` where it is nowhere."""
    folder = find_folder(name, store)
    if folder is None:
        raise _missing(name, store)
    return folder


def find_folder(name: str, store: Store, *, root: Path | None = None) -> Path | None:
    """Say where the pack `name` lies; None where it is nowhere."""
    if _is_path(name):
        candidates = [Path(name).expanduser()]
    elif _PACK_NAME.fullmatch(name):
        candidates = [place.folder / name for place in store.places]
        candidates.append((root or Path(ROOT)).expanduser() / "models" / name)
    else:
        raise ModelError(
            f"{name!r} is neither the name of an InsightFace pack nor a path.",
            remedy="Give a name like buffalo_l, or a path with a slash.",
        )
    return next((_unnested(folder) for folder in candidates if folder.is_dir()), None)


def pack_name(name: str) -> str:
    """Spell the pack's whole name, the same however a path was written."""
    return PREFIX + (str(Path(name).expanduser().resolve()) if _is_path(name) else name)


def terms_of(folder: Path) -> str:
    """Say under which terms the weights of `folder` are; a signed licence may grant more.

    Raises `LicenceNotAccepted` where there is a licence file that is not valid: it never counts
    as none.
    """
    if not (folder / "MODEL.LICENSE").exists() and not (folder / "manifest.json").exists():
        return TERMS
    inspect = from_package("insightface.model_zoo.model_license", "inspect_model_package_license")
    found = inspect(folder)
    if found.error is not None:
        raise LicenceNotAccepted(
            f"The licence in {folder} is not valid: {found.error}",
            remedy="Ask InsightFace for a valid MODEL.LICENSE, or use another pack.",
        )
    if found.commercial_use_permitted:
        return f"Commercial licence {found.license.license_id} of InsightFace for this model."
    return TERMS


def _is_path(name: str) -> bool:
    return os.sep in name or name.startswith(("~", "."))


def _unnested(folder: Path) -> Path:
    """Step into the only subfolder where an archive holds its folder twice (antelopev2 does)."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if not any(folder.glob("*.onnx")) and len(inner) == 1 and any(inner[0].glob("*.onnx")):
        return inner[0]
    return folder


def _missing(name: str, store: Store) -> ModelMissing:
    if _is_path(name):
        return ModelMissing(
            f"The folder {Path(name).expanduser()} does not exist.",
            remedy="Give the path of a folder with an SCRFD and an ArcFace file.",
        )
    places = [str(place.folder) for place in store.places] + [f"{ROOT}/models"]
    return ModelMissing(
        f"The InsightFace pack {name} is missing; looked in {', '.join(places)}.",
        remedy=f"Run 'benren models pull {PREFIX}{name} --accept-licence'.",
    )


def _download(name: str, root: Path) -> Path:
    """Let the package download beside the final folder, and move it there when it is whole."""
    download = from_package("insightface.utils.storage", "download")
    final = root / "models" / name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".benren-") as scratch:
            with contextlib.redirect_stdout(sys.stderr):  # it prints; ours may be JSON Lines
                whole = Path(download("models", name, root=scratch))
            if not any(whole.glob("**/*.onnx")):
                raise ModelDownloadFailed(f"The archive of {name} holds no ONNX file.")
            shutil.move(whole, final)
    except (OSError, RuntimeError, zipfile.BadZipFile) as failed:  # requests' errors are OSErrors
        raise ModelDownloadFailed(
            f"The InsightFace pack {name} could not be downloaded: {failed}.",
            remedy=(
                f"Check the name and the network, or unpack its archive at {final} by hand and"
                " run this again."
            ),
        ) from failed
    return _unnested(final)
