"""Bad input about time: events from the future, from last week, doubled, out of order; races."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from session_tracker.axis import Axis
from session_tracker.events import Playback, Presence, SystemFault
from session_tracker.testing import Lesson, Studio
from verifier.clock import ManualClock, Stamp
from verifier.errors import Conflict
from verifier.types import StreamEvent

WEEK_MS = 7 * 86_400_000


async def studied(studio: Studio) -> Lesson:
    """A lesson that has run for a minute."""
    lesson = await studio.open()
    await lesson.watch(60)
    return lesson


def elsewhere(event: StreamEvent, *, boot: str, off_ms: int) -> StreamEvent:
    """The next event, stamped by a machine whose clock is off."""
    at = Stamp(boot_id=boot, monotonic_ms=5_000, utc_ms=event.at.utc_ms + off_ms)
    return replace(event, event_id=event.event_id + 1, frame_seq=event.frame_seq + 1, at=at)


@pytest.mark.parametrize("off_ms", [3_600_000, 3_000, -WEEK_MS], ids=["hour", "3 s", "last week"])
async def test_an_event_of_a_clock_that_is_wrong_is_placed_now(studio: Studio, off_ms: int) -> None:
    """From the future or from before the session: our fault, pending, flagged, placed by ours."""
    lesson = await studied(studio)
    event = await studio.verifier.frame(lesson.id)
    now = studio.clock.stamp().utc_ms
    await studio.service.sink(elsewhere(event, boot="strange", off_ms=off_ms))
    facts = await studio.service.facts(lesson.id)
    newest = max((f for f in facts if isinstance(f, Presence)), key=lambda f: f.end)
    assert newest.end == now
    (fault,) = [f for f in facts if isinstance(f, SystemFault)]
    assert (fault.key, fault.end) == ("fault:clock:strange", now)
    entries = await studio.service.ledger.of_subject(lesson.id)
    assert "flag:clock_step" in {e.key for e in entries}
    assert (await lesson.view()).reason == "system_error"


async def test_an_event_that_is_late_by_less_is_placed_where_it_happened(studio: Studio) -> None:
    """A verifier that was cut off hands over later what it saw: no fault."""
    lesson = await studied(studio)
    event = await studio.verifier.frame(lesson.id)
    await studio.service.sink(elsewhere(event, boot="cut-off", off_ms=-20_000))
    facts = await studio.service.facts(lesson.id)
    assert [f for f in facts if isinstance(f, SystemFault)] == []


def test_a_clock_that_has_run_ahead_is_held_back(clock: ManualClock) -> None:
    """Within a boot there is no step: what lies ahead of us is placed now, and told."""
    axis = Axis(clock)
    first = clock.stamp()
    other = Stamp(boot_id="other", monotonic_ms=0, utc_ms=first.utc_ms)
    axis.learn({"other": other})
    ahead = replace(other, monotonic_ms=9_000)
    placed = axis.place(ahead, other, earliest=first.utc_ms, step_ms=2_000)
    assert (placed.at, placed.ahead, placed.stepped) == (first.utc_ms, True, False)
    assert placed.since == first.utc_ms
    near = axis.place(
        replace(other, monotonic_ms=1_500), None, earliest=first.utc_ms, step_ms=2_000
    )
    assert (near.at, near.ahead) == (first.utc_ms + 1_500, False)


def test_the_window_of_a_check_ends_with_it(clock: ManualClock) -> None:
    """A check whose oldest frame has a later stamp than its newest began at the newest."""
    axis = Axis(clock)
    at = clock.stamp()
    later = replace(at, monotonic_ms=at.monotonic_ms + 900)
    assert axis.place(at, later, earliest=at.utc_ms, step_ms=2_000).since == at.utc_ms


async def test_events_out_of_order_wait_and_doubled_ones_are_one(studio: Studio) -> None:
    """The third before the second is refused, to be sent again; the second twice is once."""
    lesson = await studied(studio)
    event = await studio.verifier.frame(lesson.id)
    second = replace(event, event_id=event.event_id + 1, frame_seq=event.frame_seq + 1)
    third = replace(event, event_id=event.event_id + 2, frame_seq=event.frame_seq + 2)
    with pytest.raises(Conflict, match="came before"):
        await studio.service.sink(third)
    await studio.service.sink(second)
    await studio.service.sink(third)
    facts = await studio.service.facts(lesson.id)
    await studio.service.sink(second)
    await studio.service.sink(third)
    assert await studio.service.facts(lesson.id) == facts


async def test_two_devices_racing_for_the_lease_end_with_one(studio: Studio) -> None:
    """Both take over at once: one lease, one running session, no second twice."""
    first = await studied(studio)
    contenders = await asyncio.gather(*(studio.open(take_over=True) for _ in range(2)))
    for _ in range(8):
        for lesson in contenders:
            if (await lesson.view()).state not in ("closed", "settled"):
                await lesson.watch(5)
    running = [lesson for lesson in (first, *contenders) if (await lesson.view()).play]
    assert len(running) == 1
    for lesson in (first, *contenders):
        await lesson.close()
    state = await studio.service.course_credit(studio.learner_id, studio.policy.name)
    spans = sorted((i.start, i.end) for s in state.credit.sessions for i in s.credited)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


async def test_media_time_going_backwards_repeats_nothing(studio: Studio) -> None:
    """Wound back again and again, a minute of a medium is a minute of credit."""
    lesson = await studied(studio)
    for _ in range(4):
        lesson.media_ms = 0
        await lesson.report()
        await lesson.watch(60)
    await lesson.close()
    explained = await studio.service.explain(lesson.id)
    reports = [f.media_ms for f in explained.facts if isinstance(f, Playback)]
    assert max(reports) < 130_000
    assert explained.credit.credited_ms <= max(reports)
    assert explained.told.seconds["void:media_repeated"] > 120
