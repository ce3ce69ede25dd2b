"""Challenges that the service lost: held against nobody, asked again, and looked at by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest_asyncio

from session_tracker.events import Challenged, Paused, PauseReason, SystemFault
from session_tracker.live import Live
from session_tracker.policy import load_policy
from session_tracker.review import ReviewKind, Ruling
from session_tracker.testing import Lesson, Studio
from verifier.errors import InferenceFailed

FOSHAN = load_policy("foshan-2021")


@pytest_asyncio.fixture
async def studio(database_url: str) -> AsyncIterator[Studio]:
    """A tracker whose random checks are challenges, soon after one another."""
    checks = FOSHAN.checks.model_copy(update={"challenge_share": 1.0})
    made = Studio(database_url, policy=FOSHAN.model_copy(update={"checks": checks}))
    made.draw = lambda: 0.1
    made.service = made._service()
    await made.start()
    yield made
    await made.stop()


def live_of(lesson: Lesson) -> Live:
    """The session in memory."""
    return lesson.studio.service._stage.turns.sessions[lesson.id]


async def begun(studio: Studio) -> Lesson:
    """A lesson that runs, with a pass some time ago."""
    lesson = await studio.open()
    await lesson.watch(60, share=0)
    assert (await lesson.view()).play
    return lesson


async def watch_until(lesson: Lesson, state: str) -> None:
    """Go on without samples until the session is in that state."""
    for _ in range(60):
        await lesson.watch(5, share=0)
        if (await lesson.view()).state == state:
            return
    raise AssertionError(f"it was never {state}")


async def told(lesson: Lesson) -> Counter[str]:
    """Whole seconds of a lesson by what became of them."""
    return Counter((await lesson.studio.service.explain(lesson.id)).told.seconds)


async def next_turns(lesson: Lesson) -> int:
    """Have the lesson go on to its next challenge; give its turns."""
    asked = len(lesson.studio.verifier.challenges)
    for _ in range(60):
        if len(lesson.studio.verifier.challenges) > asked:
            break
        await lesson.watch(5, share=0)
    return lesson.studio.verifier.challenges[asked].turns


async def is_ours(lesson: Lesson) -> None:
    """It is nobody's fault but ours: it waits, it is asked about, and it can be granted."""
    studio = lesson.studio
    facts = await studio.service.facts(lesson.id)
    challenged = [f for f in facts if isinstance(f, Challenged)][-1]
    assert [f for f in facts if isinstance(f, SystemFault)]
    pauses = [f.reason for f in facts if isinstance(f, Paused)]
    assert pauses[-1] is PauseReason.SYSTEM_ERROR
    await lesson.watch(60, share=0)
    assert (await lesson.view()).play
    assert await next_turns(lesson) == 4
    await lesson.watch(60, share=0)
    await lesson.close()
    before = await told(lesson)
    assert before["pending:system_error"] > 0
    assert not [fate for fate in before if fate.endswith(("unanswered", "void:system_error"))]
    casework = studio.service.casework
    asked = await casework.reviews.of_session(lesson.id)
    (review,) = [one for one in asked if one.kind is ReviewKind.SERVICE_FAULT]
    assert review.start is not None
    assert review.end is not None
    assert review.start < challenged.t < review.end
    await casework.decide(review.id, actor="li", ruling=Ruling.GRANTED, reason="our fault")
    after = await told(lesson)
    assert after["granted"] > 0
    assert after["pending:system_error"] == 0


async def test_a_challenge_that_could_not_be_shown_waits_for_a_review(studio: Studio) -> None:
    """The verifier failed twice: pending, and the next challenge is no longer."""
    lesson = await begun(studio)
    studio.verifier.failures += [InferenceFailed("gone"), InferenceFailed("gone")]
    await watch_until(lesson, "paused")
    assert not studio.verifier.failures
    await is_ours(lesson)


async def test_a_restart_while_a_challenge_is_shown_waits_for_a_review(studio: Studio) -> None:
    """With us went the stream that it was shown on; nothing is asked of a stream that is gone."""
    lesson = await begun(studio)
    studio.verifier.stream_of(lesson.id).obeys = False
    await watch_until(lesson, "challenged")
    await studio.restart()
    assert (await lesson.view()).reason == "system_error"
    await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    assert studio.verifier.challenges == []
    await is_ours(lesson)


async def test_a_challenge_for_which_the_stream_is_gone_waits_for_a_review(studio: Studio) -> None:
    """The verifier has lost it between the last frame and the challenge."""
    lesson = await begun(studio)
    due = live_of(lesson).machine.random_at
    assert due is not None
    while due - studio.clock.stamp().utc_ms > 10_000:
        await lesson.watch(5, share=0)
    studio.verifier.streams.clear()
    await lesson.watch(10, frames=False)
    assert (await lesson.view()).reason == "system_error"
    await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    await is_ours(lesson)


async def test_a_restart_before_the_start_costs_no_review(studio: Studio) -> None:
    """The start challenge is shown again, as short as it was; nobody was studying yet."""
    lesson = await studio.open()
    studio.verifier.stream_of(lesson.id).obeys = False
    await lesson.watch(20)
    assert [one.turns for one in studio.verifier.challenges] == [4]
    await studio.restart()
    await studio.service.openings.reopen_stream(lesson.id, lesson.token)
    await lesson.watch(40, share=0)
    assert [one.turns for one in studio.verifier.challenges] == [4]
    assert (await lesson.view()).play
    await lesson.close()
    assert (await told(lesson))["pending:system_error"] == 0
    assert await studio.service.casework.reviews.of_session(lesson.id) == []


async def test_a_session_that_never_began_costs_no_review(studio: Studio) -> None:
    """We went down at its start challenge and the learner did not come back."""
    lesson = await studio.open()
    studio.verifier.stream_of(lesson.id).obeys = False
    await lesson.watch(20)
    await studio.restart()
    await lesson.close()
    assert (await told(lesson))["pending:system_error"] == 0
    state = await studio.service.course_credit(studio.learner_id, studio.policy.name)
    assert state.credit.final
