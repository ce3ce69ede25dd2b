"""The only way to ask for the time.

Durations come from the monotonic clock within one boot of a process; UTC is for people
and for durations across boots. Nothing else in the project calls ``time`` or ``datetime.now``.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One instant, as a process saw it."""

    boot_id: str
    """Random name of this run of the process; monotonic values compare only within one boot."""
    monotonic_ms: int
    """Milliseconds of the monotonic clock, from an arbitrary origin."""
    utc_ms: int
    """Milliseconds since 1970-01-01T00:00:00Z."""

    @property
    def utc(self) -> datetime:
        """The instant as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.utc_ms / 1000, UTC)

    def ms_since(self, earlier: Stamp) -> int:
        """Milliseconds from `earlier` to this: monotonic within a boot, UTC across boots."""
        if self.boot_id == earlier.boot_id:
            return self.monotonic_ms - earlier.monotonic_ms
        return self.utc_ms - earlier.utc_ms


def work_time_ms() -> float:
    """Read a steady counter, to measure how long work takes; no rule may depend on it."""
    return time.perf_counter() * 1000


class Clock(Protocol):
    """What the services ask for the time; injected through constructors only."""

    def stamp(self) -> Stamp:
        """Now."""
        ...

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Return once the monotonic clock has reached `monotonic_ms` (at once if it has)."""
        ...


class SystemClock:
    """The clock of the machine."""

    def __init__(self) -> None:
        self._boot_id = secrets.token_hex(8)

    def stamp(self) -> Stamp:
        """Now."""
        return Stamp(
            boot_id=self._boot_id,
            monotonic_ms=time.monotonic_ns() // 1_000_000,
            utc_ms=time.time_ns() // 1_000_000,
        )

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Sleep in real time."""
        delay_ms = monotonic_ms - time.monotonic_ns() // 1_000_000
        await asyncio.sleep(max(delay_ms, 0) / 1000)


class ManualClock:
    """A clock that moves only when told: for the demo, the simulations and the tests."""

    def __init__(self, start: datetime = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)) -> None:
        self._boot_id = secrets.token_hex(8)
        self._now_ms = 0
        self._start = start
        self._order = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def stamp(self) -> Stamp:
        """Now."""
        utc = self._start + timedelta(milliseconds=self._now_ms)
        return Stamp(
            boot_id=self._boot_id,
            monotonic_ms=self._now_ms,
            utc_ms=round(utc.timestamp() * 1000),
        )

    def set_wall(self, by_ms: int) -> None:
        """Have somebody set the wall clock, forward or back; the monotonic one goes on."""
        self._start += timedelta(milliseconds=by_ms)

    def boot(self) -> None:
        """Begin a new boot: stamps of before cannot be told in monotonic time any more."""
        self._boot_id = secrets.token_hex(8)

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Sleep until `advance` has brought the clock there."""
        if monotonic_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (monotonic_ms, self._order, woken))
        await woken

    def advance(self, ms: int) -> None:
        """Move forward by `ms` >= 0 and wake whoever is due (in the order of their deadlines)."""
        if ms < 0:
            raise ValueError("a clock does not go backwards")
        self._now_ms += ms
        while self._sleepers and self._sleepers[0][0] <= self._now_ms:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
