"""The bounded queue behind the batcher: jobs in, batches out to threads, answers back.

It knows nothing of pictures. Jobs of one kind share a batch; a worker that is free takes what
waits (interactive before bulk) and, where no other worker is free, waits a few milliseconds for
more. While all workers are busy the queue itself makes the batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from verifier.errors import BenrenError, InferenceFailed, Overloaded
from verifier.pipeline.ports import BatchLimits, BatchObserver, Priority

_log = logging.getLogger("benren.batching")
Run: TypeAlias = Callable[[list[Any], dict[str, float]], Sequence[Any]]
"""Items of all jobs of a batch in, as many results out, in order; adds milliseconds per stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sort of job."""

    name: str
    run: Run
    alone: bool = False
    """Whether its jobs never share a batch."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    kind: Kind
    items: Sequence[Any]
    size_bytes: int
    priority: Priority
    queued_at: float
    timings_ms: MutableMapping[str, float] | None
    """Where the caller wants the milliseconds per stage of his batch."""
    done: asyncio.Future[list[Any]] = field(repr=False)


class BatchQueue:
    """Belongs to one event loop; its workers start with the first job."""

    def __init__(self, limits: BatchLimits, observer: BatchObserver) -> None:
        self._limits = limits
        self._observer = observer
        self._queues: dict[Priority, dict[int, _Job]] = {level: {} for level in Priority}
        self._arrived = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._free = limits.workers
        self._closing = False
        self._pending = 0
        self._pending_bytes = 0
        self._executor = ThreadPoolExecutor(limits.workers, thread_name_prefix="inference")

    async def submit(
        self,
        kind: Kind,
        items: Sequence[Any],
        size_bytes: int,
        priority: Priority,
        timeout_s: float | None,
        *,
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Any]:
        """Run `kind` on `items` and give as many results, in order.

        `size_bytes` is what the items hold in memory. Raises Overloaded where there is no room or
        the time is over, and whatever the run raises.
        """
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

    def _take(self, kind: Kind | None, room: int) -> _Job | None:
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
