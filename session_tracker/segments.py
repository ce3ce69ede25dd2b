"""A session's time cut into segments: where each stands, why, and the facts that say so.

``pending → credited | void(reason) | disputed → granted | upheld``: a state is derived from the
facts like everything else, and facts are only ever added. What a reviewer may still decide about
is ``disputed``: a mismatch that a check confirmed while the player ran, and whatever a review or
an appeal asks about (`Disputed`). Time lost by a fault of the service is ``pending`` until a
reviewer has decided; so is credit under an enrolment that nobody has confirmed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from session_tracker.brackets import FAILED
from session_tracker.credit import EvidenceType, SessionCredit
from session_tracker.events import (
    Check,
    Closed,
    Disputed,
    Fact,
    Granted,
    Identity,
    Looking,
    Opened,
    Outcome,
    Paused,
    Playback,
    Presence,
    Resumed,
    Supervised,
    Suspended,
    SystemFault,
    Upheld,
    VoidReason,
)
from session_tracker.intervals import Interval, Intervals, intersect, subtract, union

_MOST_KEYS: Final = 64
"""Of a longer list the first and the last are named."""


class SegmentState(StrEnum):
    """Where a segment stands; it only ever moves on from left to right (see above)."""

    PENDING = "pending"
    CREDITED = "credited"
    VOID = "void"
    DISPUTED = "disputed"
    GRANTED = "granted"
    UPHELD = "upheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Time of one session with one fate: [start, end) in UTC ms."""

    start: int
    end: int
    state: SegmentState
    reason: VoidReason | None
    """Why it is not credited, or not yet for good; None where it is."""
    evidence: EvidenceType | None
    """What credit rests on; None where there is none."""
    keys: tuple[str, ...] = ()
    """Facts of the session that say so, in order of time."""


def segments_of(credit: SessionCredit, facts: Iterable[Fact]) -> tuple[Segment, ...]:
    """Cut a session into segments, without rest and in order of time."""
    known = _Known(facts)
    confirmed = known.confirmed_mismatches()
    cut: list[Segment] = []
    for c in credit.credited:
        state = SegmentState.CREDITED
        reason = None
        if c.evidence is EvidenceType.GRANTED:
            state = SegmentState.GRANTED
        elif credit.provisional and c.evidence is EvidenceType.FACE:
            state, reason = SegmentState.PENDING, VoidReason.PROVISIONAL
        cut.append(
            Segment(start=c.start, end=c.end, state=state, reason=reason, evidence=c.evidence)
        )
    for v in credit.void:
        cut += _of_void(credit, (v.start, v.end), v.reason, confirmed)
    return tuple(known.with_keys(s) for s in _joined(sorted(cut, key=lambda s: s.start)))


def _of_void(
    credit: SessionCredit, span: Interval, reason: VoidReason, confirmed: Intervals
) -> Iterable[Segment]:
    """Tell the fates of time that is not credited apart."""
    left = union([span])
    for state, where in _fates(credit, span, reason, confirmed):
        for start, end in intersect(left, where):
            yield Segment(start=start, end=end, state=state, reason=reason, evidence=None)
        left = subtract(left, where)


def _fates(
    credit: SessionCredit, span: Interval, reason: VoidReason, confirmed: Intervals
) -> Iterable[tuple[SegmentState, Intervals]]:
    """Name the states of a void interval and where they hold, the furthest first."""
    everywhere = union([span])
    yield SegmentState.UPHELD, credit.upheld
    if reason is VoidReason.PENDING or reason is VoidReason.SYSTEM_ERROR:
        yield SegmentState.PENDING, intersect(credit.pending, everywhere)
    # What a grant did not credit, because it was not played or counted before, stays void.
    yield SegmentState.VOID, credit.granted
    yield SegmentState.DISPUTED, credit.disputed
    if reason is VoidReason.MISMATCH and intersect(confirmed, ((span[0], span[1] + 1),)):
        yield SegmentState.DISPUTED, credit.played
    yield SegmentState.VOID, everywhere


def _joined(cut: Iterable[Segment]) -> Iterable[Segment]:
    last: Segment | None = None
    for s in cut:
        if last is not None and _alike(last, s):
            last = replace(last, end=s.end)
            continue
        if last is not None:
            yield last
        last = s
    if last is not None:
        yield last


def _alike(a: Segment, b: Segment) -> bool:
    return (a.end, a.state, a.reason, a.evidence) == (b.start, b.state, b.reason, b.evidence)


