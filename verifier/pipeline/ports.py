"""What the batcher needs of an engine, of its limits and of whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from verifier.types import Evidence, Face, Frame, HeadPose, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.engine import Enrolment
    from verifier.pipeline.presence import Glance
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector


class InferenceEngine(Protocol):
    """What the batcher needs of `engine.Engine`; called from several threads at a time."""

    def detect(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Find the faces of each frame; add milliseconds per stage to `timings_ms`."""
        ...

    def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Evidence]:
        """Give the evidence of each frame; add milliseconds per stage to `timings_ms`."""
        ...

    def glance(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        closely: bool = False,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Glance]:
        """Say who is there in each frame of a camera; add milliseconds per stage."""
        ...

    def refine(
        self,
        frames: Sequence[Frame],
        faces: Sequence[tuple[Face, ...]],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[tuple[Face, ...]]:
        """Place the landmarks of faces that were found at a glance."""
        ...

    def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[HeadPose | None]:
        """Give the head pose of one face of each frame."""
        ...

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Decide over the evidence of one person's frames; pure and quick."""
        ...

    def enrol(self, frame: Frame, *, strict: bool = True) -> Enrolment:
        """Judge whether a photograph can become a template (strict) or a reference."""
        ...

    def self_test(self) -> None:
        """Infer on a built-in picture, or raise."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256``."""
        ...

    @property
    def profile(self) -> Profile:
        """The threshold profile."""
        ...


class Profile(Protocol):
    """What is told of a threshold profile."""

    @property
    def version(self) -> str:
        """Its version."""
        ...


class Priority(IntEnum):
    """Who goes first."""

    INTERACTIVE = 0
    """Somebody waits for it: a check at the start, a challenge, a single verification."""
    BULK = 1
    """Nobody waits: presence in streams and what is looked at in silence, batches, imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much runs and waits at a time."""

    workers: int = 2
    """Batches that run at a time, each in a thread. On a CPU: its cores. With a GPU twice as many,
    which decode, prepare and read results; what talks to the GPU is `verifier.models.lanes`."""
    max_batch: int = 8
    """Frames that one worker takes at a time; a job is never split."""
    window_ms: float = 2.0
    """How long a batch that is not full waits for more, where no other worker is free."""
    max_pending: int = 256
    """Images that wait or run; more are turned away."""
    max_pending_bytes: int = 1024 * 1024 * 1024
    """Their bytes: as they came, and their pixels, also before they are decoded."""
    timeout_s: float = 10.0
    """Answered within this time, or not at all, where the caller does not say otherwise."""
    drain_s: float = 10.0
    """How long closing lets waiting jobs finish."""
    patience_s: float = 0.25
    """How long bulk waits before it gets a share of the batches beside interactive work."""


class BatchObserver(Protocol):
    """What metrics are told; called on the event loop."""

    def waiting(self, images: int) -> None:
        """`images` wait now."""
        ...

    def ran(
        self, job: str, *, images: int, waited_s: float, stages_ms: Mapping[str, float]
    ) -> None:
        """Note a batch of a sort of job: the wait of its first one, and the time per stage."""
        ...

    def turned_away(self, reason: str) -> None:
        """Note that a job was refused.

        `late` or `closing`, or for want of room (`room.Refusal`): `full` of images, of `bytes`,
        of `bulk`, of what this `owner` has sent, or too `large` at any time.
        """
        ...


class Unobserved:
    """The observer that counts nothing."""

    def waiting(self, images: int) -> None:
        """Ignore it."""

    def ran(
        self, job: str, *, images: int, waited_s: float, stages_ms: Mapping[str, float]
    ) -> None:
        """Ignore it."""

    def turned_away(self, reason: str) -> None:
        """Ignore it."""
