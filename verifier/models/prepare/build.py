"""From upstream to the pack: fetch the pinned files, convert them, prove the results, place them.

Upstream is a base address (the public one, or a mirror with the same paths) or a folder that
holds the files by name or by the same paths. Every file's digest is compared before it is parsed,
every result's digest with the manifest's before it gets its name.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, TypeAlias

import onnx
from pydantic import BaseModel, ConfigDict, Field

from verifier.errors import ConfigurationError, ModelAltered, ModelError, ModelMissing
from verifier.models.download import Downloader, Progress
from verifier.models.manifest import ModelFile
from verifier.models.prepare import minifasnet, openvino_ir, tfjs, torch_state
from verifier.models.store import Store

UPSTREAM_VARIABLE: Final = "BENREN_UPSTREAM"
BUNDLED: Final = Path(__file__).with_name("recipes.toml")

Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Record):
    """One file as upstream has it."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    path: Annotated[str, Field(pattern=r"^[\w./-]+$")]
    sha256: Digest
    size: Annotated[int, Field(gt=0, le=2**28)]
    """Bytes."""

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    def address(self, base: str) -> str:
        """Where it lies below a base address."""
        return f"{base.rstrip('/')}/{self.repository}/{self.commit}/{self.path}"


class Recipe(_Record):
    """How the sources of one model file become it."""

    kind: Literal["openvino_ir", "tfjs", "minifasnet"]
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=2)]
    output_shape: tuple[int, ...] = ()
    graph_name: str = ""
    outputs: Mapping[str, str] = Field(default_factory=dict)

    def convert(self, contents: tuple[bytes, ...]) -> onnx.ModelProto:
        """Convert the sources' bytes, in the order of `sources`; raises `ModelError`."""
        if self.kind == "openvino_ir":
            return openvino_ir.convert(*contents, output_shape=self.output_shape)
        if self.kind == "tfjs":
            return tfjs.convert(*contents, graph_name=self.graph_name, outputs=self.outputs)
        return minifasnet.convert(torch_state.read(contents[0]))


class Recipes(_Record):
    """All of them, by the name of the model file."""

    version: Literal[1]
    base: Annotated[str, Field(pattern=r"^https://")]
    recipes: Mapping[str, Recipe]


@cache
def bundled_recipes() -> Recipes:
    """Read the recipes that came with this version, once."""
    return Recipes.model_validate(tomllib.loads(BUNDLED.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where the sources come from: a base address or a folder."""

    location: str
    downloader: Downloader = field(default_factory=Downloader)

    @classmethod
    def chosen(cls, given: str | None, environ: Mapping[str, str] | None = None) -> Upstream:
        """Take what was given, else ``BENREN_UPSTREAM``, else the public address."""
        environ = os.environ if environ is None else environ
        location = given or environ.get(UPSTREAM_VARIABLE) or bundled_recipes().base
        if not location.startswith(("https://", "http://")) and not Path(location).is_dir():
            raise ConfigurationError(
                f"The upstream {location!r} is neither a folder nor an http(s) address.",
                remedy=f"Set {UPSTREAM_VARIABLE} to one, or leave it out for the public address.",
            )
        return cls(location=location)

    def read(self, source: Source, *, progress: Progress | None = None) -> bytes:
        """Fetch one file and prove it; raises `ModelMissing` or `ModelAltered`."""
        if self.location.startswith(("https://", "http://")):
            return self._download(source, progress)
        folder = Path(self.location)
        mirrored = folder / source.repository / source.commit / source.path
        path = mirrored if mirrored.is_file() else folder / source.filename
        try:
            with path.open("rb") as stream:
                content = stream.read(source.size + 1)
        except OSError as refused:
            raise ModelMissing(
                f"{path} cannot be read: {refused.strerror or refused}.",
                remedy="Put the upstream file there, or prepare from the public address.",
            ) from refused
        actual = hashlib.sha256(content).hexdigest()
        if actual != source.sha256:
            raise ModelAltered(
                f"{path} is altered: its SHA-256 is {actual}, expected {source.sha256}.",
                remedy=f"Fetch {source.path} of {source.repository} at {source.commit} again.",
            )
        return content

    def _download(self, source: Source, progress: Progress | None) -> bytes:
        with tempfile.TemporaryDirectory(prefix="benren-upstream-") as folder:
            target = Path(folder) / source.filename
            self.downloader.fetch(
                source.address(self.location),
                target,
                size=source.size,
                sha256=source.sha256,
                progress=progress,
            )
            return target.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What became of one model file."""

    file: ModelFile
    path: Path
    made: Literal["found", "downloaded", "converted"]


def prepare_pack(
    store: Store,
    pack: str,
    upstream: Upstream,
    *,
    progress: Callable[[str], Progress] | None = None,
) -> list[Prepared]:
    """Have every file of `pack` in its place: found, downloaded as it is, or converted.

    `progress` is asked for a listener per file. Raises `ModelError`s; what was finished before
    the error stays.
    """
    results = []
    for file in store.manifest.members(pack):
        listen = progress(file.filename) if progress is not None else None
        results.append(prepare_file(store, file, upstream, progress=listen))
    return results


def prepare_file(
    store: Store, file: ModelFile, upstream: Upstream, *, progress: Progress | None = None
) -> Prepared:
    """Have one file in its place: found, from the store's mirror, as it is upstream, or converted.

    Raises `ModelError`s; a file that has neither address nor recipe raises what finding it raised.
    """
    try:
        return Prepared(file=file, path=store.find(file.name).path, made="found")
    except (ModelMissing, ModelAltered):
        if store.mirror is not None:
            pulled = store.pull(file.name, progress=progress)
            return Prepared(file=file, path=pulled.path, made="downloaded")
        if file.name not in bundled_recipes().recipes and file.upstream is None:
            raise
    return _from_upstream(store, file, upstream, progress)


def _from_upstream(
    store: Store, file: ModelFile, upstream: Upstream, progress: Progress | None
) -> Prepared:
    target = store.target(file)
    recipe = bundled_recipes().recipes.get(file.name)
    if recipe is not None:
        contents = tuple(upstream.read(source, progress=progress) for source in recipe.sources)
        content = recipe.convert(contents).SerializeToString()
    else:
        source = Source(**file.origin.model_dump(), sha256=file.sha256, size=file.size)
        content = upstream.read(source, progress=progress)
    _place(file, content, target)
    path = store.find(file.name).path  # proves that this copy is the one that will be loaded
    return Prepared(file=file, path=path, made="converted" if recipe else "downloaded")


def _place(file: ModelFile, content: bytes, target: Path) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if not file.accepts(digest, len(content)):
        raise ModelAltered(
            f"The prepared {file.filename} has SHA-256 {digest}, which the manifest does not list.",
            remedy="Another version of onnx may write other bytes: install the locked versions.",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as refused:
        raise ModelError(
            f"{target} cannot be written: {refused.strerror or refused}.",
            remedy="Free space or allow writing there, or set BENREN_MODELS to another folder.",
        ) from refused