_STOPS: Final = (Paused, Resumed, Suspended, Closed)
_SPEAKS_FOR: Final[Mapping[VoidReason, tuple[type, ...]]] = {
    VoidReason.BEFORE_FIRST_PASS: (Opened, Identity, Check),
    VoidReason.AFTER_LAST_PASS: (Identity, Check, Closed),
    VoidReason.PENDING: (Identity, Check),
    VoidReason.MAX_GAP: (Identity, Check),
    VoidReason.TRACK_BREAK: (Presence, Identity, Check),
    VoidReason.MISMATCH: (Identity, Check, *_STOPS),
    VoidReason.SPOOF: (Identity, Check, *_STOPS),
    VoidReason.UNANSWERED: (Identity, Check, *_STOPS),
    VoidReason.NO_EVIDENCE: (Identity, Check, *_STOPS),
    VoidReason.ABSENT: (Presence, *_STOPS),
    VoidReason.NETWORK_GAP: (Presence, *_STOPS),
    VoidReason.SYSTEM_ERROR: (SystemFault, *_STOPS),
    VoidReason.NOT_PLAYING: (Playback, Opened, *_STOPS),
    VoidReason.IDLE: (Playback, *_STOPS),
    VoidReason.LOOKING_AWAY: (Looking, *_STOPS),
    VoidReason.MEDIA_REPEATED: (Playback,),
    VoidReason.MEDIA_TOO_FAST: (Playback,),
    VoidReason.PARALLEL_SESSION: (Resumed, Closed),
    VoidReason.DAILY_CAP: (Identity, Check),
    VoidReason.PROVISIONAL: (Identity, Check),
    VoidReason.ENROLMENT_REFUSED: (Opened,),
}
"""Kinds of facts that explain a reason; decisions of people always do."""
_FOR_CREDIT: Final[Mapping[EvidenceType, tuple[type, ...]]] = {
    EvidenceType.FACE: (Identity, Check),
    EvidenceType.SUPERVISED: (Supervised,),
    EvidenceType.GRANTED: (Granted,),
}
_DECISIONS: Final = (Granted, Disputed, Upheld)


class _Known:
    """A session's facts, sorted once."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: Sequence[Fact] = sorted(facts, key=lambda f: (f.t, f.key))
        self._instants = [f.t for f in self._facts]
        self._long = [f for f in self._facts if _begin(f) < f.t or _end(f) > f.t]

    def confirmed_mismatches(self) -> Intervals:
        """Tell the windows of checks that found somebody else."""
        return union(
            (min(f.since, f.t), f.t + 1)
            for f in self._facts
            if isinstance(f, Check) and f.outcome is Outcome.MISMATCH
        )

    def with_keys(self, segment: Segment) -> Segment:
        """Name the facts that explain a segment."""
        low = bisect_left(self._instants, segment.start)
        high = bisect_right(self._instants, segment.end)
        near = {f.key: f for f in self._facts[low:high]}
        for f in self._long:
            if _begin(f) <= segment.end and _end(f) >= segment.start:
                near[f.key] = f
        speaks = [f.key for f in sorted(near.values(), key=_order) if _explains(f, segment)]
        if len(speaks) > _MOST_KEYS:
            speaks = [*speaks[: _MOST_KEYS // 2], *speaks[-_MOST_KEYS // 2 :]]
        return replace(segment, keys=tuple(speaks))


def _order(fact: Fact) -> tuple[int, str]:
    return fact.t, fact.key


def _begin(fact: Fact) -> int:
    return min(fact.since, fact.t) if isinstance(fact, Check) else fact.t


def _end(fact: Fact) -> int:
    if isinstance(fact, Presence | SystemFault | Granted | Disputed | Upheld | Supervised):
        return max(fact.end, fact.t)
    return fact.t


def _explains(fact: Fact, segment: Segment) -> bool:
    if segment.evidence is not None and segment.evidence is not EvidenceType.GRANTED:
        kinds = _FOR_CREDIT[segment.evidence]
        return isinstance(fact, kinds) and getattr(fact, "outcome", Outcome.PASS) is Outcome.PASS
    if isinstance(fact, _DECISIONS):
        return True
    if segment.reason is None or not isinstance(fact, _SPEAKS_FOR[segment.reason]):
        return False
    if segment.reason in FAILED.values() and isinstance(fact, Identity | Check):
        return fact.outcome is not Outcome.PASS
    return True
