"""Settling every course in one pass."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from session_tracker import settle_all as module
from session_tracker.announcements import announce
from session_tracker.settle_all import CourseOutcome, courses
from session_tracker.store.certificates import HOURS_VOID
from session_tracker.store.writer import Transaction
from session_tracker.testing import Lesson, Studio
from verifier.errors import Conflict

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


# --- certificates ------------------------------------------------------------------------------


async def certified(studio: Studio, learners: int) -> dict[str, str]:
    """Learners who have studied for a certificate: its number by the learner's id."""
    numbers = {}
    for _ in range(learners):
        studio.learner_id, studio.consent_id = await studio.enrol()
        for media in ("lesson-1", "lesson-2"):
            lesson = await studio.open(media=media)
            await lesson.watch(300)
            view = await lesson.close()
        assert view.certificate is not None
        numbers[studio.learner_id] = view.certificate
    return numbers


async def vouch(studio: Studio, provenance: str) -> None:
    """Change what every enrolment rests on, behind the back of everything that grades."""

    async def job(tx: Transaction) -> None:
        await tx.connection.execute(
            text("UPDATE templates SET provenance = :provenance"), {"provenance": provenance}
        )

    await studio.service._database.write(job)


async def revocations(studio: Studio, numbers: dict[str, str]) -> list[str]:
    """Give the reason of every entry about a revocation; each is an event for others."""
    reasons = []
    for learner_id in numbers:
        for entry in await studio.service.ledger.of_subject(learner_id):
            if entry.kind == "certificate_revoked":
                told = announce(
                    index=entry.index,
                    subject=entry.subject,
                    key=entry.key,
                    kind=entry.kind,
                    body=entry.body,
                )
                assert told is not None
                assert told.type == "certificate.revoked"
                reasons.append(str(entry.content["reason"]))
    return reasons


async def test_a_pass_that_writes_revokes_what_the_hours_do_not_bear(studio: Studio) -> None:
    """As after a decision: once, in the ledger, told to others; issued anew when they are back."""
    numbers = await certified(studio, 1)
    (number,) = numbers.values()
    await vouch(studio, "self_live")
    (seen,) = await outcomes(studio)
    assert (seen.certificate, seen.revoked, seen.regraded) == (number, None, 2)
    (written,) = await outcomes(studio, write=True)
    assert (written.certificate, written.revoked, written.regraded) == (None, number, 2)
    issued = await studio.service.certification.issued(number)
    assert (issued.revoked_ms is not None, issued.revoked_reason) == (True, HOURS_VOID)
    assert await revocations(studio, numbers) == [HOURS_VOID]
    size = (await studio.service.head()).size
    (again,) = await outcomes(studio, write=True)
    assert (again.certificate, again.revoked, again.regraded) == (None, None, 0)
    assert (await studio.service.head()).size == size
    await vouch(studio, "id_photo")
    studio.clock.advance(1_000)
    (back,) = await outcomes(studio, write=True)
    assert back.certificate not in (None, number)
    assert back.revoked is None
    assert (await studio.service.audit()).intact


async def test_a_pass_that_was_broken_off_is_begun_anew(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did is not done twice, and what it left is done; there is one at a time."""
    numbers = await certified(studio, 3)
    await vouch(studio, "self_live")
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    broken = studio.service.settle_all(write=True)
    first = await anext(broken)
    assert first.revoked == numbers[first.course.learner_id]
    with pytest.raises(Conflict, match="already"):
        await anext(studio.service.settle_all(write=True))
    await broken.aclose()
    assert len(await revocations(studio, numbers)) == 1
    rest = await outcomes(studio, write=True)
    assert {o.revoked for o in rest} == {*numbers.values(), None} - {first.revoked}
    assert await revocations(studio, numbers) == [HOURS_VOID] * 3
