"""What a review is, and who may decide it: pure rules, no store.

A review asks a person about an interval of a session, or about an enrolment. Its states only move
forward. Overturning a spoof decision takes two people; nobody decides what he opened himself, nor
an appeal against his own decision.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from session_tracker.events import Check, Fact, Outcome, PauseReason, Suspended, VoidReason
from session_tracker.intervals import intersect, union
from session_tracker.policy import Policy
from session_tracker.refusals import AnotherReviewer
from session_tracker.segments import Segment, SegmentState
from verifier.errors import BadRequest, Conflict

BY_RULE = "rules"
"""Who opened a review that nobody asked for."""


class ReviewKind(StrEnum):
    """Why a person is asked."""

    SUSPENSION = "suspension"
    DISPUTED = "disputed"
    """A check found somebody else: the bracket is disputed."""
    SERVICE_FAULT = "service_fault"
    """The service failed: what was lost is credited by review."""
    ENROLMENT_HIT = "enrolment_hit"
    """The face that was enrolled looks like that of another account of the business."""
    APPEAL = "appeal"


class ReviewState(StrEnum):
    """How far a review is."""

    OPEN = "open"
    ANSWERED = "answered"
    """A person has told the learner that it is being looked at."""
    SECOND_NEEDED = "second_needed"
    """One reviewer overturned a spoof decision; another has to agree."""
    DECIDED = "decided"


class Ruling(StrEnum):
    """What a reviewer found."""

    GRANTED = "granted"
    """The interval counts; of an enrolment: they are different people."""
    UPHELD = "upheld"
    """It stays as it is; of an enrolment: it is one person under two accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one reviewer decided."""

    actor: str
    ruling: Ruling
    reason: str
    start: int | None
    """Of a grant: from when, UTC ms; None where no session is concerned."""
    end: int | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question to a person."""

    id: str
    kind: ReviewKind
    cause: str
    """What called it, as a plain code: a reason of a pause or of void time, ``appeal``."""
    learner_id: str
    session_id: str | None
    other_learner_id: str | None
    """Of an enrolment hit: whom the face looks like."""
    template_version: int | None
    start: int | None
    """The interval in question, UTC ms."""
    end: int | None
    spoof: bool
    """Whether granting it overturns a spoof decision."""
    opened_by: str
    opened_ms: int
    answer_by_ms: int
    decide_by_ms: int
    state: ReviewState = ReviewState.OPEN
    answered_ms: int | None = None
    decided_ms: int | None = None
    ruling: Ruling | None = None
    votes: tuple[Vote, ...] = ()

    def overdue(self, now_ms: int) -> tuple[str, ...]:
        """Name the deadlines that were missed: ``answer``, ``decision``."""
        answered = self.answered_ms if self.answered_ms is not None else self.decided_ms
        missed = (
            ("answer", answered, self.answer_by_ms),
            ("decision", self.decided_ms, self.decide_by_ms),
        )
        return tuple(name for name, done, due in missed if (now_ms if done is None else done) > due)

    @property
    def granted(self) -> tuple[int, int] | None:
        """Give the interval that all who granted it agree on."""
        grants = [v for v in self.votes if v.ruling is Ruling.GRANTED and v.start is not None]
        if self.ruling is not Ruling.GRANTED or not grants:
            return None
        return max(v.start or 0 for v in grants), min(v.end or 0 for v in grants)


def deadlines(policy: Policy, opened_ms: int) -> tuple[int, int]:
    """Give until when a review is to be answered and decided, UTC ms."""
    rules = policy.appeal
    answer = opened_ms + rules.answer_within_h * 3_600_000
    return answer, policy.calendar.after(opened_ms, rules.decide_within_working_days)


def answer(review: Review, *, at_ms: int) -> Review:
    """Note that a person has answered. Raises Conflict where it is decided already."""
    if review.state is ReviewState.DECIDED:
        raise _decided(review)
    if review.answered_ms is not None:
        return review
    state = ReviewState.ANSWERED if review.state is ReviewState.OPEN else review.state
    return replace(review, state=state, answered_ms=at_ms)


