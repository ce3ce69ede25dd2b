"""The scheduler: deadlines on a clock moved by hand, and knowing when all is quiet."""

from __future__ import annotations

import logging

import pytest

from session_tracker.scheduler import Scheduler
from verifier.clock import ManualClock


class Work:
    """Remembers what was due when; fails as often as it is told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.done: list[tuple[str, int]] = []
        self.failures = 0

    async def __call__(self, name: str) -> None:
        """Do it."""
        if self.failures:
            self.failures -= 1
            raise OSError("no")
        self.done.append((name, self.clock.stamp().monotonic_ms))


async def test_deadlines_are_met_in_order(clock: ManualClock) -> None:
    """What is due is carried out before `settled` returns, the earlier first."""
    work = Work(clock)
    scheduler = Scheduler(clock, work)
    scheduler.start()
    scheduler.at("late", 2_000)
    scheduler.at("early", 1_000)
    await scheduler.settled()
    assert work.done == []
    clock.advance(1_500)
    await scheduler.settled()
    assert work.done == [("early", 1_500)]
    clock.advance(600)
    await scheduler.settled()
    assert work.done == [("early", 1_500), ("late", 2_100)]
    await scheduler.stop()


async def test_a_deadline_can_be_moved_and_forgotten(clock: ManualClock) -> None:
    """Only the last deadline of a name counts."""
    work = Work(clock)
    scheduler = Scheduler(clock, work)
    scheduler.start()
    scheduler.at("moved", 1_000)
    scheduler.at("moved", 3_000)
    scheduler.at("earlier", 5_000)
    scheduler.at("earlier", 2_000)
    scheduler.at("gone", 1_000)
    scheduler.at("gone", None)
    for expected in ([], [("earlier", 2_000)], [("earlier", 2_000), ("moved", 3_000)]):
        clock.advance(1_000)
        await scheduler.settled()
        assert work.done == expected
    await scheduler.stop()


async def test_failed_work_is_logged_and_due_again(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Work that fails is tried again a little later, and nothing is swallowed."""
    work = Work(clock)
    work.failures = 1
    scheduler = Scheduler(clock, work)
    scheduler.start()
    scheduler.at("x", 1_000)
    clock.advance(1_000)
    with caplog.at_level(logging.ERROR):
        await scheduler.settled()
    assert "x failed" in caplog.text
    assert work.done == []
    clock.advance(5_000)
    await scheduler.settled()
    assert work.done == [("x", 6_000)]
    await scheduler.stop()


async def test_a_scheduler_that_does_not_run_says_so(clock: ManualClock) -> None:
    """Waiting for a scheduler that was never started would wait for ever."""
    with pytest.raises(RuntimeError, match="does not run"):
        await Scheduler(clock, Work(clock)).settled()
