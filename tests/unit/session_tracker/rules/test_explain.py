"""Explaining: every second has one place and one reason, for staff and for the learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from session_tracker.events import Check, Identity, Outcome, Presence, VoidReason
from session_tracker.explain import explain, fate_of, for_learner
from session_tracker.policy import Policy
from session_tracker.segments import SegmentState
from session_tracker.words import REASONS, STATES

Tell = Callable[..., Any]


def told(story: Any, now: float = 100_000) -> Any:
    """Explain a story."""
    return explain(story.credit(now=now), story.facts)


def test_an_instant_outside_has_no_place(tell: Tell) -> None:
    """Neither before the opening nor at the end."""
    story = tell().lesson(100).sample(10, 50)
    found = told(story)
    for t in (found.start - 1, found.end):
        try:
            found.at(t)
        except LookupError:
            continue
        raise AssertionError


def test_the_learner_hears_no_sample_and_no_check(tell: Tell, policy: Policy) -> None:
    """Of the facts he is given those that happened in front of him only."""
    story = tell().lesson(300).sample(10, 40, 200).check(100, 110, Outcome.MISMATCH)
    silent = {f.key for f in story.facts if isinstance(f, Identity | Check | Presence)}
    staff = told(story)
    assert silent & {key for s in staff.spans for key in s.keys}
    his = for_learner(staff, story.facts, policy)
    assert not silent & {key for s in his.spans for key in s.keys}
    assert [fate_of(s) for s in his.spans] == [fate_of(s) for s in staff.spans]


def test_a_running_session_does_not_tell_when_he_was_last_looked_at(
    tell: Tell, policy: Policy
) -> None:
    """The last stretch is pending whatever became of it: passes in it change nothing."""
    answers = []
    for last in (160, 190, 230, 270):
        story = tell().opened().frames(0, 280).plays(0, 280).sample(*range(10, 151, 20), last)
        found = for_learner(told(story, now=280), story.facts, policy)
        answers.append([(s.start, s.end, s.state) for s in found.spans])
    assert answers[0][-1] == (story.at(130), story.at(280), SegmentState.PENDING)
    assert all(answer == answers[0] for answer in answers)


def test_every_code_has_words() -> None:
    """In both languages, for every reason and every state."""
    assert set(REASONS) == set(VoidReason)
    assert set(STATES) == set(SegmentState)
    assert all(w.zh and w.en for w in (*REASONS.values(), *STATES.values()))
