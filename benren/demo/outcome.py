"""What came of a lesson, and whether it is what the script demands: pure functions.

Times are seconds of the lesson as floats; spans are (start, end), half open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from benren.demo.cast import LESSON_S, Expectation, Role

Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One identity sample, check or challenge."""

    at_s: float
    kind: str
    """`identity`, `check` or `challenge`."""
    outcome: str
    """`pass`, or why not."""
    cause: str = ""
    """Why a check was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidSpan:
    """A stretch that was not credited."""

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture of what the camera saw."""

    at_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One learner's lesson, as the tracker tells it."""

    role: Role
    learner_id: str
    sessions: tuple[str, ...]
    """Ids; more than one where the learner had to open another."""
    watched_s: int
    """Seconds for which the player ran."""
    credited: tuple[Span, ...]
    void: tuple[VoidSpan, ...]
    marks: tuple[Mark, ...]
    state: str
    """Of the session, at the end."""
    challenged: tuple[Span, ...] = ()
    """When the lesson stood still because a challenge was shown."""
    thumbnails: tuple[Thumbnail, ...] = ()
    frames_sent: int = 0
    frames_refused: Mapping[str, int] = field(default_factory=dict)
    """Error code -> how many frames the verifier did not take."""

    @property
    def credited_s(self) -> int:
        """Whole credited seconds."""
        return int(total(self.credited) + 1e-6)

    @property
    def void_s(self) -> dict[str, int]:
        """Reason -> seconds, rounded, the longest first."""
        sums: dict[str, float] = {}
        for span in self.void:
            sums[span.reason] = sums.get(span.reason, 0.0) + span.end_s - span.start_s
        ordered = sorted(sums.items(), key=lambda item: -item[1])
        return {reason: round(seconds) for reason, seconds in ordered if round(seconds)}

    @property
    def checks(self) -> dict[str, int]:
        """Decision -> how many identity samples and checks came to it."""
        counts: dict[str, int] = {}
        for mark in self.marks:
            decision = "match" if mark.outcome == PASS else mark.outcome
            counts[decision] = counts.get(decision, 0) + 1
        return counts

    @property
    def passes(self) -> tuple[float, ...]:
        """When a pass was recorded, in order, each instant once."""
        return tuple(sorted({mark.at_s for mark in self.marks if mark.outcome == PASS}))

    def as_json(self) -> dict[str, object]:
        """Shape the line of `benren demo --json`."""
        return {
            "learner": self.learner_id,
            "role": self.role.key,
            "watched_s": self.watched_s,
            "credited_s": self.credited_s,
            "void": self.void_s,
            "checks": self.checks,
        }


PASS = "pass"  # noqa: S105 - the outcome of a check


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One demand of the script, and whether it holds."""

    demand: str
    found: str
    holds: bool


def total(spans: Iterable[Span]) -> float:
    """Sum of the lengths of disjoint spans, in seconds."""
    return sum(end - start for start, end in spans)


def overlap(first: Sequence[Span], second: Sequence[Span]) -> tuple[Span, ...]:
    """Give what lies in both of two lists of disjoint spans."""
    cuts = (
        (max(a_start, b_start), min(a_end, b_end))
        for a_start, a_end in first
        for b_start, b_end in second
    )
    return tuple(sorted((start, end) for start, end in cuts if end > start))


def without(spans: Sequence[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """Give what of disjoint spans lies in none of `others`."""
    left = [*spans]
    for start, end in others:
        left = [
            piece
            for a, b in left
            for piece in ((a, min(b, start)), (max(a, end), b))
            if piece[0] < piece[1]
        ]
    return tuple(left)


def judge(outcome: Outcome) -> Finding:
    """Compare the credit with who sat there when."""
    match outcome.role.expectation:
        case Expectation.NOTHING:
            return Finding(
                demand="not one second credited",
                found=f"{outcome.credited_s} s credited",
                holds=outcome.credited_s == 0 and not outcome.credited,
            )
        case Expectation.FULL:
            return _full(outcome)
        case Expectation.OWN_ONLY:
            return _own_only(outcome)


_SHARE = 0.95
"""Of the learner's own seconds: the demand of the issue that built the demo."""


def _full(outcome: Outcome) -> Finding:
    """Outside the first and the last bracket: those can always be cut short.

    While a challenge is shown the lesson stands still: there is nothing to be credited then.
    """
    demand = "at least 95 % of his seconds outside the first and the last bracket"
    passes = outcome.passes
    if len(passes) < 4:
        return Finding(demand=demand, found="fewer than four recognitions", holds=False)
    own = without(overlap(outcome.role.present(), [(passes[1], passes[-2])]), outcome.challenged)
    if not own:
        return Finding(demand=demand, found="none but challenges", holds=False)
    share = total(overlap(own, outcome.credited)) / total(own)
    # A single bracket in the middle would satisfy the ratio and prove nothing.
    wide = total(own) >= 0.6 * total(outcome.role.present())
    found = f"{share:.1%} of {total(own):.0f} s"
    return Finding(demand=demand, found=found, holds=share >= _SHARE and wide)


def _own_only(outcome: Outcome) -> Finding:
    """Credited seconds in which the learner was away may touch one bracket at most.

    And the learner himself earned something: else the demand would hold for a dead system.
    """
    stolen = overlap(outcome.role.away(), outcome.credited)
    brackets = [
        bracket for bracket in pairwise(outcome.passes) if total(overlap(stolen, [bracket])) > 0
    ]
    inside = total(stolen) - total(overlap(stolen, brackets)) < 1e-6
    own = overlap(outcome.role.present(), outcome.credited)
    return Finding(
        demand="none of the other seconds beyond one bracket, and credit for his own",
        found=f"{total(stolen):.0f} s of the others, {total(own):.0f} s of his own",
        holds=inside and len(brackets) <= 1 and total(own) > 0,
    )


def lesson_axis() -> tuple[int, ...]:
    """Give the minute marks of a lesson's time axis, in seconds."""
    return tuple(range(0, LESSON_S + 1, 60))
