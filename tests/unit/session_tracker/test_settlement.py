"""What is kept of the store's answers while people decide, and what is derived once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_tracker import rebuild
from session_tracker.events import Granted
from session_tracker.records import SessionRecord
from session_tracker.settlement import _over
from session_tracker.testing import Studio
from verifier.types import Decision


@pytest.mark.both_databases
async def test_a_reader_from_before_a_decision_keeps_nothing_of_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused in the middle, with a view from before: others read what was decided, all the same."""
    lesson = await studio.open()
    await lesson.watch(120)
    studio.verifier.show(lesson.id, Decision.MISMATCH, new_track=False)
    await lesson.watch(60)
    await lesson.close()
    told = (await studio.service.explain(lesson.id)).told
    (span,) = [s for s in told.spans if s.state == "disputed"]
    settlement = studio.service._stage.settlement
    settlement.forget(lesson.id)
    read, paused, go_on = rebuild.facts_of, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any) -> Any:
        found = await read(*given)
        if not paused.is_set():
            paused.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(rebuild, "facts_of", slow)
    reader = asyncio.create_task(studio.service.course_credit(studio.learner_id, "demo"))
    await paused.wait()
    grant = Granted(key="granted:rev_1", t=span.start, end=span.end)
    decided = await studio.service.decide(lesson.id, [grant], reason="it was the learner")
    go_on.set()
    before = await reader
    assert before.credit.credited_s < decided.credit.credited_s
    now = studio.clock.stamp().utc_ms
    glance = await settlement.course_credit(decided.course, now_ms=now, running={}, glance=True)
    assert glance.credit.credited_s == decided.credit.credited_s
    again = await studio.service.course_credit(studio.learner_id, "demo")
    assert again.credit.credited_s == decided.credit.credited_s


async def test_of_two_readings_the_one_that_began_later_is_kept(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has changed between them, and whichever came to its end first."""
    lesson = await studio.open()
    await lesson.watch(120)
    await lesson.close()
    settlement = studio.service._stage.settlement
    settlement.forget(lesson.id)
    read, paused, go_on = rebuild.facts_of, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any) -> Any:
        if not paused.is_set():
            paused.set()
            await go_on.wait()
        return await read(*given)

    monkeypatch.setattr(rebuild, "facts_of", slow)
    reader = asyncio.create_task(studio.service.course_credit(studio.learner_id, "demo"))
    await paused.wait()
    await studio.service.refuse_registration(
        studio.learner_id, actor="counter", reasons=["somebody else"]
    )
    go_on.set()
    before = await reader
    assert before.credit.credited_s > 0
    now = studio.clock.stamp().utc_ms
    glance = await settlement.course_credit(before.course, now_ms=now, running={}, glance=True)
    assert glance.credit.credited_s == 0


async def test_devices_that_take_over_from_each_other_are_seen_at_a_glance(
    studio: Studio,
) -> None:
    """Of sessions that overlap one after the other none is over before all of them are."""
    first = await studio.open()
    await first.watch(60)
    second = await studio.open(take_over=True)
    await second.watch(60)
    third = await studio.open(take_over=True)
    await third.watch(60)
    assert [(await one.view()).state for one in (first, second, third)] == [
        "settled",
        "settled",
        "running",
    ]
    credit = (await studio.service.course_credit(studio.learner_id, "demo")).credit
    assert len(credit.sessions) == 3


def record(name: str, opened: int, closed: int | None) -> SessionRecord:
    """A session that was settled when it ended."""
    return SessionRecord(
        id=name,
        learner_id="lrn_1",
        programme="demo",
        course=1,
        policy_version="3",
        consent_id="cns_1",
        media=("lesson-1",),
        token_hash=name,
        epoch=1,
        template_version=1,
        taking_over=None,
        opened_ms=opened,
        closed_ms=closed,
        settled_ms=closed,
    )


def test_take_overs_in_a_row_leave_nothing_overlapping() -> None:
    """The second was taken over by the third and began before the first had ended: both wait."""
    first, second = record("a", 100, 210), record("b", 200, 310)
    third = record("c", 300, None)
    assert _over([record("z", 10, 90), first, second, third]) == {"z"}
    assert _over([first, second]) == {"a", "b"}
    assert _over([third]) == frozenset()
    # One that begins when another ends does not overlap it.
    assert _over([first, second, record("d", 310, None)]) == {"a", "b"}
