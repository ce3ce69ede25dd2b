"""The bounded queue behind the batcher: jobs in, batches out to threads, answers back.

It knows nothing of pictures. Jobs of one kind share a batch; a worker that is free takes what
waits (interactive before bulk) and, where no other worker is free, waits a few milliseconds for
more. While all workers are busy the queue itself makes the batches. Bulk that has waited long gets
one batch in `BULK_SHARE`, however much interactive work there is.

Among jobs of one priority owners take turns (`fairness`).

A batch that fails takes nobody with it: each of its jobs is tried once more by itself. A job that
brings its worker down (what is no `Exception`, as `SystemExit`) is tried once more, then answered
with an error; the worker goes on.

Pictures are large, so no job outlives its answer: an error goes to its caller without the frames
of the worker that met it, which hold the batch, and so other callers' pictures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from verifier.errors import BenrenError, InferenceFailed, OutOfMemory, Overloaded
from verifier.models.backend import does_not_fit
from verifier.pipeline.fairness import Turns
from verifier.pipeline.ports import BatchLimits, BatchObserver, Priority
from verifier.pipeline.room import Load, Room

_log = logging.getLogger("benren.batching")
_E = TypeVar("_E", bound=BaseException)
BULK_SHARE: Final = 2
"""Of so many batches one is begun by bulk that has waited for `BatchLimits.patience_s`."""
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
    load: Load
    priority: Priority
    queued_at: float
    owner: str
    start: float
    """Its place among the jobs of other owners (`fairness`)."""
    timings_ms: MutableMapping[str, float] | None
    """Where the caller wants the milliseconds per stage of his batch."""
    done: asyncio.Future[list[Any]] = field(repr=False)


class BatchQueue:
    """Belongs to one event loop; its workers start with the first job."""

    def __init__(self, limits: BatchLimits, observer: BatchObserver) -> None:
        self._limits = limits
        self._observer = observer
        self._queues: dict[Priority, dict[int, _Job]] = {level: {} for level in Priority}
        self._turns = {level: Turns() for level in Priority}
        self._arrived = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._free = limits.workers
        self._begun_at: dict[int, float] = {}
        """When each batch in hand was begun, by the loop's clock."""
        self._since_bulk = 0
        """Batches begun by interactive jobs since bulk began one."""
        self._closing = False
        self._room = Room(limits=limits)
        self._executor = ThreadPoolExecutor(limits.workers, thread_name_prefix="inference")

    async def submit(
        self,
        kind: Kind,
        items: Sequence[Any],
        size_bytes: int,
        priority: Priority = Priority.INTERACTIVE,
        timeout_s: float | None = None,
        *,
        owner: str = "",
        timings_ms: MutableMapping[str, float] | None = None,
    ) -> list[Any]:
        """Run `kind` on `items` and give as many results, in order.

        `size_bytes` is what the items hold in memory, decoded. Jobs of different owners take
        turns, and have bounds of their own (`room`). Raises RequestTooLarge where the items never
        fit, Overloaded where there is no room or the time is over, and whatever the run raises.
        """
        if not items:
            return []
        limit_s = self._limits.timeout_s if timeout_s is None else timeout_s
        if limit_s <= 0:
            raise self._late(limit_s)
        load = Load(len(items), size_bytes)
        self._admit(load, owner, priority)
        loop = asyncio.get_running_loop()
        job = _Job(
            kind=kind,
            items=items,
            load=load,
            priority=priority,
            queued_at=loop.time(),
            owner=owner,
            start=self._turns[priority].enter(owner, len(items)),
            timings_ms=timings_ms,
            done=loop.create_future(),
        )
        if not self._workers:
            self._workers = [loop.create_task(self._work()) for _ in range(self._limits.workers)]
        self._queues[priority][id(job)] = job
        self._room.enter(load, owner, priority)
        self._tell_waiting()
        self._arrived.set()
        try:
            async with asyncio.timeout(limit_s):
                return await job.done
        except TimeoutError as error:
            raise self._late(limit_s) from error
        finally:
            self._drop(job)  # where it still waits: cancelled or late
            # An error that is raised here holds this frame, the job would hold the error.
            del job

    @property
    def pending(self) -> int:
        """How many images wait or run."""
        return self._room.images

    @property
    def oldest_s(self) -> float:
        """For how long the oldest batch in hand has been running; 0 where none is."""
        if not self._begun_at:
            return 0.0
        return asyncio.get_running_loop().time() - min(self._begun_at.values())

    async def close(self) -> None:
        """Take nothing more, finish what waits (up to `drain_s`), stop. Closing twice is fine.

        What runs then gets Overloaded; its thread is left alone, since none can be ended.
        """
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
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _late(self, limit_s: float) -> Overloaded:
        self._observer.turned_away("late")
        return Overloaded(
            f"No answer within {max(limit_s, 0):g} s.", remedy="Try again shortly, or send less."
        )

    def _admit(self, load: Load, owner: str, priority: Priority) -> None:
        if self._closing:
            self._observer.turned_away("closing")
            raise Overloaded("The service is shutting down.", remedy="Try another instance.")
        refusal = self._room.refusal(load, owner, priority)
        if refusal is not None:
            self._observer.turned_away(refusal.reason)
            raise refusal.error

    def _drop(self, job: _Job) -> None:
        """Take a job that still waits out of its queue."""
        if self._queues[job.priority].pop(id(job), None) is not None:
            self._release(job)
            self._tell_waiting()

    def _release(self, job: _Job) -> None:
        self._room.leave(job.load, job.owner, job.priority)

    def _tell_waiting(self) -> None:
        waiting = (job for queue in self._queues.values() for job in queue.values())
        self._observer.waiting(sum(len(job.items) for job in waiting))

    async def _work(self) -> None:
        while await self._serve():
            pass

    async def _serve(self) -> bool:
        """Wait for work and do one batch; tells whether there can be more."""
        while (first := self._take_first()) is None:
            if self._closing:
                return False
            await self._wait_for_arrival(None)
        self._free -= 1
        batch = [first]
        try:
            await self._fill(batch)
            self._begun_at[id(batch)] = asyncio.get_running_loop().time()
            await self._run(batch)
        except asyncio.CancelledError:
            for job in batch:
                _fail(job, Overloaded("The service is shutting down.", remedy="Try again."))
            raise
        finally:
            self._begun_at.pop(id(batch), None)
            self._free += 1
            for job in batch:
                self._release(job)
        return True

    async def _fill(self, batch: list[_Job]) -> None:
        """Add jobs of the first one's kind, and wait for them where that costs nobody anything."""
        kind = batch[0].kind
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.window_ms / 1000
        while not kind.alone:
            room = self._limits.max_batch - sum(len(job.items) for job in batch)
            while room > 0 and (job := self._take(kind, room)) is not None:
                batch.append(job)
                room -= len(job.items)
            if room <= 0 or self._free or self._closing or loop.time() >= until:
                break
            await self._wait_for_arrival(until)
        self._tell_waiting()

    async def _wait_for_arrival(self, until: float | None) -> None:
        self._arrived.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._arrived.wait()
        except TimeoutError:
            return  # the window is over

    def _take_first(self) -> _Job | None:
        """Take the job that begins the next batch, whatever it is and however large."""
        levels = list(Priority)
        if self._bulk_is_due():
            levels.reverse()
        for level in levels:
            job = min(self._queues[level].values(), key=lambda one: one.start, default=None)
            if job is not None:
                self._since_bulk = 0 if level is Priority.BULK else self._since_bulk + 1
                return self._taken(job)
        return None

    def _bulk_is_due(self) -> bool:
        oldest = next(iter(self._queues[Priority.BULK].values()), None)
        if oldest is None or self._since_bulk < BULK_SHARE - 1:
            return False
        waited_s = asyncio.get_running_loop().time() - oldest.queued_at
        return waited_s >= self._limits.patience_s

    def _take(self, kind: Kind, room: int) -> _Job | None:
        """Take the next job of a kind that fits, interactive ones first."""
        for queue in self._queues.values():
            fitting = (job for job in queue.values() if job.kind is kind and len(job.items) <= room)
            job = min(fitting, key=lambda one: one.start, default=None)
            if job is not None:
                return self._taken(job)
        return None

    def _taken(self, job: _Job) -> _Job:
        queue = self._queues[job.priority]
        del queue[id(job)]
        self._turns[job.priority].begin(job.start, idle=not queue)
        return job

    async def _run(self, batch: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        stages_ms: dict[str, float] = {}
        failure: Exception | None = None
        try:
            results = await self._results(batch, stages_ms)
        except Exception as error:  # noqa: BLE001 - told to every caller of this batch
            failure = error
        else:
            _answer_all(batch, results, stages_ms)
        if failure is not None:
            # Not while it is handled: what fails then would refer to it, and so to this batch.
            await self._once_more(batch, failure)
        try:
            self._observer.ran(
                batch[0].kind.name,
                images=sum(len(job.items) for job in batch),
                waited_s=started - batch[0].queued_at,
                stages_ms=stages_ms or {batch[0].kind.name: (loop.time() - started) * 1000},
            )
        except Exception:  # noqa: BLE001 - whoever only watches stops no worker
            _log.exception("counting a batch failed")

    async def _results(self, batch: list[_Job], stages_ms: dict[str, float]) -> Sequence[Any]:
        """Run a batch on a thread. Raises what it raises, as an Exception whatever it was."""
        kind, items = batch[0].kind, [item for job in batch for item in job.items]
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._executor, _alive, kind.run, items, stages_ms)
        if len(results) != len(items):
            raise InferenceFailed(f"{kind.name}: {len(items)} in, {len(results)} out.")
        return results

    async def _once_more(self, batch: list[_Job], error: Exception) -> None:
        """Answer a batch that failed: each of several by itself, or one whose worker died."""
        if len(batch) == 1 and not isinstance(error, _WorkerDied):
            _fail_job(batch[0], error)
            return
        _without_frames(error)
        _log.warning(
            "%s failed for %d jobs, each is tried again alone", batch[0].kind.name, len(batch)
        )
        for job in batch:
            if job.done.done():  # cancelled or late meanwhile
                continue
            stages_ms: dict[str, float] = {}
            try:
                results = await self._results([job], stages_ms)
            except Exception as again:  # noqa: BLE001 - told to the caller
                _fail_job(job, again)
            else:
                _answer_all([job], results, stages_ms)


