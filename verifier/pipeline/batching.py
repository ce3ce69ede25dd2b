"""The asyncio front of the engine: micro-batches across requests, bounded in every direction.

Callers await `decode`, `detect`, `assess` or `enrol`; `queue` makes batches of what they ask.
Callers of one priority take turns by their `owner`, as a session or ``API key/subject``; what
stands before the ``/`` has a bounded part of the queue (`room`). A caller of several steps has one
`deadline` for them and hands what is left of it in as `timeout_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from verifier.errors import BenrenError, InferenceFailed
from verifier.pipeline.deadline import Deadline
from verifier.pipeline.intake import decoded_bytes
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
    from verifier.pipeline.presence import Glance
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
        decoded_bytes: Callable[[bytes], int] = decoded_bytes,
        limits: BatchLimits | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        """Serve `engine`; `decoded_bytes` tells before `decode` runs what a picture will take."""
        self._engine = engine
        self._decoded_bytes = decoded_bytes
        self._limits = limits if limits is not None else BatchLimits()
        self._queue = BatchQueue(self._limits, observer if observer is not None else Unobserved())
        self._decode = Kind(name="decode", run=_decoder(decode), alone=True)
        self._detect = {
            followed: Kind(name="detect", run=_detector(engine, followed))
            for followed in (False, True)
        }
        self._glance = {
            closely: Kind(name="glance", run=glancer(engine, decode, closely))
            for closely in (False, True)
        }
        self._inspect = Kind(name="inspect", run=inspector(engine, decode))
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
        size = sum(self._size(image) for image in images)
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
        detection cheaper; None for the first frame of a camera that will be followed.
        """
        known = last if last is not None else [None] * len(frames)
        items = list(zip(frames, known, strict=True))
        return await self._queue.submit(
            self._detect[last is not None], items, _pixels(frames), priority, timeout_s, owner=owner
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

        Frames are (H, W, 3) uint8 BGR of any shapes, faces in their coordinates (px), references
        (d,) float32, L2-normalised; ValueError where there is not one for each. The milliseconds
        per stage of the batch that the frames were part of go to `timings_ms`.
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

    async def glance(
        self,
        picture: bytes | Frame,
        *,
        last: LastSeen | None,
        closely: bool = False,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
    ) -> Glance:
        """Decode a picture and say who is there. Raises ImageError, Overloaded, InferenceFailed."""
        answers = await self._queue.submit(
            self._glance[closely], [(picture, last)], self._size(picture), priority, owner=owner
        )
        answer = answers[0]
        if isinstance(answer, BenrenError):
            raise answer
        return cast("Glance", answer)

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
        """Look for identity on pictures whose faces were found at a glance.

        Pictures are encoded, or frames (H, W, 3) uint8 BGR; faces are in their coordinates (px),
        the reference is (d,) float32, L2-normalised. `digests` name the pictures in the evidence.
        Raises ValueError where the lists differ in length, ImageError, Overloaded, InferenceFailed.
        """
        items = [
            (picture, digest, some, reference)
            for picture, digest, some in zip(pictures, digests, faces, strict=True)
        ]
        size = sum(self._size(picture) for picture in pictures)
        return await self._queue.submit(self._inspect, items, size, priority, owner=owner)

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
        owner: str = "",
    ) -> list[HeadPose | None]:
        """Give the head pose of one face of each frame. Raises Overloaded, InferenceFailed."""
        items = list(zip(frames, faces, strict=True))
        return await self._queue.submit(
            self._poses, items, _pixels(frames), priority, timeout_s, owner=owner
        )

    def judge(
        self, evidence: Sequence[Evidence], reference: Vector, *, require_liveness: bool = True
    ) -> Verdict:
        """Decide over the evidence of one person's frames."""
        return self._engine.judge(evidence, reference, require_liveness=require_liveness)

    def deadline(self) -> Deadline:
        """Let the time begin in which one request is to be answered, over all its steps."""
        return Deadline(self._limits.timeout_s)

    async def self_test(self) -> None:
        """Infer on a built-in picture, beside the queue. Raises what the engine raises.

        Raises InferenceFailed, without a try, where a batch has been running for longer than any
        request may take: whoever is in it got no answer, and its worker may never come back.
        """
        oldest_s = self._queue.oldest_s
        if oldest_s > self._limits.timeout_s:
            raise InferenceFailed(
                f"A batch has been running for {oldest_s:.0f} s.", remedy="Restart the service."
            )
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

    def _size(self, picture: bytes | Frame) -> int:
        if isinstance(picture, Frame):
            return int(picture.pixels.nbytes)
        return len(picture) + self._decoded_bytes(picture)

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


def glancer(engine: InferenceEngine, decode: Callable[[bytes], Frame], closely: bool) -> Run:
    """Make what decodes and glances: of (picture, last seen) each; also for who measures it.

    What cannot be decoded is answered by its error, and disturbs no other.
    """

    def run(items: list[Any], stages_ms: dict[str, float]) -> list[Glance | BenrenError]:
        found: list[Any] = [_decoded(picture, decode) for picture, _ in items]
        good = [index for index, one in enumerate(found) if isinstance(one, Frame)]
        # Of each, also where nothing was seen before: whether a camera is followed, and so searched
        # in full, is not up to the others of the batch.
        last = [items[index][1] for index in good]
        glances = engine.glance(
            [found[index] for index in good], last=last, closely=closely, timings_ms=stages_ms
        )
        for index, one in zip(good, glances, strict=True):
            found[index] = one
        return found

    return run


def _decoded(picture: bytes | Frame, decode: Callable[[bytes], Frame]) -> Frame | BenrenError:
    if isinstance(picture, Frame):
        return picture
    try:
        return decode(picture)
    except BenrenError as error:
        return error


def inspector(engine: InferenceEngine, decode: Callable[[bytes], Frame]) -> Run:
    """Make what decodes, refines and assesses: of (picture, digest, faces, reference) each."""

    def run(items: list[Any], stages_ms: dict[str, float]) -> list[Evidence]:
        pictures, digests, faces, references = zip(*items, strict=True)
        frames = [
            replace(one if isinstance(one, Frame) else decode(one), digest=digest)
            for one, digest in zip(pictures, digests, strict=True)
        ]
        refined = engine.refine(frames, faces, timings_ms=stages_ms)
        return engine.assess(frames, faces=refined, references=references, timings_ms=stages_ms)

    return run


def _detector(engine: InferenceEngine, followed: bool) -> Run:
    def run(items: list[Any], stages_ms: dict[str, float]) -> list[tuple[Face, ...]]:
        frames, last = zip(*items, strict=True)
        return engine.detect(frames, last=last if followed else None, timings_ms=stages_ms)

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
