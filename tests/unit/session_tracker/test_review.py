"""Reviews as pure rules: who may decide, in how many, and what the rules ask people about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_tracker.credit import EvidenceType
from session_tracker.events import Check, CheckCause, Outcome, PauseReason, Suspended, VoidReason
from session_tracker.policy import load_policy
from session_tracker.review import (
    Question,
    Review,
    ReviewKind,
    ReviewState,
    Ruling,
    Vote,
    answer,
    cast,
    deadlines,
    questions,
)
from session_tracker.segments import Segment, SegmentState
from verifier.errors import BadRequest, BenrenError, Conflict, Refused

HOUR = 3_600_000
OPEN = Review(
    id="rev_1",
    kind=ReviewKind.DISPUTED,
    cause="mismatch",
    learner_id="lrn_1",
    session_id="ses_1",
    other_learner_id=None,
    template_version=None,
    start=1_000,
    end=61_000,
    spoof=False,
    opened_by="rules",
    opened_ms=0,
    answer_by_ms=2 * HOUR,
    decide_by_ms=100 * HOUR,
)


def vote(
    actor: str, ruling: Ruling, start: int | None = None, end: int | None = None, at: int = 5
) -> Vote:
    """Make a vote."""
    return Vote(actor=actor, ruling=ruling, reason="seen", start=start, end=end, at_ms=at)


def put(review: Review, *votes: Vote, barred: frozenset[str] = frozenset()) -> Review:
    """Cast votes one after the other."""
    for one in votes:
        review = cast(review, one, spoof_reviewers=2, barred=barred)
    return review


def test_one_reviewer_decides_and_nothing_reopens() -> None:
    """Decided is decided: another vote and an answer are conflicts."""
    done = put(OPEN, vote("a", Ruling.GRANTED))
    assert (done.state, done.ruling, done.granted) == (
        ReviewState.DECIDED,
        Ruling.GRANTED,
        (1_000, 61_000),
    )
    assert done.answered_ms == 5
    for attempt in (lambda: put(done, vote("b", Ruling.UPHELD)), lambda: answer(done, at_ms=9)):
        with pytest.raises(Conflict, match="not reopened"):
            attempt()


def test_overturning_a_spoof_decision_takes_two_people() -> None:
    """The first grant waits for a second person; the same person twice is no second."""
    spoof = replace(OPEN, spoof=True)
    first = put(spoof, vote("a", Ruling.GRANTED))
    assert (first.state, first.ruling, first.granted) == (ReviewState.SECOND_NEEDED, None, None)
    with pytest.raises(Refused, match="second person"):
        put(first, vote("a", Ruling.GRANTED))
    assert put(first, vote("b", Ruling.GRANTED)).ruling is Ruling.GRANTED
    assert put(first, vote("b", Ruling.UPHELD)).ruling is Ruling.UPHELD
    assert put(spoof, vote("a", Ruling.UPHELD)).state is ReviewState.DECIDED


def test_two_reviewers_grant_what_both_agree_on() -> None:
    """The intersection counts; without one they have to talk."""
    spoof = replace(OPEN, spoof=True)
    first = put(spoof, vote("a", Ruling.GRANTED, 1_000, 30_000))
    assert put(first, vote("b", Ruling.GRANTED, 20_000, 61_000)).granted == (20_000, 30_000)
    with pytest.raises(Conflict, match="nothing in common"):
        put(first, vote("b", Ruling.GRANTED, 30_000, 61_000))


def test_nobody_decides_his_own() -> None:
    """Neither what he opened nor an appeal against his own decision."""
    with pytest.raises(Refused, match="opened himself"):
        put(replace(OPEN, opened_by="a"), vote("a", Ruling.UPHELD))
    with pytest.raises(Refused, match="his own decision"):
        put(OPEN, vote("a", Ruling.UPHELD), barred=frozenset({"a"}))


@pytest.mark.parametrize(("start", "end"), [(0, 2_000), (2_000, 61_001), (5_000, 5_000), (9, 1)])
def test_a_grant_lies_within_the_question(start: int, end: int) -> None:
    """Nothing is granted that nobody asked about."""
    with pytest.raises(BadRequest):
        put(OPEN, vote("a", Ruling.GRANTED, start, end))


def test_an_answer_comes_once_and_deadlines_are_seen() -> None:
    """Overdue is what was not done in time, whether it was done later or not."""
    assert OPEN.overdue(HOUR) == ()
    assert OPEN.overdue(3 * HOUR) == ("answer",)
    assert OPEN.overdue(101 * HOUR) == ("answer", "decision")
    answered = answer(OPEN, at_ms=HOUR)
    assert answered.state is ReviewState.ANSWERED
    assert answer(answered, at_ms=2 * HOUR) is answered
    assert answered.overdue(3 * HOUR) == ()
    late = put(OPEN, vote("a", Ruling.UPHELD, at=101 * HOUR))
    assert late.overdue(500 * HOUR) == ("answer", "decision")


def test_deadlines_follow_the_policy() -> None:
    """Two hours, and three working days."""
    policy = load_policy("foshan-2021")
    friday = 1_795_744_800_000  # 2026-11-27T10:00 in Shanghai
    answer_by, decide_by = deadlines(policy, friday)
    assert answer_by == friday + 2 * HOUR
    assert decide_by == 1_796_227_200_000  # 2026-12-03T00:00


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "rules"]), st.sampled_from(Ruling)), max_size=6
    ),
    st.booleans(),
)
def test_states_only_move_forward(votes: list[tuple[str, Ruling]], spoof: bool) -> None:
    """Whoever votes whatever: no state is left for an earlier one, no spoof falls to one vote."""
    order = list(ReviewState)
    review = replace(OPEN, spoof=spoof)
    for actor, ruling in votes:
        before = review
        try:
            review = put(review, vote(actor, ruling))
        except BenrenError:
            continue
        assert order.index(review.state) >= order.index(before.state)
        assert before.state is not ReviewState.DECIDED
    if review.ruling is Ruling.GRANTED:
        grants = {v.actor for v in review.votes if v.ruling is Ruling.GRANTED}
        assert len(grants) >= (2 if spoof else 1)


def segment(start: int, end: int, state: SegmentState, reason: VoidReason | None = None) -> Segment:
    """Make a segment."""
    evidence = EvidenceType.FACE if reason is None else None
    return Segment(start=start, end=end, state=state, reason=reason, evidence=evidence)


def test_what_the_rules_ask_people() -> None:
    """Disputed stretches, faults of the service, and nothing about what is simply void."""
    cut = [
        segment(0, 10, SegmentState.CREDITED),
        segment(10, 20, SegmentState.DISPUTED, VoidReason.MISMATCH),
        segment(20, 30, SegmentState.VOID, VoidReason.IDLE),
        segment(30, 40, SegmentState.PENDING, VoidReason.SYSTEM_ERROR),
        segment(40, 50, SegmentState.PENDING, VoidReason.PROVISIONAL),
    ]
    assert questions(cut, ()) == (
        Question(kind=ReviewKind.DISPUTED, cause="mismatch", start=10, end=20, spoof=False),
        Question(
            kind=ReviewKind.SERVICE_FAULT, cause="system_error", start=30, end=40, spoof=False
        ),
    )


def test_a_suspension_is_one_question() -> None:
    """All that was lost to its reason is asked about together, and not twice."""
    suspended = Suspended(key="s", t=50, reason=PauseReason.SPOOF)
    cut = [
        segment(0, 10, SegmentState.CREDITED),
        segment(10, 20, SegmentState.VOID, VoidReason.SPOOF),
        segment(20, 30, SegmentState.DISPUTED, VoidReason.MISMATCH),
        segment(30, 50, SegmentState.VOID, VoidReason.SPOOF),
    ]
    (asked,) = questions(cut, (suspended,))
    assert asked == Question(
        kind=ReviewKind.SUSPENSION, cause="spoof", start=10, end=50, spoof=True
    )


def test_a_suspension_before_anything_was_earned_is_asked_about_too() -> None:
    """A person looks at every suspension, also where nothing was lost to its reason."""
    suspended = Suspended(key="s", t=50, reason=PauseReason.MISMATCH)
    cut = [segment(0, 50, SegmentState.VOID, VoidReason.BEFORE_FIRST_PASS)]
    (asked,) = questions(cut, (suspended,))
    assert (asked.kind, asked.start, asked.end) == (ReviewKind.SUSPENSION, 0, 50)
    assert questions([], (suspended,)) == ()


def spoof(since: int, t: int) -> Check:
    """A check that called somebody a spoof."""
    return Check(
        key=f"check:{t}",
        t=t,
        since=since,
        cause=CheckCause.RANDOM,
        track=1,
        outcome=Outcome.SPOOF,
    )


def test_a_suspension_for_a_mismatch_over_a_spoof_takes_two() -> None:
    """By what lies in the span, not by what the suspension says."""
    suspended = Suspended(key="s", t=50, reason=PauseReason.MISMATCH)
    cut = [
        segment(0, 10, SegmentState.VOID, VoidReason.MISMATCH),
        segment(10, 20, SegmentState.CREDITED),
        segment(20, 40, SegmentState.VOID, VoidReason.SPOOF),
        segment(40, 50, SegmentState.VOID, VoidReason.MISMATCH),
    ]
    (asked,) = questions(cut, (suspended,))
    assert (asked.cause, asked.start, asked.end, asked.spoof) == ("mismatch", 0, 50, True)
    plain = [replace(s, reason=s.reason and VoidReason.MISMATCH) for s in cut]
    assert [q.spoof for q in questions(plain, (suspended,))] == [False]
    assert [q.spoof for q in questions(plain, (suspended, spoof(25, 30)))] == [True]


def test_a_disputed_stretch_that_a_spoof_touches_takes_two() -> None:
    """Whatever reason its seconds were given."""
    cut = [segment(10, 20, SegmentState.DISPUTED, VoidReason.MISMATCH)]
    assert [q.spoof for q in questions(cut, (spoof(5, 12),))] == [True]
    assert [q.spoof for q in questions(cut, (spoof(20, 25),))] == [False]


def test_where_nothing_was_lost_to_it_only_what_does_not_count_is_asked_about() -> None:
    """Nobody is asked to grant what was credited, or what was lost long before."""
    suspended = Suspended(key="s", t=50, reason=PauseReason.MISMATCH)
    cut = [
        segment(0, 10, SegmentState.VOID, VoidReason.SPOOF),
        segment(10, 20, SegmentState.CREDITED),
        segment(20, 30, SegmentState.VOID, VoidReason.IDLE),
        segment(30, 50, SegmentState.VOID, VoidReason.NOT_PLAYING),
    ]
    (asked,) = questions(cut, (suspended,))
    assert (asked.start, asked.end, asked.spoof) == (20, 50, False)