class _WorkerDied(Exception):
    """A run raised what is no Exception."""


def _alive(run: Run, items: list[Any], stages_ms: dict[str, float]) -> Sequence[Any]:
    """Run on a worker's thread, so that nothing that it raises ends the thread or the loop."""
    try:
        return run(items, stages_ms)
    except Exception:
        raise
    except BaseException as death:
        raise _WorkerDied(repr(death)) from death


def _answer_all(batch: list[_Job], results: Sequence[Any], stages_ms: Mapping[str, float]) -> None:
    start = 0
    for job in batch:
        end = start + len(job.items)
        if job.timings_ms is not None:
            job.timings_ms.update(stages_ms)
        if not job.done.done():
            job.done.set_result(list(results[start:end]))
        start = end


def _fail_job(job: _Job, error: Exception) -> None:
    """Answer a caller with what went wrong; what is not ours stays in the log."""
    if isinstance(error, BenrenError):
        _fail(job, _without_frames(error))
        return
    name = job.kind.name
    _log.error("%s failed", name, exc_info=error)
    if does_not_fit(error):
        own: BenrenError = OutOfMemory(f"There was no memory for the step {name!r}.")
    else:
        own = InferenceFailed(f"The step {name!r} failed.")
    own.__cause__ = error
    _fail(job, _without_frames(own))


def _without_frames(error: _E) -> _E:
    """Take the frames of the worker off an error and off all that it came from."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            rest += [one.__cause__, one.__context__]
    return error


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
