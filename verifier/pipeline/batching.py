"""The asyncio front of the engine: micro-batches across requests, bounded in every direction.

Callers await `decode`, `detect`, `assess` or `enrol`. Jobs of one kind share a batch; a worker
that is free takes what waits (interactive before bulk) and, where no other worker is free, waits a
few milliseconds for more. While all workers are busy the queue itself makes the batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, cast

from verifier.errors import BenrenError, InferenceFailed, Overloaded
from verifier.types import Evidence, Face, Frame, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.engine import Enrolment
    from verifier.types import Vector

_log = logging.getLogger("benren.batching")
_Run: TypeAlias = Callable[[list[Any], dict[str, float]], Sequence[Any]]


class InferenceEngine(Protocol):
    """What the batcher needs of `engine.Engine`; called from several threads at a time."""

    def detect(
        self, frames: Sequence[Frame], *, timings_ms: MutableMapping[str, float] | None = None
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

    def judge(self, evidence: Sequence[Evidence], reference: Vector) -> Verdict:
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
    """Somebody waits for it: streams, single verifications."""
    BULK = 1
    """Batches, imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much runs and waits at a time."""

    workers: int = 2
    """Batches that run at a time, each in a thread. On a CPU: its cores. On a GPU: 1 or 2."""
    max_batch: int = 8
    """Frames of one batch; a job is never split."""
    window_ms: float = 2.0
    """How long a batch that is not full waits for more, where no other worker is free."""
    max_pending: int = 256
    """Images that wait or run; more are turned away."""
    max_pending_bytes: int = 1024 * 1024 * 1024
    """Their bytes: encoded before decoding, pixels after."""
    timeout_s: float = 10.0
    """Answered within this time, or not at all, where the caller does not say otherwise."""
    drain_s: float = 10.0
    """How long closing lets waiting jobs finish."""


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
        """Note that a job was refused: `full`, `late` or `closing`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    name: str
    run: _Run
    """Items of all jobs in, as many results out, in order; adds milliseconds per stage."""
    alone: bool = False
    """Whether its jobs never share a batch."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    kind: _Kind
    items: Sequence[Any]
    size_bytes: int
    priority: Priority
    queued_at: float
    timings_ms: MutableMapping[str, float] | None
    """Where the caller wants the milliseconds per stage of his batch."""
    done: asyncio.Future[list[Any]] = field(repr=False)


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
        self._limits = limits if limits is not None else BatchLimits()
        self._observer: BatchObserver = observer if observer is not None else Unobserved()
        self._queues: dict[Priority, dict[int, _Job]] = {level: {} for level in Priority}
        self._arrived = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._free = self._limits.workers
        self._closing = False
        self._pending = 0
        self._pending_bytes = 0
        self._executor = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="inference")
        self._decode = _Kind(name="decode", run=_decoder(decode), alone=True)
        self._detect = _Kind(name="detect", run=_detector(engine))
        self._enrol = {
            strict: _Kind(name="enrol", run=_enroller(engine, strict), alone=True)
            for strict in (False, True)
        }
        self._assess = {
            flags: _Kind(name="assess", run=_assessor(engine, *flags))
            for flags in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))
        }

    async def decode(
        self,
        images: Sequence[bytes],
        *,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
    ) -> list[Frame]:
        """Decode JPEG, PNG or WebP bytes off the event loop. Raises ImageError, Overloaded."""
        size = sum(len(image) for image in images)
        return await self._submit(self._decode, images, size, priority, timeout_s)

    async def detect(
        self,
        frames: Sequence[Frame],
        *,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
    ) -> list[tuple[Face, ...]]:
        """Find the faces of each frame. Raises Overloaded, InferenceFailed."""
        return await self._submit(self._detect, frames, _pixels(frames), priority, timeout_s)

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
        return await self._submit(
            kind, items, _pixels(frames), priority, timeout_s, timings_ms=timings_ms
        )

    async def enrol(
        self,
        frame: Frame,
        *,
        strict: bool = True,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
    ) -> Enrolment:
        """Judge whether a photograph can become a template. Raises Overloaded, InferenceFailed.

        Not `strict`: whether it does as the reference of one comparison.
        """
        kind = self._enrol[strict]
        answers = await self._submit(kind, [frame], _pixels([frame]), priority, timeout_s)
        return cast("Enrolment", answers[0])

    def judge(self, evidence: Sequence[Evidence], reference: Vector) -> Verdict:
        """Decide over the evidence of one person's frames."""
        return self._engine.judge(evidence, reference)

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
        self._closing = True
        self._arrived.set()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=self._limits.drain_s)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._workers.clear()
        for queue in self._queues.values():
            for job in list(queue.values()):
                self._drop(job)
                _fail(job, Overloaded("The service is shutting down.", remedy="Try again."))
        await asyncio.to_thread(self._executor.shutdown)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _submit(
        self,
        kind: _Kind,
        items: Sequence[Any],
        size_bytes: int,
        priority: Priority,
        timeout_s: float | None,
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Any]:
        if not items:
            return []
        self._admit(len(items), size_bytes)
        loop = asyncio.get_running_loop()
        job = _Job(
            kind=kind,
            items=items,
            size_bytes=size_bytes,
            priority=priority,
            queued_at=loop.time(),
            timings_ms=timings_ms,
            done=loop.create_future(),
        )
        if not self._workers:
            self._workers = [loop.create_task(self._work()) for _ in range(self._limits.workers)]
        self._queues[priority][id(job)] = job
        self._pending += len(items)
        self._pending_bytes += size_bytes
        self._tell_waiting()
        self._arrived.set()
        limit_s = self._limits.timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await job.done
        except TimeoutError as error:
            self._observer.turned_away("late")
            raise Overloaded(
                f"No answer within {limit_s:g} s.", remedy="Try again shortly, or send less."
            ) from error
        finally:
            self._drop(job)  # where it still waits: cancelled or late

    def _admit(self, count: int, size_bytes: int) -> None:
        if self._closing:
            self._observer.turned_away("closing")
            raise Overloaded("The service is shutting down.", remedy="Try another instance.")
        if (
            self._pending + count > self._limits.max_pending
            or self._pending_bytes + size_bytes > self._limits.max_pending_bytes
        ):
            self._observer.turned_away("full")
            raise Overloaded(
                f"{self._pending} images wait or run already.", remedy="Try again shortly."
            )

    def _drop(self, job: _Job) -> None:
        """Take a job that still waits out of its queue."""
        if self._queues[job.priority].pop(id(job), None) is not None:
            self._release(job)
            self._tell_waiting()

    def _release(self, job: _Job) -> None:
        self._pending -= len(job.items)
        self._pending_bytes -= job.size_bytes

    def _tell_waiting(self) -> None:
        waiting = (job for queue in self._queues.values() for job in queue.values())
        self._observer.waiting(sum(len(job.items) for job in waiting))

    async def _work(self) -> None:
        while batch := await self._next_batch():
            await self._run(batch)
            self._free += 1

    async def _next_batch(self) -> list[_Job]:
        """Wait for work; an empty batch says that there will be none."""
        while (first := self._take(None, self._limits.max_batch)) is None:
            if self._closing:
                return []
            await self._wait_for_arrival(None)
        self._free -= 1
        batch = [first]
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.window_ms / 1000
        while not first.kind.alone:
            room = self._limits.max_batch - sum(len(job.items) for job in batch)
            while room > 0 and (job := self._take(first.kind, room)) is not None:
                batch.append(job)
                room -= len(job.items)
            if room <= 0 or self._free or self._closing or loop.time() >= until:
                break
            await self._wait_for_arrival(until)
        self._tell_waiting()
        return batch

    async def _wait_for_arrival(self, until: float | None) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._arrived.wait()
        except TimeoutError:
            return  # the window is over

    def _take(self, kind: _Kind | None, room: int) -> _Job | None:
        """Take the first job of a kind (or of any) that fits; the very first one always fits."""
        for queue in self._queues.values():
            for key, job in queue.items():
                if kind is None or (job.kind is kind and len(job.items) <= room):
                    del queue[key]
                    return job
        return None

    async def _run(self, batch: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        kind = batch[0].kind
        items = [item for job in batch for item in job.items]
        started = loop.time()
        stages_ms: dict[str, float] = {}
        try:
            results = await loop.run_in_executor(self._executor, kind.run, items, stages_ms)
            if len(results) != len(items):
                raise InferenceFailed(f"{kind.name}: {len(items)} in, {len(results)} out.")
        except asyncio.CancelledError:
            for job in batch:
                _fail(job, Overloaded("The service is shutting down.", remedy="Try again."))
            raise
        except Exception as error:  # noqa: BLE001 - handed to every caller of this batch
            _fail_all(batch, error)
        else:
            _answer_all(batch, results, stages_ms)
        finally:
            for job in batch:
                self._release(job)
        self._observer.ran(
            kind.name,
            images=len(items),
            waited_s=started - batch[0].queued_at,
            stages_ms=stages_ms or {kind.name: (loop.time() - started) * 1000},
        )


def _answer_all(batch: list[_Job], results: Sequence[Any], stages_ms: Mapping[str, float]) -> None:
    start = 0
    for job in batch:
        end = start + len(job.items)
        if job.timings_ms is not None:
            job.timings_ms.update(stages_ms)
        if not job.done.done():
            job.done.set_result(list(results[start:end]))
        start = end


def _fail_all(batch: list[_Job], error: Exception) -> None:
    name = batch[0].kind.name
    if not isinstance(error, BenrenError):
        _log.error("%s failed for %d jobs", name, len(batch), exc_info=error)
    for job in batch:
        if len(batch) == 1 and isinstance(error, BenrenError):
            _fail(job, error)
            continue
        # One error object for each caller: a shared one would collect everybody's traceback.
        own = InferenceFailed(f"The step {name!r} failed.", remedy="See the service's log.")
        own.__cause__ = error
        _fail(job, own)


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _pixels(frames: Sequence[Frame]) -> int:
    return sum(int(frame.pixels.nbytes) for frame in frames)


def _decoder(decode: Callable[[bytes], Frame]) -> _Run:
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


def _detector(engine: InferenceEngine) -> _Run:
    def run(frames: list[Any], stages_ms: dict[str, float]) -> list[tuple[Face, ...]]:
        return engine.detect(frames, timings_ms=stages_ms)

    return run


def _enroller(engine: InferenceEngine, strict: bool) -> _Run:
    def run(frames: list[Any], _: dict[str, float]) -> list[Enrolment]:
        return [engine.enrol(frame, strict=strict) for frame in frames]

    return run


def _assessor(engine: InferenceEngine, liveness: int, embed: int, with_faces: int) -> _Run:
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
