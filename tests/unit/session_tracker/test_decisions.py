"""Decisions of people: facts like any other, from which credit follows by derivation only."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from session_tracker.events import Disputed, Granted, Upheld
from session_tracker.explain import fate_of
from session_tracker.testing import Lesson, Studio
from verifier.errors import BadRequest, NotFound
from verifier.types import Decision


async def stopped_by_a_mismatch(studio: Studio) -> Lesson:
    """A lesson in whose middle somebody else is seen; it ends there."""
    lesson = await studio.open()
    await lesson.watch(120)
    studio.verifier.show(lesson.id, Decision.MISMATCH, new_track=False)
    await lesson.watch(60)
    await lesson.close()
    return lesson


async def fates(lesson: Lesson) -> list[str]:
    """Where the segments of a lesson stand."""
    explained = await lesson.studio.service.explain(lesson.id)
    assert all(a.end == b.start for a, b in pairwise(explained.told.spans))
    return [fate_of(s) for s in explained.told.spans]


async def disputed(lesson: Lesson) -> tuple[int, int]:
    """The interval that waits for a reviewer."""
    explained = await lesson.studio.service.explain(lesson.id)
    (span,) = [s for s in explained.told.spans if s.state == "disputed"]
    return span.start, span.end


async def settlements(lesson: Lesson) -> list[Any]:
    """What the ledger says the lesson came to, the newest last."""
    entries = await lesson.studio.service.ledger.of_subject(lesson.id)
    return [json.loads(e.body) for e in entries if e.kind == "settled"]


async def test_a_grant_becomes_credit_and_a_new_settlement(studio: Studio) -> None:
    """The old settlement stays in the ledger; the new one and its segment are appended."""
    lesson = await stopped_by_a_mismatch(studio)
    start, end = await disputed(lesson)
    grant = Granted(key="granted:rev_1", t=start, end=end)
    before = (await settlements(lesson))[-1]["data"]["credited_ms"]
    state = await studio.service.decide(lesson.id, [grant], reason="it was the learner")
    assert state.of(lesson.id).credited_ms == before + end - start
    first, second = await settlements(lesson)
    assert second["data"]["credited_ms"] == first["data"]["credited_ms"] + end - start
    assert second["reason"] == "regraded"
    entries = await studio.service.ledger.of_subject(lesson.id)
    granted = next(json.loads(e.body) for e in entries if e.kind == "granted")
    assert granted["reason"] == "it was the learner"
    changed = json.loads(next(e for e in reversed(entries) if e.kind == "segment").body)
    assert (changed["reason"], changed["data"]["start"]) == ("granted", start)
    assert "granted" in await fates(lesson)


async def test_a_decision_sent_again_is_one_decision(studio: Studio) -> None:
    """Its key makes it one: nothing is appended, nothing counts twice."""
    lesson = await stopped_by_a_mismatch(studio)
    start, end = await disputed(lesson)
    grant = Granted(key="granted:rev_1", t=start, end=end)
    once = await studio.service.decide(lesson.id, [grant], reason="it was the learner")
    size = (await studio.service.head()).size
    again = await studio.service.decide(lesson.id, [grant], reason="it was the learner")
    assert again.credit.credited_s == once.credit.credited_s
    assert (await studio.service.head()).size == size


async def test_upheld_changes_the_state_and_no_second(studio: Studio) -> None:
    """Disputed, appealed, upheld: the credit is what it was."""
    lesson = await stopped_by_a_mismatch(studio)
    start, end = await disputed(lesson)
    before = (await studio.service.session_credit(lesson.id))[1].credit.credited_s
    appeal = Disputed(key="disputed:apl_1", t=start, end=end)
    await studio.service.decide(lesson.id, [appeal], reason="appeal")
    assert "disputed:mismatch" in await fates(lesson)
    upheld = Upheld(key="upheld:apl_1", t=start, end=end)
    state = await studio.service.decide(lesson.id, [upheld], reason="another person is seen")
    assert state.credit.credited_s == before
    assert "disputed:mismatch" not in await fates(lesson)
    assert "upheld:mismatch" in await fates(lesson)


async def test_a_decision_outside_of_the_session_is_refused(studio: Studio) -> None:
    """Before its opening, after its end, or empty: named, and nothing is written."""
    lesson = await stopped_by_a_mismatch(studio)
    record, _ = await studio.service.session_credit(lesson.id)
    size = (await studio.service.head()).size
    assert record.closed_ms is not None
    for t, end in (
        (record.opened_ms - 1, record.closed_ms),
        (record.opened_ms, record.closed_ms + 1),
        (record.opened_ms + 5, record.opened_ms + 5),
    ):
        with pytest.raises(BadRequest, match="within the session"):
            await studio.service.decide(
                lesson.id, [Granted(key="granted:x", t=t, end=end)], reason="mistyped"
            )
    with pytest.raises(NotFound):
        await studio.service.decide("ses_none", [], reason="")
    assert (await studio.service.head()).size == size


async def test_staff_answer_for_a_running_session(studio: Studio) -> None:
    """Confirmed by staff ahead of time, a lesson runs without a face."""
    lesson = await studio.open()
    at = studio.clock.stamp().utc_ms
    await studio.service.casework.supervise(
        lesson.id, start=at, end=at + 600_000, actor="counter", reason="sits in the room 3"
    )
    await studio.service.settled()
    studio.verifier.show(lesson.id, None)
    await lesson.watch(200)
    view = await lesson.close()
    assert view.credited_s > 150


async def test_after_a_restart_decisions_are_still_there(studio: Studio) -> None:
    """They are read from the ledger like every other fact."""
    lesson = await stopped_by_a_mismatch(studio)
    start, end = await disputed(lesson)
    grant = Granted(key="granted:rev_1", t=start, end=end)
    state = await studio.service.decide(lesson.id, [grant], reason="it was the learner")
    await studio.restart()
    again = await studio.service.course_credit(studio.learner_id, studio.policy.name)
    assert again.credit.credited_s == state.credit.credited_s
    assert "granted" in await fates(lesson)
