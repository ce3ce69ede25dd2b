"""Find, prove and pull model files: nothing runs whose digest is not the manifest's.

A file is looked for in the folder that ``BENREN_MODELS`` names, in the user's cache, and in
``shared/models`` beside a checkout. The first file of the right name is the one: where it was
altered, that is an error, never a reason to look further. A folder that ``BENREN_MODELS`` names
and that holds model files must hold all that are asked for. Loading never touches the network;
only `Store.pull` does.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from verifier.errors import ConfigurationError, ModelAltered, ModelError, ModelMissing
from verifier.models.download import Downloader, Progress
from verifier.models.manifest import Manifest, ModelFile, bundled_manifest
from verifier.models.weights import Weights

FOLDER_VARIABLE: Final = "BENREN_MODELS"
MIRROR_VARIABLE: Final = "BENREN_MODEL_MIRROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder that may hold model files, as ``open/x.onnx`` or just ``x.onnx``."""

    folder: Path
    what: str
    """For messages: how the folder came into the list."""
    named: bool = False
    """An operator chose it: once it holds any file of the manifest, no other place is asked."""

    def candidate(self, file: ModelFile) -> Path | None:
        """Where `file` lies here; None where nothing of that name is, not even a broken link."""
        for path in (self.folder / file.path, self.folder / file.filename):
            if os.path.lexists(path):
                return path
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What became of one file that was to be pulled."""

    file: ModelFile
    path: Path
    downloaded: bool
    """False where a proven copy was already there."""


class Store:
    """The places where model files are looked for, and the way to fetch them."""

    def __init__(
        self,
        places: Sequence[Place],
        *,
        manifest: Manifest | None = None,
        mirror: str | None = None,
        downloader: Downloader | None = None,
    ) -> None:
        """Search `places` in order; `pull` writes into the first.

        `mirror` is a base address under which every file lies by its manifest path; it may serve
        prepared files too, since digests prove them.
        """
        if not places:
            raise ConfigurationError("A model store needs at least one folder.")
        self.places: Final = tuple(places)
        self.manifest: Final = manifest if manifest is not None else bundled_manifest()
        self.mirror: Final = _checked_mirror(mirror)
        self._downloader = downloader if downloader is not None else Downloader()

    @classmethod
    def default(
        cls, environ: Mapping[str, str] | None = None, *, models_dir: Path | None = None
    ) -> Store:
        """Make the store of this process; `models_dir` goes before ``BENREN_MODELS``.

        Raises ConfigurationError where a home directory is needed and this user has none.
        """
        environ = os.environ if environ is None else environ
        named = models_dir
        if named is None and environ.get(FOLDER_VARIABLE):
            named = expanded(Path(environ[FOLDER_VARIABLE]))
        places = []
        if named is not None:
            places.append(Place(folder=named.absolute(), what=FOLDER_VARIABLE, named=True))
        beside = _beside_the_checkout()
        try:
            places.append(Place(folder=cache_folder(environ) / "models", what="the user's cache"))
        except ConfigurationError:
            if not places and beside is None:
                raise
        if beside is not None:
            places.append(Place(folder=beside, what="beside the checkout"))
        return cls(places, mirror=environ.get(MIRROR_VARIABLE) or None)

    def find(self, name: str) -> Weights:
        """Read the file `name` of the manifest; the digest is that of the bytes returned.

        Raises `ModelMissing` where it is nowhere, `ModelAltered` where size or digest are not
        the manifest's, `ModelError` where it cannot be read or the manifest does not know it.
        """
        file = self.manifest.file(name)
        path = self.locate(name)
        if path is None:
            raise self._missing(file)
        return self._proven(file, path)

    def locate(self, name: str) -> Path | None:
        """Say where `find` would read `name`, without reading it; None where it is nowhere."""
        file = self.manifest.file(name)
        for place in self._searched():
            path = place.candidate(file)
            if path is not None:
                return path
        return None

    def can_fetch(self, name: str) -> bool:
        """Whether ``benren models pull`` knows a way to `name`: an address, or a recipe."""
        return self.source_of(name) is not None or self.manifest.file(name).preparable

    def source_of(self, name: str) -> str | None:
        """Name the address that `pull` would use; None where the file must be prepared."""
        file = self.manifest.file(name)
        return f"{self.mirror}/{file.path}" if self.mirror is not None else file.upstream

    def target(self, file: ModelFile) -> Path:
        """Say where `file` is to be put: in the first place, over what bears its name there."""
        first = self.places[0]
        return first.candidate(file) or first.folder / file.path

    def pull(self, name: str, *, progress: Progress | None = None) -> Pulled:
        """Have `name` in its place, downloading it where no proven copy is.

        An altered file in the first place is replaced. Raises what `find` and
        `Downloader.fetch` raise, and `ModelMissing` where the file is nowhere to download.
        """
        file = self.manifest.file(name)
        try:
            weights = self.find(name)
        except (ModelMissing, ModelAltered):
            source = self.source_of(name)
            if source is None:
                raise
            self._downloader.fetch(
                source, self.target(file), size=file.size, sha256=file.sha256, progress=progress
            )
            weights = self.find(name)  # proves that this copy is the one that will be loaded
            return Pulled(file=file, path=weights.path, downloaded=True)
        return Pulled(file=file, path=weights.path, downloaded=False)

    def _searched(self) -> tuple[Place, ...]:
        first = self.places[0]
        if first.named and any(first.candidate(file) for file in self.manifest.files.values()):
            return (first,)
        return self.places

    def _proven(self, file: ModelFile, path: Path) -> Weights:
        """Read `path` once and compare what was read; nobody can swap it in between."""
        try:
            with path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ModelError(f"{path} is not a regular file.", remedy=self._replace(file))
                # One byte more than expected: a file that is too long does not pass.
                content = stream.read(file.max_size + 1)
        except OSError as refused:
            raise ModelError(
                f"{path} cannot be read: {refused.strerror or refused}.",
                remedy=f"Allow reading it. {self._replace(file)}",
            ) from refused
        actual = hashlib.sha256(content).hexdigest()
        if file.accepts(actual, len(content)):
            return Weights(name=file.name, path=path, sha256=actual, content=content)
        if len(content) > file.max_size:
            what = f"it has {status.st_size} bytes"
        else:
            what = f"its SHA-256 is {actual} ({len(content)} bytes)"
        raise ModelAltered(
            f"{path} is altered: {what}, expected {file.sha256} ({file.size} bytes).",
            remedy=self._replace(file),
        )

    def _missing(self, file: ModelFile) -> ModelMissing:
        looked = ", ".join(f"{place.folder} ({place.what})" for place in self._searched())
        return ModelMissing(
            f"{file.path} ({file.role}) is missing; looked in {looked}.", remedy=self._replace(file)
        )

    def _replace(self, file: ModelFile) -> str:
        """Say how to get the right file."""
        put = (
            f"put the original at {self.target(file)},"
            f" or set {FOLDER_VARIABLE} to a folder that holds the whole pack."
        )
        if self.can_fetch(file.name):
            pull = f"'benren models pull {self._pack_of(file)}'"
            folder = self.places[0].folder
            if not _can_be_filled(folder):
                return (
                    f"{folder} cannot be written here: run {pull} where it can (with a volume that"
                    " is not read-only, or elsewhere, and bring the folder that it fills here),"
                    f" or {put}"
                )
            return f"Run {pull}, or {put}"
        return (
            f"It cannot be pulled without a mirror ({MIRROR_VARIABLE}), for it was prepared by hand"
            f" from {file.origin.repository}: {put}"
        )

    def _pack_of(self, file: ModelFile) -> str:
        """Name what to give to ``models pull``: a pack, or the file where no pack has it."""
        packs = self.manifest.packs.items()
        return next((name for name, pack in packs if file.name in pack.members), file.name)


def _can_be_filled(folder: Path) -> bool:
    """Tell whether this process may write into a folder, or make it."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Name the folder in the user's cache; as XDG says, a relative address does not count.

    Raises ConfigurationError where this user has no home directory.
    """
    environ = os.environ if environ is None else environ
    given = Path(environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "benren"
    return Path(environ.get("HOME") or expanded(Path("~"))) / ".cache" / "benren"


def expanded(path: Path) -> Path:
    """Put the home directory for a leading ``~``. Raises ConfigurationError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # no HOME, and a uid of no account
        raise ConfigurationError(
            f"There is no home directory for {path}: HOME is not set, or no such user is known.",
            remedy="Set HOME or XDG_CACHE_HOME, or name every folder by its absolute path.",
        ) from error


def _beside_the_checkout() -> Path | None:
    """Find ``shared/models`` beside the folder with ``pyproject.toml``; None when installed."""
    checkout = Path(__file__).resolve().parents[2]
    beside = checkout.parent / "shared" / "models"
    return beside if (checkout / "pyproject.toml").is_file() and beside.is_dir() else None


def _checked_mirror(mirror: str | None) -> str | None:
    if mirror is None:
        return None
    if not mirror.startswith(("https://", "http://")):
        raise ConfigurationError(
            f"{MIRROR_VARIABLE} is {mirror!r}, which is no http or https address.",
            remedy="Give the base address under which open/yunet_n_dynamic.onnx lies.",
        )
    return mirror.rstrip("/")
