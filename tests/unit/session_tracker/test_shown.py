"""What a learner's device is shown of credit while he studies: nothing that tells of looks."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from session_tracker import settlement
from session_tracker.catalogue import load_catalogue
from session_tracker.consent_text import load_consent_text
from session_tracker.credit import LearnerCredit, SessionFacts
from session_tracker.desk import Desk
from session_tracker.events import Check, CheckCause, Identity
from session_tracker.policy import Policy, load_policy
from session_tracker.shown import DECIDED_MS, FRESH_MS
from session_tracker.testing import Lesson, Studio
from verifier.types import Decision

CALM_S = 240
"""The learner studies for so long before anything happens."""
FILM_S = 165
"""The sample lesson is 240 s long: so long before the sample that fails..."""
AFTER_S = 60
"""...and so long after it."""


def without_challenges() -> Policy:
    """The sample's rules; a challenge is shown to the learner anyway."""
    policy = load_policy("sample")
    checks = policy.checks.model_copy(
        update={
            "challenge_at_start": False,
            "challenge_share": 0.0,
            "random_min_s": 700,
            "random_mean_s": 800,
            "random_max_s": 900,
        }
    )
    return policy.model_copy(update={"checks": checks})


@asynccontextmanager
async def school(place: Path) -> AsyncIterator[Studio]:
    """A tracker of its own with one learner; every one draws the same lots."""
    made = Studio(
        f"sqlite:///{place}",
        policy=without_challenges(),
        catalogue=load_catalogue([], programmes=["sample"]),
    )
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def shown(studio: Studio, lesson: Lesson) -> dict[str, Any]:
    """Everything that the learner's device can ask for, without ids."""
    desk = Desk(studio.service, enroller=None, consent_text=load_consent_text())
    overview = await desk.overview(studio.learner_id)
    (past,) = await desk.sessions(studio.learner_id)
    told = await desk.explain(studio.learner_id, lesson.id)
    return {
        "view": {**(await lesson.view()).as_json(), "session_id": ""},
        "programmes": overview.programmes,
        "past": dataclasses.replace(past, session_id=""),
        "explained": [(s.start, s.end, s.state, s.reason, len(s.keys)) for s in told.spans],
    }


async def film(place: Path, fails: bool) -> tuple[list[dict[str, Any]], list[Any]]:
    """Study, with one sample after `FILM_S` that fails or does not; gives what was shown since."""
    async with school(place) as studio:
        lesson = await studio.open(media="sample-lesson")
        await lesson.watch(FILM_S)
        studio.verifier.show(
            lesson.id, Decision.MISMATCH if fails else Decision.MATCH, new_track=False
        )
        await lesson.watch(5, share=1)
        studio.verifier.stream_of(lesson.id).seen.clear()
        studio.verifier.stream_of(lesson.id).shows = Decision.MATCH
        frames = [await shown(studio, lesson)]
        for _ in range(AFTER_S // 5):
            await lesson.watch(5, share=0)
            frames.append(await shown(studio, lesson))
        return frames, await studio.service.facts(lesson.id)


async def test_a_sample_that_failed_changes_nothing_that_a_device_is_shown(tmp_path: Path) -> None:
    """Until the check that follows, and after it passed, every answer is the same to the letter."""
    calm, _ = await film(tmp_path / "calm.sqlite3", fails=False)
    failed, facts = await film(tmp_path / "failed.sqlite3", fails=True)
    assert [f.outcome.value for f in facts if isinstance(f, Identity)].count("mismatch") == 1
    assert any(isinstance(f, Check) and f.cause is CheckCause.SUSPICION for f in facts)
    assert failed == calm


async def test_credit_grows_second_by_second_whenever_looks_come(studio: Studio) -> None:
    """What is shown never jumps: between two looks at the page it grows by what went by."""
    lesson = await studio.open()
    await lesson.watch(CALM_S)
    last = (await lesson.view()).credited_s
    for _ in range(30):
        await lesson.watch(5)
        view = await lesson.view()
        assert 0 <= view.credited_s - last <= 6
        last = view.credited_s
    policy = studio.policy
    behind = policy.brackets.max_gap_s + (DECIDED_MS + FRESH_MS) // 1_000
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert state.credit.credited_s - behind <= last < state.credit.credited_s


async def test_at_the_end_everything_is_shown(studio: Studio) -> None:
    """What a session came to is on the page as soon as it has ended."""
    lesson = await studio.open()
    await lesson.watch(CALM_S)
    before = (await lesson.view()).credited_s
    view = await lesson.close()
    state = await studio.service.course_credit(studio.learner_id, "demo")
    assert view.credited_s == view.course_credited_s == state.credit.credited_s > before + 60


@pytest.mark.parametrize("fails", [False, True])
async def test_the_course_is_what_its_sessions_show(tmp_path: Path, fails: bool) -> None:
    """A page that sums up shows no more than the one of the lesson."""
    frames, _ = await film(tmp_path / "one.sqlite3", fails=fails)
    for one in frames:
        (programme,) = [p for p in one["programmes"] if p.policy.name == "sample"]
        assert programme.credited_s == one["view"]["course_credited_s"] == one["past"].credited_s


async def test_reports_derive_credit_every_twenty_seconds_and_the_past_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a device reports and asks, whatever was studied before."""
    first = await studio.open()
    await first.watch(200)
    await first.close()
    studio.clock.advance(1_000)
    asked: list[tuple[int, int]] = []
    real = settlement.derive

    def derive(sessions: Sequence[SessionFacts], *given: Any, **more: Any) -> LearnerCredit:
        past = more.get("past")
        asked.append((len(sessions), 0 if past is None else len(past.sessions)))
        return real(sessions, *given, **more)

    lesson = await studio.open()
    await lesson.watch(30)
    monkeypatch.setattr(settlement, "derive", derive)
    for _ in range(12):
        await lesson.watch(5)
        await lesson.report()
    assert 2 <= len(asked) <= 4  # in a minute
    assert set(asked) == {(1, 1)}
