"""What is known of every model file, and which files make a pack: ``manifest.toml``, typed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from verifier.errors import ModelError

BUNDLED = Path(__file__).with_name("manifest.toml")
MAX_FILE_BYTES = 2**30
"""No model file is larger: a file is read into memory whole."""

Role: TypeAlias = Literal["detector", "embedder", "liveness", "mesh", "iris"]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Origin(_Record):
    """Where the weights come from."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    path: Text


class InputContract(_Record):
    """What a network wants: float32 (x - mean) / divisor, x in 0..255."""

    layout: Literal["NCHW", "NHWC"]
    height: Annotated[int, Field(gt=0)] | None = None
    """px; None where the network leaves it open."""
    width: Annotated[int, Field(gt=0)] | None = None
    multiple_of: Annotated[int, Field(gt=0)] | None = None
    """What open heights and widths are multiples of."""
    batch: Annotated[int, Field(gt=0)] | None = None
    """The batch that the file fixes; None where any will do."""
    colour: Literal["BGR", "RGB"]
    mean: float
    divisor: Annotated[float, Field(gt=0)]
    crop: Text
    """What part of the picture, in words."""


class OutputContract(_Record):
    """One output of a network."""

    name: Text
    shape: Text
    meaning: Text


class OperatingPoint(_Record):
    """Measured error rates at one threshold; the FNMR is an upper bound."""

    threshold: Annotated[float, Field(ge=-1, le=1)]
    fmr: Fraction
    fnmr: Fraction


class Measured(_Record):
    """What was measured, and on what; a fact about that set, never a promise."""

    conditions: Text
    ms: Annotated[float, Field(gt=0)] | None = None
    """One inference in onnxruntime, one thread of an AVX2 core without VNNI, milliseconds."""
    operating_points: tuple[OperatingPoint, ...] = ()
    apcer_worst: Fraction | None = None
    """Of the worst attack type, at `bpcer`."""
    bpcer: Fraction | None = None


class Variant(_Record):
    """Other bytes of the same network: the same graph and weights but for rounding."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]
    made: Text
    """How these bytes come about."""


class ModelFile(_Record):
    """One ONNX file."""

    name: str
    """The key in the manifest, and the file's name without its suffix."""
    path: Annotated[str, Field(pattern=r"^[\w-]+/[\w.-]+\.onnx$")]
    """Below a models folder, with ``/``."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]
    """Bytes."""
    role: Role
    contract: Text
    """Name of its pre- and postprocessing."""
    licence: Text
    commercial: Literal["yes", "check", "no"]
    terms: Text
    """What the licence means for an operator, in words."""
    prepared: Text
    """How it was made from its origin."""
    preparable: bool = False
    """Whether ``verifier/models/prepare`` has a recipe that makes it from upstream files."""
    upstream: Annotated[str, Field(pattern=r"^https://")] | None = None
    """Where the very same bytes are; None where there is no such place."""
    origin: Origin
    input: InputContract
    outputs: Annotated[tuple[OutputContract, ...], Field(min_length=1)]
    variants: tuple[Variant, ...] = ()
    """What counts as this file besides `sha256` and `size`."""
    measured: Measured | None = None

    @property
    def filename(self) -> str:
        """The last part of `path`."""
        return PurePosixPath(self.path).name

    @property
    def max_size(self) -> int:
        """Bytes of the largest variant."""
        return max([self.size, *(variant.size for variant in self.variants)])

    def accepts(self, sha256: str, size: int) -> bool:
        """Whether bytes of this digest and size count as this file."""
        known = [(self.sha256, self.size), *((v.sha256, v.size) for v in self.variants)]
        return (sha256, size) in known

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.filename != f"{self.name}.onnx":
            raise ValueError(f"path {self.path} does not end in {self.name}.onnx")
        pinned = self.origin.commit, self.origin.path
        if self.upstream is not None and not all(part in self.upstream for part in pinned):
            raise ValueError("upstream is not the address of origin's path at origin's commit")
        return self


class PackEntry(_Record):
    """Which files make a pack, by name."""

    summary: Text
    detector: str
    embedder: str
    liveness: Annotated[tuple[str, ...], Field(min_length=1)]
    mesh: str | None = None
    iris: str | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all files, detector first."""
        extra = (name for name in (self.mesh, self.iris) if name is not None)
        return (self.detector, self.embedder, *self.liveness, *extra)

    def roles(self) -> dict[str, Role]:
        """Map each file's name to the role that it plays here."""
        named: dict[str, Role] = {self.detector: "detector", self.embedder: "embedder"}
        named |= dict.fromkeys(self.liveness, "liveness")
        if self.mesh is not None:
            named[self.mesh] = "mesh"
        if self.iris is not None:
            named[self.iris] = "iris"
        return named


class Manifest(_Record):
    """All files and packs."""

    version: Literal[1]
    packs: Mapping[str, PackEntry]
    files: Mapping[str, ModelFile]

    @model_validator(mode="before")
    @classmethod
    def _names_into_files(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("files"), dict):
            return data
        named = {
            name: {**values, "name": name} if isinstance(values, dict) else values
            for name, values in data["files"].items()
        }
        return {**data, "files": named}

    @model_validator(mode="after")
    def _packs_are_whole(self) -> Self:
        for pack_name, pack in self.packs.items():
            for name, role in pack.roles().items():
                if name not in self.files:
                    raise ValueError(f"pack {pack_name} names {name}, which is no file here")
                if self.files[name].role != role:
                    raise ValueError(f"pack {pack_name} uses {name} as {role}")
        digests = [
            digest
            for file in self.files.values()
            for digest in (file.sha256, *(variant.sha256 for variant in file.variants))
        ]
        if len(set(digests)) != len(digests):
            raise ValueError("two files have the same digest")
        return self

    def file(self, name: str) -> ModelFile:
        """Look up one file; raises `ModelError` where the manifest has none of that name."""
        if name not in self.files:
            raise ModelError(
                f"The manifest has no file {name!r}.",
                remedy=f"Choose of {', '.join(sorted(self.files))}.",
            )
        return self.files[name]

    def pack(self, name: str) -> PackEntry:
        """Look up one pack; raises `ModelError` where the manifest has none of that name."""
        if name not in self.packs:
            raise ModelError(
                f"There is no model pack {name!r}.",
                remedy=f"Choose of {', '.join(self.packs)}, or insightface:<name or folder>.",
            )
        return self.packs[name]

    def members(self, pack: str) -> tuple[ModelFile, ...]:
        """List the files of a pack."""
        return tuple(self.files[name] for name in self.pack(pack).members)


def parse_manifest(text: str, *, source: str) -> Manifest:
    """Validate the TOML `text`; raises `ModelError` naming `source` and every wrong key."""
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as wrong:
        raise ModelError(
            f"The model manifest {source} is not valid: {wrong}",
            remedy="Correct it, or reinstall benren for the original.",
        ) from wrong


@cache
def bundled_manifest() -> Manifest:
    """Read the manifest that came with this version, once."""
    return parse_manifest(BUNDLED.read_text(encoding="utf-8"), source=str(BUNDLED))