def cast(review: Review, vote: Vote, *, spoof_reviewers: int, barred: Collection[str]) -> Review:
    """Take in a reviewer's vote; give the review after it.

    `barred` names who decided about the same interval before. Raises Conflict, BadRequest, and
    AnotherReviewer where this one may not decide.
    """
    if review.state is ReviewState.DECIDED:
        raise _decided(review)
    if vote.actor == review.opened_by:
        raise AnotherReviewer("Nobody decides a review that he opened himself.", remedy=_ANOTHER)
    if vote.actor in barred:
        raise AnotherReviewer("Nobody decides an appeal against his own decision.", remedy=_ANOTHER)
    if any(v.actor == vote.actor for v in review.votes):
        raise AnotherReviewer(
            "A second person has to agree, not the same one twice.", remedy=_ANOTHER
        )
    votes = (*review.votes, _within(review, vote))
    answered = vote.at_ms if review.answered_ms is None else review.answered_ms
    after = replace(review, votes=votes, answered_ms=answered)
    grants = sum(v.ruling is Ruling.GRANTED for v in votes)
    needed = spoof_reviewers if review.spoof else 1
    if vote.ruling is Ruling.GRANTED and grants < needed:
        return replace(after, state=ReviewState.SECOND_NEEDED)
    after = replace(after, state=ReviewState.DECIDED, decided_ms=vote.at_ms, ruling=vote.ruling)
    if after.granted is not None and after.granted[0] >= after.granted[1]:
        raise Conflict(
            "The intervals that the reviewers grant have nothing in common.",
            remedy="Agree on one, or uphold the decision.",
        )
    return after


def _within(review: Review, vote: Vote) -> Vote:
    """Give the vote with its interval: that of the review where the reviewer named none."""
    if vote.ruling is Ruling.UPHELD or review.start is None or review.end is None:
        return replace(vote, start=None, end=None)
    start = review.start if vote.start is None else vote.start
    end = review.end if vote.end is None else vote.end
    if not review.start <= start < end <= review.end:
        raise BadRequest(
            "What is granted has to lie within the interval in question.",
            remedy=f"It runs from {review.start} to {review.end} (UTC ms).",
        )
    return replace(vote, start=start, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A review that the rules want opened about a session."""

    kind: ReviewKind
    cause: str
    start: int
    end: int
    spoof: bool


def questions(segments: Sequence[Segment], facts: Sequence[Fact]) -> tuple[Question, ...]:
    """Name what of a session that has ended a person has to look at. Pure.

    A suspension is one question about everything that was lost to its reason, or where nothing
    was, about the time since it counted last; of what else is disputed each stretch is one; a
    fault of the service is one for each stretch it cost.
    """
    found: list[Question] = []
    left = list(segments)
    suspended = next((f for f in facts if isinstance(f, Suspended)), None)
    if suspended is not None:
        reason = VoidReason(str(suspended.reason)) if suspended.reason in _STRUCK else None
        lost = [s for s in left if reason is not None and s.reason is reason] or _tail(left)
        if lost:
            span = (lost[0].start, lost[-1].end)
            found.append(
                Question(
                    kind=ReviewKind.SUSPENSION,
                    cause=str(suspended.reason),
                    start=span[0],
                    end=span[1],
                    spoof=touches_spoof(facts, segments, *span),
                )
            )
            left = [s for s in left if not intersect(union([(s.start, s.end)]), (span,))]
    for s in left:
        kind = None
        if s.state is SegmentState.DISPUTED:
            kind = ReviewKind.DISPUTED
        elif s.state is SegmentState.PENDING and s.reason is VoidReason.SYSTEM_ERROR:
            kind = ReviewKind.SERVICE_FAULT
        if kind is not None:
            found.append(
                Question(
                    kind=kind,
                    cause=str(s.reason),
                    start=s.start,
                    end=s.end,
                    spoof=touches_spoof(facts, segments, s.start, s.end),
                )
            )
    return tuple(found)


def _tail(segments: Sequence[Segment]) -> list[Segment]:
    """Give the segments at the end that do not count."""
    last = max((n for n, s in enumerate(segments) if s.evidence is not None), default=-1)
    return list(segments[last + 1 :])


def touches_spoof(facts: Sequence[Fact], segments: Sequence[Segment], start: int, end: int) -> bool:
    """Tell whether granting an interval would overturn a spoof decision."""
    return any(_found_spoof(fact, start, end) for fact in facts) or any(
        s.reason is VoidReason.SPOOF and s.start < end and start < s.end for s in segments
    )


def _found_spoof(fact: Fact, start: int, end: int) -> bool:
    if isinstance(fact, Check):
        return fact.outcome is Outcome.SPOOF and fact.since < end and start <= fact.t
    if isinstance(fact, Suspended):
        return fact.reason is PauseReason.SPOOF and start <= fact.t <= end
    return False


_STRUCK = frozenset({PauseReason.MISMATCH, PauseReason.SPOOF, PauseReason.NO_EVIDENCE})
_ANOTHER = "Have another reviewer look at it, with a key of his own."


def _decided(review: Review) -> Conflict:
    return Conflict(
        f"The review {review.id} is decided ({review.ruling}); decisions are not reopened.",
        remedy="The learner may appeal within the term, once.",
    )
