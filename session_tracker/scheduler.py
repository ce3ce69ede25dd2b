"""Calls back at deadlines, one per name, and knows when nothing is left to do.

Deadlines are on the injected clock; work that follows from one runs as a task of its own, so that
a slow session holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from verifier.clock import Clock

_log = logging.getLogger("benren.tracker")
_RETRY_MS = 5_000
"""After work that failed (the database was away, say) its name is due again so much later."""


class Scheduler:
    """Deadlines of many names, and the tasks in flight."""

    def __init__(self, clock: Clock, work: Callable[[str], Awaitable[None]]) -> None:
        self._clock = clock
        self._work = work
        self._deadlines: dict[str, int] = {}
        self._pursued: dict[str, Callable[[], Awaitable[None]]] = {}
        self._heap: list[tuple[int, str]] = []
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch the clock."""
        self._loop = asyncio.create_task(self._run(), name="tracker-scheduler")

    async def stop(self) -> None:
        """Stop watching, and let what is in flight finish."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None
        while self._tasks:
            await asyncio.wait(self._tasks)

    def at(self, name: str, monotonic_ms: int | None) -> None:
        """Set the one deadline of `name`; None forgets it."""
        if monotonic_ms is None:
            self._deadlines.pop(name, None)
            return
        if self._deadlines.get(name) == monotonic_ms:
            return
        self._deadlines[name] = monotonic_ms
        heapq.heappush(self._heap, (monotonic_ms, name))
        if self._heap[0] == (monotonic_ms, name):
            self._changed.set()

    def spawn(self, work: Coroutine[Any, Any, None], *, what: str) -> None:
        """Run `work` beside everything else; a failure is logged, not lost."""
        task = asyncio.create_task(self._guarded(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pursue(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` now, and after a failure again and again until it is done.

        It may run twice at once, and once more than needed. What is not done when the process
        ends has to be found in the store and begun again.
        """
        self._pursued[name] = work
        self.spawn(self._due(name), what=name)

    async def settled(self) -> None:
        """Return once nothing is due and nothing is in flight."""
        while True:
            if self._loop is None or self._loop.done():
                raise RuntimeError("the scheduler does not run")
            if self._tasks:
                await asyncio.wait(self._tasks)
            elif self._is_due():
                await asyncio.sleep(0)  # the loop takes it up
            else:
                return

    def _is_due(self) -> bool:
        earliest = self._earliest()
        return earliest is not None and earliest <= self._clock.stamp().monotonic_ms

    def _earliest(self) -> int | None:
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # was moved or forgotten
        return self._heap[0][0] if self._heap else None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.stamp().monotonic_ms
            while (earliest := self._earliest()) is not None and earliest <= now:
                _, name = heapq.heappop(self._heap)
                del self._deadlines[name]
                self.spawn(self._due(name), what=name)
            await self._wait(earliest)

    async def _wait(self, until: int | None) -> None:
        """Sleep until the deadline or until an earlier one is set."""
        changed = asyncio.ensure_future(self._changed.wait())
        waiting: set[asyncio.Future[Any]] = {changed}
        if until is not None:
            waiting.add(asyncio.ensure_future(self._clock.sleep_until(until)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiting:
                waiter.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _due(self, name: str) -> None:
        pursued = self._pursued.get(name)
        try:
            await (self._work(name) if pursued is None else pursued())
        except Exception:
            self.at(name, self._clock.stamp().monotonic_ms + _RETRY_MS)
            raise
        if pursued is not None and self._pursued.get(name) is pursued:
            del self._pursued[name]

    async def _guarded(self, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - whatever it is, one session's trouble stays its own
            _log.exception("%s failed", what)
