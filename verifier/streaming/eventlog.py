"""The list of a stream's events, kept until the tracker has taken them; order is never changed.

Two ways out: sinks in the same process, which return once the event is durable, or readers over
HTTP, who acknowledge. An event leaves memory only then. A stream whose list is full takes no
more frames: losing a fact is worse than refusing a frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence

from verifier.clock import Clock
from verifier.errors import BadRequest, StorageError
from verifier.streaming.limits import StreamLimits
from verifier.types import EventSink, StreamEvent

_log = logging.getLogger(__name__)


class EventLog:
    """Events of one stream; `sinks` may grow while it lives."""

    def __init__(self, clock: Clock, sinks: Sequence[EventSink], limits: StreamLimits) -> None:
        self._clock = clock
        self._sinks = sinks
        self._limits = limits
        self._waiting: deque[StreamEvent] = deque()
        self._taken_by = 0
        """How many sinks have the first waiting event already."""
        self._last_id = 0
        self._delivering = asyncio.Lock()
        self._news = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        self.ended = False
        """Whether no event will follow."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_id(self) -> int:
        """Id of the event that is appended next."""
        return self._last_id + 1

    @property
    def taken_id(self) -> int:
        """Id of the last event that was taken; 0 before the first."""
        return self._waiting[0].event_id - 1 if self._waiting else self._last_id

    def require_room(self) -> None:
        """Raise StorageError where too many events wait to be taken."""
        if len(self._waiting) >= self._limits.events_waiting:
            raise StorageError(
                "Too many events of this stream wait to be taken by the session tracker.",
                remedy="See whether the session tracker runs and reads its events.",
            )

    def append(self, event: StreamEvent) -> None:
        """Put an event with `next_id` on the list."""
        if event.event_id != self.next_id:
            raise ValueError(f"event {event.event_id} is out of turn: {self.next_id} is next")
        self._waiting.append(event)
        self._last_id = event.event_id
        self._announce()

    async def deliver(self) -> None:
        """Give the waiting events to the sinks, in order; returns once all have taken them.

        Raises StorageError where a sink raised: the event stays first in line, and is offered
        again in the background.
        """
        if not self._sinks:
            return
        try:
            await self._offer()
        except Exception as error:
            _log.warning("an event was not taken: %r", error)
            self._start(pause_ms=self._limits.retry_ms)
            raise StorageError(
                "What was seen on the frame could not be recorded yet.",
                remedy="Send the same frame again shortly.",
            ) from error

    def deliver_in_background(self) -> None:
        """Offer the waiting events until they are taken, with growing pauses after a failure."""
        if self._sinks and self._waiting:
            self._start(pause_ms=0)

    def _start(self, pause_ms: int) -> None:
        if self._background is None or self._background.done():
            self._background = asyncio.create_task(self._persist(pause_ms), name="stream events")

    async def _offer(self) -> None:
        async with self._delivering:
            while self._waiting:
                while self._taken_by < len(self._sinks):
                    await self._sinks[self._taken_by](self._waiting[0])
                    self._taken_by += 1
                self._waiting.popleft()
                self._taken_by = 0

    async def _persist(self, pause_ms: int) -> None:
        while self._waiting:
            if pause_ms:
                await self._clock.sleep_until(self._clock.stamp().monotonic_ms + pause_ms)
            try:
                await self._offer()
            except Exception as error:  # noqa: BLE001 - any failure of a sink means: once more
                pause_ms = min(
                    max(2 * pause_ms, self._limits.retry_ms), self._limits.retry_longest_ms
                )
                _log.warning("an event was not taken; again in %d ms: %r", pause_ms, error)

    def acknowledge(self, event_id: int) -> None:
        """Forget the events up to `event_id`: whoever reads has them."""
        if not 0 <= event_id <= self._last_id:
            raise BadRequest(
                f"Event {event_id} is not on the list; the last one is {self._last_id}.",
                remedy="Acknowledge the id of an event that was read.",
            )
        while self._waiting and self._waiting[0].event_id <= event_id:
            self._waiting.popleft()
        self._announce()

    async def read(self, after: int) -> AsyncIterator[StreamEvent]:
        """Yield the unacknowledged events with ids above `after`, and those that follow.

        Ends after the last event of an ended stream.
        """
        while True:
            news = self._news
            for event in [event for event in self._waiting if event.event_id > after]:
                after = event.event_id
                yield event
            if self._news is not news:
                continue
            if self.ended:
                return
            await news.wait()

    def end(self) -> None:
        """Say that no event will follow."""
        self.ended = True
        self._announce()

    def give_up(self) -> None:
        """Drop what nobody has taken and stop offering it."""
        self.end()
        self._waiting.clear()
        if self._background is not None:
            self._background.cancel()

    async def stop(self) -> None:
        """Offer what waits once more, and end. For the end of the process."""
        self.end()
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
        if self._sinks and self._waiting:
            try:
                async with asyncio.timeout(self._limits.last_offer_ms / 1_000):
                    await self._offer()
            except Exception as error:  # noqa: BLE001 - nothing more can be done, but be said
                _log.error("%d events are lost with this process: %r", len(self), error)

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
