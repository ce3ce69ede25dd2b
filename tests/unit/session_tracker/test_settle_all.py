"""Settling every course in one pass."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from session_tracker import settle_all as module
from session_tracker.settle_all import CourseOutcome, courses
from session_tracker.store.writer import Transaction
from session_tracker.testing import Lesson, Studio

pytestmark = pytest.mark.both_databases


async def a_year(studio: Studio, learners: int) -> list[Lesson]:
    """Learners with a short lesson each, the last of whom is still at it."""
    lessons = []
    for number in range(learners):
        studio.learner_id, studio.consent_id = await studio.enrol()
        lesson = await studio.open()
        await lesson.watch(60)
        if number < learners - 1:
            await lesson.close()
        lessons.append(lesson)
    return lessons


async def outcomes(studio: Studio, *, write: bool = False) -> list[CourseOutcome]:
    """What the pass finds."""
    return [found async for found in studio.service.settle_all(write=write)]


async def test_every_course_is_met_once_in_order(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page; what is credited is what the learner is told."""
    await a_year(studio, 5)
    monkeypatch.setattr(module, "_PAGE", 2)
    paged = [c async for c in courses(studio.service._database, page=2)]
    found = await outcomes(studio)
    assert [o.course for o in found] == paged
    assert [c.learner_id for c in paged] == sorted({c.learner_id for c in paged})
    assert len(found) == 5
    assert sorted(o.open_sessions for o in found) == [0, 0, 0, 0, 1]
    for outcome in found:
        credit = await studio.service.course_credit(
            outcome.course.learner_id, outcome.course.programme
        )
        assert outcome.credited_s == credit.credit.credited_s
        assert (outcome.regraded, outcome.reached, outcome.certificate) == (0, False, None)


async def test_a_settlement_that_says_something_else_is_found_and_settled_anew(
    studio: Studio,
) -> None:
    """Here an enrolment turns out to be provisional without anybody having settled it again."""
    lessons = await a_year(studio, 3)
    first = lessons[0].opened.session_id

    async def doubt(tx: Transaction) -> None:
        await tx.connection.execute(
            text(
                "UPDATE templates SET provenance = 'self_live' WHERE learner_id ="
                " (SELECT learner_id FROM sessions WHERE id = :id)"
            ),
            {"id": first},
        )

    await studio.service._database.write(doubt)
    assert sum(o.regraded for o in await outcomes(studio)) == 1
    assert sum(o.regraded for o in await outcomes(studio, write=True)) == 1
    assert sum(o.regraded for o in await outcomes(studio)) == 0
    entries = await studio.service.ledger.of_subject(first)
    assert [e.content["reason"] for e in entries if e.kind == "settled"][-1] == "regraded"
