"""Delivers the outbox: one task per target, so that a receiver that hangs holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from typing import Final

from session_tracker.outbox import Attempt, Message, Outbox, retry_after_ms
from session_tracker.sampling import Draw
from session_tracker.webhooks import Sender, Target, headers_of
from verifier.clock import Clock
from verifier.errors import BenrenError

_log = logging.getLogger("benren.outbox")
_AT_ONCE: Final = 8
"""Subjects that one target hears at the same time."""
_LOOK_EVERY_MS: Final = 60_000
"""At the latest: whatever woke nobody is found then."""
_DOUBTFUL: Final = 3
"""Failures in a row after which a target is asked with one event at a time."""
_LONGEST_PAUSE_MS: Final = 60_000
_SYSTEM_RANDOM: Final = secrets.SystemRandom()
_PURGE_EVERY_MS: Final = 86_400_000


class Dispatcher:
    """Sends what is due until stopped."""

    def __init__(
        self, outbox: Outbox, sender: Sender, *, clock: Clock, draw: Draw = _SYSTEM_RANDOM.random
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._draw = draw
        self._tasks: list[asyncio.Task[None]] = []
        self._wakes: dict[str, asyncio.Event] = {}

    def start(self) -> None:
        """Begin to deliver."""
        self._outbox.on_news = self.wake
        for target in self._outbox.targets.values():
            self._wakes[target.name] = asyncio.Event()
            task = asyncio.create_task(self._serve(target), name=f"webhook {target.name}")
            self._tasks.append(task)
        if self._tasks:
            self._tasks.append(asyncio.create_task(self._tidy(), name="outbox"))

    async def stop(self) -> None:
        """Stop; what was on its way is sent again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._sender.aclose()

    def wake(self) -> None:
        """Look for what is due: something was committed."""
        for wake in self._wakes.values():
            wake.set()

    async def _serve(self, target: Target) -> None:
        failures = 0
        while True:
            self._wakes[target.name].clear()
            try:
                failures = await self._round(target, failures)
                wait_ms = await self._until_next(target, failures)
            except BenrenError as error:  # the store is away: nothing is lost, try again
                _log.warning("webhook %s: %s", target.name, error)
                wait_ms = _LONGEST_PAUSE_MS
            await self._sleep(target, wait_ms, wakeable=failures < _DOUBTFUL)

    async def _round(self, target: Target, failures: int) -> int:
        """Send until nothing is due or the target fails; returns its failures in a row."""
        while True:
            doubtful = failures >= _DOUBTFUL
            runs = await self._outbox.due(target.name, limit=1 if doubtful else _AT_ONCE)
            if doubtful:
                runs = [run[:1] for run in runs]
            if not runs:
                return failures
            results = await asyncio.gather(*(self._send(target, run) for run in runs))
            attempts = [attempt for result in results for attempt in result]
            await self._outbox.record(target.name, attempts)
            if all(attempt.failure is not None for attempt in attempts):
                failures += 1
                if failures >= _DOUBTFUL:
                    return failures
            else:
                failures = 0

    async def _send(self, target: Target, run: Sequence[Message]) -> list[Attempt]:
        """Send events of one subject one after the other, up to the first that fails."""
        attempts = []
        for message in run:
            now = self._clock.stamp().utc_ms
            headers = headers_of(target, event_id=message.id, body=message.body, at_s=now // 1_000)
            failure = await self._sender.post(target, headers, message.body)
            wait_ms = retry_after_ms(message.attempts + 1, self._draw())
            attempts.append(
                Attempt(message=message, failure=failure, at_ms=now, next_ms=now + wait_ms)
            )
            if failure is not None:
                _log.warning("webhook %s did not take %s: %s", target.name, message.id, failure)
                break
        return attempts

    async def _until_next(self, target: Target, failures: int) -> int:
        if failures >= _DOUBTFUL:
            return min(1_000 << min(failures, 16), _LONGEST_PAUSE_MS)
        due = await self._outbox.next_due_ms(target.name)
        if due is None:
            return _LOOK_EVERY_MS
        return min(max(due - self._clock.stamp().utc_ms, 0), _LOOK_EVERY_MS)

    async def _sleep(self, target: Target, wait_ms: int, *, wakeable: bool) -> None:
        until = self._clock.stamp().monotonic_ms + wait_ms
        waiting = [asyncio.ensure_future(self._clock.sleep_until(until))]
        if wakeable:
            waiting.append(asyncio.ensure_future(_set(self._wakes[target.name])))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiting:
                waiter.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _tidy(self) -> None:
        while True:
            with contextlib.suppress(BenrenError):
                await self._outbox.purge()
            await self._clock.sleep_until(self._clock.stamp().monotonic_ms + _PURGE_EVERY_MS)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
