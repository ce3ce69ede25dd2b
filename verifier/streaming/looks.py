"""The identity samples of one stream, taken after their frames were answered, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from verifier.pipeline.ports import Priority
from verifier.streaming.window import Sample
from verifier.types import Frame

MOST_WAITING: Final = 3
"""Frames that wait (of video decoded: 0.9 MB each at VGA). More come only where inference is far
behind the frames; then the oldest that waits is passed over, and its place in the count of what was
asked. `looks_passed_over` counts them."""


TURNS: Final = 24
"""Turns of the event loop within which the answer to a frame has been handed to its connection, on
every transport: fewer than ten are needed."""


async def answered() -> None:
    """Let the answer to the frame that is in hand leave, before work on it begins.

    Otherwise the threads of that work would hold up the answer, by a millisecond or so: enough to
    tell, in the long run, which frames are looked at.
    """
    for _ in range(TURNS):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A frame that is to be looked at."""

    sample: Sample
    picture: bytes | Frame
    """As it came: a picture of a few kB, or a video frame."""
    longer_side_px: int
    asked: int
    """How often identity had been asked for when it was chosen: what its answer settles."""
    priority: Priority = Priority.BULK
    """Whether somebody waits for it: for one that is owed, not for one that was drawn."""


class Looks:
    """Takes looks in order, in the background."""

    def __init__(
        self, take: Callable[[Look], Awaitable[None]], passed_over: Callable[[], None]
    ) -> None:
        """`take` must not raise but where a mistake of ours shows."""
        self._take = take
        self._passed_over = passed_over
        self._waiting: deque[Look] = deque()
        self._current: Look | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def asked(self) -> int:
        """The highest `asked` of the frames in hand: it may be answered soon. 0 without any."""
        looks = [*self._waiting, *([self._current] if self._current is not None else [])]
        return max((look.asked for look in looks), default=0)

    def add(self, look: Look) -> None:
        """Have a frame looked at."""
        self._waiting.append(look)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._passed_over()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="stream looks")

    def drop(self) -> None:
        """Look at nothing that waits."""
        self._waiting.clear()

    async def settled(self) -> None:
        """Return once nothing is in hand."""
        while self._worker is not None and not self._worker.done():
            await asyncio.wait({self._worker})

    async def stop(self) -> None:
        """Drop what is in hand. For the end of the process."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while self._waiting:
                self._current = self._waiting.popleft()
                await answered()
                await self._take(self._current)
        finally:
            self._current = None
