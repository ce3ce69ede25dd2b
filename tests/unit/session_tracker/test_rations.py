"""What a session's own device may ask for, how often, and what it leaves in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_tracker.live import Live, Report
from session_tracker.records import Totals
from session_tracker.testing import Lesson, Studio
from session_tracker.views import SessionView
from verifier.errors import Conflict, TooManyRequests

pytestmark = pytest.mark.both_databases


async def begun(studio: Studio) -> Lesson:
    """A lesson that runs."""
    lesson = await studio.open()
    await lesson.watch(60)
    assert lesson.playing
    return lesson


def live_of(lesson: Lesson) -> Live:
    """What is in memory of it."""
    return lesson.studio.service._stage.turns.sessions[lesson.id]


async def say(lesson: Lesson, seq: int, *, playing: bool = True, media_ms: int = 0) -> SessionView:
    """Report under this number."""
    said = Report(seq=seq, media_id=lesson.media_id, media_ms=media_ms, playing=playing)
    return await lesson.studio.service.report(lesson.id, lesson.token, said)


async def test_reports_are_rationed(studio: Studio) -> None:
    """Pressing pause like mad is free for a while, then somebody has to wait; repeats count too."""
    lesson = await begun(studio)
    entries = await studio.service.ledger.size()
    refused: list[int] = []
    for seq in range(1_000, 1_200):
        try:
            await say(lesson, seq, playing=bool(seq % 2))
            await say(lesson, seq, playing=bool(seq % 2))
        except TooManyRequests as error:
            refused.append(error.retry_after_s or 0)
    await studio.service.settled()
    assert len(refused) >= 190
    assert set(refused) == {1}
    assert len(live_of(lesson).facts) < 100
    assert await studio.service.ledger.size() - entries < 60
    studio.clock.advance(1_000)
    await say(lesson, 2_000)


async def test_a_report_a_second_is_never_too_many(studio: Studio) -> None:
    """An honest page sends one in fifteen seconds, and one at each press of a button."""
    lesson = await begun(studio)
    for seq in range(1_000, 1_100):
        studio.clock.advance(1_000)
        await say(lesson, seq, playing=bool(seq % 2))


async def test_only_the_newest_answers_are_in_memory(studio: Studio) -> None:
    """An older report that comes again gets its first answer from the store."""
    lesson = await begun(studio)
    first = await say(lesson, 1_000)
    for seq in range(1_001, 1_400):
        studio.clock.advance(500)
        if not seq % 10:
            await studio.verifier.frame(lesson.id)
        await say(lesson, seq)
    live = live_of(lesson)
    assert len(live.answers) == 256
    assert 1_000 not in live.answers
    assert await say(lesson, 1_000) == first
    with pytest.raises(Conflict):
        await say(lesson, 1_000, media_ms=7)
    assert live.last_report is not None
    assert live.last_report.key == "playback:0000001399"
    facts = len(live.facts)
    await say(lesson, 999)  # never sent, and overtaken: it counts for nothing
    assert len(live.facts) == facts


async def test_looks_are_rationed(studio: Studio) -> None:
    """A page looks every few seconds; who asks for ever has to wait, after the end as well."""
    lesson = await begun(studio)
    studio.clock.advance(10_000)
    for _ in range(20):
        await lesson.view()
    with pytest.raises(TooManyRequests):
        await lesson.view()
    studio.clock.advance(1_000)
    await lesson.close()
    studio.clock.advance(10_000)
    for _ in range(20):
        assert (await lesson.view()).state == "settled"
    with pytest.raises(TooManyRequests):
        await lesson.view()


@pytest.mark.parametrize("derived", [True, False])
async def test_a_look_waits_for_nobody(studio: Studio, derived: bool) -> None:
    """While a look or a check is written down the session is held: it does not show in the time."""
    lesson = await begun(studio)
    live = live_of(lesson)
    before = await lesson.view()
    if not derived:
        studio.clock.advance(30_000)
    async with live.lock, asyncio.timeout(10):
        seen = await lesson.view()
    assert (seen.state, seen.play) == (before.state, before.play)
    assert seen.credited_s >= before.credited_s


async def test_what_was_derived_meanwhile_is_not_kept(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that changes what is shown, while somebody looks, is seen by the next look."""
    lesson = await begun(studio)
    live, grading = live_of(lesson), studio.service._stage.grading
    derive = grading._totals

    async def overtaken(*given: Any) -> Totals:
        live.changes += 1
        return await derive(*given)

    live.totals = None
    with monkeypatch.context() as changed:
        changed.setattr(grading, "_totals", overtaken)
        await lesson.view()
    assert live.totals is None
    await lesson.view()
    assert live.totals is not None


async def test_streams_are_opened_anew_as_often_as_a_network_fails(studio: Studio) -> None:
    """A page tries every four seconds or so; each time costs an entry, a row, and all prints."""
    lesson = await begun(studio)
    reopen = studio.service.openings.reopen_stream
    for _ in range(50):  # one that fails for more than three minutes
        studio.clock.advance(4_400)
        await reopen(lesson.id, lesson.token)
        await studio.verifier.frame(lesson.id)
    with pytest.raises(TooManyRequests):
        await asyncio.gather(*(reopen(lesson.id, lesson.token) for _ in range(12)))
    studio.clock.advance(5_000)
    await reopen(lesson.id, lesson.token)
