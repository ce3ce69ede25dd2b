"""The asyncio front of the engine: micro-batches across requests, bounded in every direction.

Callers await `decode`, `detect`, `assess` or `enrol`; `queue` makes batches of what they ask.
Callers of one priority take turns by their `owner`, as a session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from verifier.errors import BenrenError
from verifier.pipeline.ports import (
    BatchLimits,
    BatchObserver,
    InferenceEngine,
    Priority,
    Unobserved,
)
from verifier.pipeline.queue import BatchQueue, Kind, Run
from verifier.types import Evidence, Face, Frame, HeadPose, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.engine import Enrolment
    from verifier.pipeline.savings import LastSeen
    from verifier.types import Vector

__all__ = ["BatchLimits", "BatchObserver", "Batcher", "InferenceEngine", "Priority", "Unobserved"]


class Batcher:
    """Runs an engine for many callers at a time. Belongs to one event loop; close it at the end."""

    def __init__(
        self,
        engine: InferenceEngine,
        *,
        decode: Callable[[bytes], Frame],
        limits: BatchLimits | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        self._engine = engine
        self._queue = BatchQueue(
            limits if limits is not None else BatchLimits(),
            observer if observer is not None else Unobserved(),
        )
        self._decode = Kind(name="decode", run=_decoder(decode), alone=True)
        self._detect = Kind(name="detect", run=_detector(engine))
        self._poses = Kind(name="pose", run=_poser(engine))
        self._enrol = {
            strict: Kind(name="enrol", run=_enroller(engine, strict), alone=True)
            for strict in (False, True)
        }
        self._assess = {
            flags: Kind(name="assess", run=_assessor(engine, *flags))
            for flags in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))
        }

    async def decode(
        self,
        images: Sequence[bytes],
        *,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
        owner: str = "",
    ) -> list[Frame]:
        """Decode JPEG, PNG or WebP bytes off the event loop. Raises ImageError, Overloaded."""
        size = sum(len(image) for image in images)
        return await self._queue.submit(
            self._decode, images, size, priority, timeout_s, owner=owner
        )

    async def detect(
        self,
        frames: Sequence[Frame],
        *,
        last: Sequence[LastSeen | None] | None = None,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
        owner: str = "",
    ) -> list[tuple[Face, ...]]:
        """Find the faces of each frame. Raises Overloaded, InferenceFailed.

        `last`: what the camera of each frame showed before (`savings.last_seen`), which makes the
        detection cheaper.
        """
        known = last if last is not None else [None] * len(frames)
        items = list(zip(frames, known, strict=True))
        return await self._queue.submit(
            self._detect, items, _pixels(frames), priority, timeout_s, owner=owner
        )

    async def assess(
        self,
        frames: Sequence[Frame],
        *,
        faces: Sequence[tuple[Face, ...]] | None = None,
        references: Sequence[Vector | None] | None = None,
        liveness: bool = True,
        embed: bool = True,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
        owner: str = "",
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Evidence]:
        """Give the evidence of each frame, in order. Raises Overloaded, InferenceFailed.

        The milliseconds per stage of the batch that the frames were part of go to `timings_ms`.
        """
        kind = self._assess[int(liveness), int(embed), int(faces is not None)]
        items = list(
            zip(
                frames,
                faces if faces is not None else [None] * len(frames),
                references if references is not None else [None] * len(frames),
                strict=True,
            )
        )
        return await self._queue.submit(
            kind,
            items,
            _pixels(frames),
            priority,
            timeout_s,
            owner=owner,
            timings_ms=timings_ms,
        )

    async def enrol(
        self,
        frame: Frame,
        *,
        strict: bool = True,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
        owner: str = "",
    ) -> Enrolment:
        """Judge whether a photograph can become a template. Raises Overloaded, InferenceFailed.

        Not `strict`: whether it does as the reference of one comparison.
        """
        kind = self._enrol[strict]
        answers = await self._queue.submit(
            kind, [frame], _pixels([frame]), priority, timeout_s, owner=owner
        )
        return cast("Enrolment", answers[0])

    async def poses(
        self,
        frames: Sequence[Frame],
        faces: Sequence[Face],
        *,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
    ) -> list[HeadPose | None]:
        """Give the head pose of one face of each frame. Raises Overloaded, InferenceFailed."""
        items = list(zip(frames, faces, strict=True))
        return await self._queue.submit(self._poses, items, _pixels(frames), priority, timeout_s)

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Decide over the evidence of one person's frames."""
        return self._engine.judge(evidence, reference, require_liveness=require_liveness)

    async def self_test(self) -> None:
        """Infer on a built-in picture, beside the queue. Raises what the engine raises."""
        await asyncio.to_thread(self._engine.self_test)

    @property
    def models(self) -> Mapping[str, str]:
        """Role -> ``id@sha256``."""
        return self._engine.models

    @property
    def profile_version(self) -> str:
        """Version of the threshold profile."""
        return self._engine.profile.version

    async def close(self) -> None:
        """Take nothing more, finish what waits (up to `drain_s`), stop. Closing twice is fine."""
        await self._queue.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _pixels(frames: Sequence[Frame]) -> int:
    return sum(int(frame.pixels.nbytes) for frame in frames)


def _decoder(decode: Callable[[bytes], Frame]) -> Run:
    def run(images: list[Any], _: dict[str, float]) -> list[Frame]:
        frames = []
        for number, image in enumerate(images, start=1):
            try:
                frames.append(decode(image))
            except BenrenError as error:
                if len(images) == 1:
                    raise
                detail = f"Image {number} of {len(images)}: {error.detail}"
                raise type(error)(detail, remedy=error.remedy) from error
        return frames

    return run


def _detector(engine: InferenceEngine) -> Run:
    def run(items: list[Any], stages_ms: dict[str, float]) -> list[tuple[Face, ...]]:
        frames, last = zip(*items, strict=True)
        known = any(one is not None for one in last)
        return engine.detect(frames, last=last if known else None, timings_ms=stages_ms)

    return run


def _poser(engine: InferenceEngine) -> Run:
    def run(items: list[Any], stages_ms: dict[str, float]) -> list[HeadPose | None]:
        frames, faces = zip(*items, strict=True)
        return engine.poses(frames, faces, timings_ms=stages_ms)

    return run


def _enroller(engine: InferenceEngine, strict: bool) -> Run:
    def run(frames: list[Any], _: dict[str, float]) -> list[Enrolment]:
        return [engine.enrol(frame, strict=strict) for frame in frames]

    return run


def _assessor(engine: InferenceEngine, liveness: int, embed: int, with_faces: int) -> Run:
    def run(items: list[Any], stages_ms: dict[str, float]) -> list[Evidence]:
        frames, faces, references = zip(*items, strict=True)
        known = any(reference is not None for reference in references)
        return engine.assess(
            frames,
            faces=faces if with_faces else None,
            references=references if known else None,
            liveness=bool(liveness),
            embed=bool(embed),
            timings_ms=stages_ms,
        )

    return run
