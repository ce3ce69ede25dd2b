"""What a stream needs of the pipeline and of the keys, as small Protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from verifier.pipeline.ports import Priority
from verifier.types import Evidence, Face, Frame, HeadPose, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector


class Inference(Protocol):
    """The part of `verifier.pipeline.batching.Batcher` that streams use.

    `priority`: whether somebody waits; `owner`: who takes turns with others of that priority.
    """

    async def glance(
        self,
        picture: bytes | Frame,
        *,
        last: LastSeen | None,
        closely: bool = False,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> Glance:
        """Say who is there, off the event loop; `last` is what the camera showed before.

        `closely`: with the frame and exact landmarks. Raises ImageError.
        """
        ...

    async def inspect(
        self,
        pictures: Sequence[bytes | Frame],
        *,
        digests: Sequence[str],
        faces: Sequence[tuple[Face, ...]],
        reference: Vector,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> list[Evidence]:
        """Say what each picture says about the face most similar to the reference."""
        ...

    async def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> list[Evidence]:
        """Say what each frame says about the face most similar to its reference."""
        ...

    async def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> list[HeadPose | None]:
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


class LookObserver(Protocol):
    """Hears what becomes of identity samples."""

    def look_taken(self, waited_ms: int) -> None:
        """Note a look, `waited_ms` after its frame arrived, once its event has been handed over."""
        ...

    def look_passed_over(self) -> None:
        """Note a look that was due and not taken: inference was too far behind."""
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
