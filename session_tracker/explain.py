"""A session's timeline, second by second as runs, with one reason for each that does not count.

The same timeline has two readers. Staff see every span with the facts behind it. The learner sees
the spans and the reasons, and of the facts only those that happened in front of him (the player,
pauses, decisions of people): when samples and checks took place is nobody's business, so that
nothing can be learnt from it. Of a session that still runs, the last stretch is told to him as
pending however it stands: where a span ends would tell when he was looked at last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from session_tracker.credit import SessionCredit
from session_tracker.events import (
    Closed,
    Disputed,
    Fact,
    Granted,
    Opened,
    Paused,
    Playback,
    Resumed,
    Supervised,
    Suspended,
    SystemFault,
    Upheld,
    VoidReason,
)
from session_tracker.intervals import whole_seconds
from session_tracker.policy import Policy
from session_tracker.segments import Segment, SegmentState, segments_of
from session_tracker.shown import horizon

_BEFORE_HIS_EYES: Final = (
    Opened,
    Playback,
    Paused,
    Resumed,
    Suspended,
    Closed,
    SystemFault,
    Supervised,
    Granted,
    Disputed,
    Upheld,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every instant of a session has one place in `spans`; times in UTC ms."""

    session_id: str
    start: int
    end: int
    closed: bool
    spans: tuple[Segment, ...]

    @property
    def credited_s(self) -> int:
        """Whole seconds that count, those that wait for the enrolment to be confirmed too."""
        counted = (s.end - s.start for s in self.spans if s.evidence is not None)
        return sum(counted) // 1_000

    @property
    def seconds(self) -> Mapping[str, int]:
        """Whole seconds by state and reason (``void:idle``); they add up to the session's."""
        by_fate: Counter[str] = Counter()
        for s in self.spans:
            by_fate[fate_of(s)] += s.end - s.start
        order = sorted(by_fate, key=lambda fate: (not _counts(fate), fate))
        whole = whole_seconds({fate: by_fate[fate] for fate in order})
        return {fate: s for fate, s in whole.items() if s}

    def in_seconds(self) -> tuple[int, dict[str, int]]:
        """Whole seconds that count, and the others by reason; they add up to the session's."""
        counted, void = 0, Counter[str]()
        for s in self.spans:
            if s.evidence is not None:
                counted += s.end - s.start
            elif s.reason is not None:
                void[str(s.reason)] += s.end - s.start
        whole = whole_seconds({"": counted, **dict(sorted(void.items()))})
        return whole.pop(""), {reason: s for reason, s in whole.items() if s}

    def at(self, t: int) -> Segment:
        """Give the span that an instant lies in. Raises LookupError outside of the session."""
        for span in self.spans:
            if span.start <= t < span.end:
                return span
        raise LookupError(f"{t} is not within the session")


def fate_of(span: Segment) -> str:
    """Name a state with its reason, if it has one."""
    return str(span.state) if span.reason is None else f"{span.state}:{span.reason}"


def _counts(fate: str) -> bool:
    return fate in ("credited", "granted", "pending:provisional")


def explain(credit: SessionCredit, facts: Iterable[Fact]) -> Explanation:
    """Explain a session to staff."""
    return Explanation(
        session_id=credit.session_id,
        start=credit.start,
        end=credit.end,
        closed=credit.closed,
        spans=segments_of(credit, facts),
    )


def for_learner(told: Explanation, facts: Iterable[Fact], policy: Policy) -> Explanation:
    """Take out of an explanation what a learner's device must not know."""
    seen = {f.key for f in facts if isinstance(f, _BEFORE_HIS_EYES)}
    spans: Iterable[Segment] = (
        replace(s, keys=tuple(key for key in s.keys if key in seen)) for s in told.spans
    )
    if not told.closed:
        spans = _blurred(spans, told, horizon(told.end, policy))
    return replace(told, spans=tuple(spans))


def _blurred(spans: Iterable[Segment], told: Explanation, horizon: int) -> Iterable[Segment]:
    """Tell what happened after `horizon` as pending."""
    begin = max(told.start, horizon)
    for s in spans:
        if s.start < begin:
            yield replace(s, end=min(s.end, begin))
    if begin < told.end:
        yield Segment(
            start=begin,
            end=told.end,
            state=SegmentState.PENDING,
            reason=VoidReason.PENDING,
            evidence=None,
        )
