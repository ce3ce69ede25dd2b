"""What a stream needs of the pipeline and of the keys, as small Protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from verifier.types import Evidence, Face, Frame, HeadPose, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector


class Inference(Protocol):
    """The part of `verifier.pipeline.batching.Batcher` that streams use."""

    async def decode(self, images: Sequence[bytes], *, owner: str = "") -> list[Frame]:
        """Decode JPEG, PNG or WebP bytes. Raises ImageError."""
        ...

    async def detect(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None,
        owner: str = "",
    ) -> list[tuple[Face, ...]]:
        """Find faces, the largest first; `last` is what each camera showed before."""
        ...

    async def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        owner: str = "",
    ) -> list[Evidence]:
        """Say what each frame says about the face most similar to its reference."""
        ...

    async def poses(self, frames: Sequence[Frame], faces: Sequence[Face]) -> list[HeadPose | None]:
        """Give the head pose of one face of each frame; None where the face is not whole."""
        ...

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Decide over the evidence of one person's frames: pure and quick."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256``."""
        ...

    @property
    def profile_version(self) -> str:
        """Version of the threshold profile in force."""
        ...


class OpenTemplate(Protocol):
    """The part of a template that streams use."""

    @property
    def embedding(self) -> Vector:
        """(d,) float32, L2-normalised."""
        ...


class Vault(Protocol):
    """The part of `verifier.pipeline.templates.TemplateVault` that streams use."""

    def open(self, blob: bytes, *, subject: str) -> OpenTemplate:
        """Open a template for its subject, or raise TemplateError."""
        ...
