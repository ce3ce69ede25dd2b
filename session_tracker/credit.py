"""Credited hours, derived from the facts of all sessions of one learner, every time anew.

``credit = (union of typed evidence) and playing and media not yet credited, less exclusions``,
clipped to the daily cap. Everything is computed in milliseconds, in order of time, so that each
instant of the learner, of a day and of a medium is given away once. Whole seconds come last:
per learner and local day the credited milliseconds are added up and rounded down once.

Of sessions that overlap, an instant belongs to the one that was begun last (its first `Resumed`):
that holder of the lease is the newest. No pass decides about this, or an added pass could cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from session_tracker.brackets import Labelled, Verified, verify
from session_tracker.events import (
    Closed,
    Disputed,
    Fact,
    Granted,
    Opened,
    Playback,
    Presence,
    Resumed,
    Supervised,
    Upheld,
    VoidReason,
)
from session_tracker.intervals import (
    Interval,
    Intervals,
    intersect,
    subtract,
    total_ms,
    union,
    whole_seconds,
)
from session_tracker.playback import Jump, Played, played, standing
from session_tracker.policy import Policy
from session_tracker.sharing import Shares, Slice
from session_tracker.voids import VoidInterval, partition


class EvidenceType(StrEnum):
    """What a credited interval rests on."""

    FACE = "face"
    SUPERVISED = "supervised"
    GRANTED = "granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What is known of one session; order and repeats of `facts` do not matter."""

    session_id: str
    facts: Sequence[Fact]
    provisional: bool = False
    """Whether the enrolment it was verified against still waits for its confirmation."""
    refused: bool = False
    """Whether staff refused that enrolment: what the face said then says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditedInterval:
    """Credited time: [start, end) in UTC ms, while `media_id` ran from `media_ms` on."""

    start: int
    end: int
    evidence: EvidenceType
    media_id: str
    media_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCredit:
    """One session, split without rest into credited and void intervals, sorted by time."""

    session_id: str
    start: int
    end: int
    """When it was closed, or the `now` it was derived at."""
    closed: bool
    provisional: bool
    """Whether some of its credit rests on nothing but a face that nobody has confirmed."""
    verified: Intervals
    """By face, before playing, media and cap are looked at; credited by face is part of it."""
    credited: tuple[CreditedInterval, ...]
    void: tuple[VoidInterval, ...]
    jumps: tuple[Jump, ...]
    """Anomalies of the player."""
    played: Intervals
    """When the player was let go and its medium moved: what evidence could credit."""
    disputed: Intervals
    """Of what somebody's decision was asked for, by a review or an appeal."""
    upheld: Intervals
    """Where a reviewer found that what is void stays void."""
    granted: Intervals
    """Where a reviewer granted, whether or not it was played."""

    @property
    def wall_ms(self) -> int:
        """How long the session lasted."""
        return self.end - self.start

    @property
    def verified_ms(self) -> int:
        """How long the registered person was seen, by the bracket rule."""
        return total_ms(self.verified)

    @property
    def credited_ms(self) -> int:
        """How much of it counts."""
        return sum(i.end - i.start for i in self.credited)

    @property
    def void_ms(self) -> dict[VoidReason, int]:
        """How much of it does not count, by reason; with `credited_ms` it adds up to `wall_ms`."""
        by_reason: Counter[VoidReason] = Counter()
        for i in self.void:
            by_reason[i.reason] += i.end - i.start
        return {reason: by_reason[reason] for reason in VoidReason if by_reason[reason]}

    @property
    def pending_ms(self) -> int:
        """How much may still be credited: by a pass to come, or by review after a system fault."""
        return total_ms(self.pending)

    @property
    def pending(self) -> Intervals:
        """What may still be credited; what a reviewer has decided about is not pending."""
        tail = union((i.start, i.end) for i in self.void if i.reason is VoidReason.PENDING)
        faults = union((i.start, i.end) for i in self.void if i.reason is VoidReason.SYSTEM_ERROR)
        decided = union((*self.granted, *self.upheld))
        return union((*tail, *subtract(faults, decided)))

    def in_seconds(self) -> tuple[int, dict[VoidReason, int]]:
        """Round credited and void time to whole seconds that add up to the session's, for people.

        Credited is rounded down; the learner's total (`LearnerCredit`) is rounded once per day
        and is the one that counts.
        """
        whole = whole_seconds({None: self.credited_ms, **self.void_ms})
        return whole[None], {r: s for r, s in whole.items() if r is not None and s}


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerCredit:
    """All sessions of a learner, and what they add up to."""

    sessions: tuple[SessionCredit, ...]
    """In the order in which they began."""
    days: Mapping[date, int]
    """Credited whole seconds per local day, provisional ones too; at most the daily cap each."""
    credited_s: int
    """Sum of `days`."""
    provisional_s: int
    """The part of it that waits for the enrolment to be confirmed."""
    pending_ms: int
    reach: Mapping[str, int]
    """How far each medium was played, in ms of it: its high-water mark."""

    @property
    def final(self) -> bool:
        """Whether nothing of it is pending or provisional, as a certificate needs."""
        return self.pending_ms == 0 and not any(s.provisional for s in self.sessions)


@dataclass(frozen=True, slots=True)
class Past:
    """Sessions that are over, derived once, for those that come after all of them."""

    sessions: tuple[SessionCredit, ...]
    end: int
    """UTC ms; no later session begins before."""
    high: Mapping[str, int]
    """How far each medium was played."""
    shares: Shares
    """What of media and days is used up."""


@dataclass(frozen=True, slots=True)
class _Session:
    given: SessionFacts
    facts: tuple[Fact, ...]
    wall: Interval
    begun: int
    """The first `Resumed`, from which on it holds the lease; the end where it never ran."""
    closed: bool

    @property
    def waits(self) -> bool:
        """Whether what the face alone vouches for waits: of a refused one there is nothing."""
        return self.given.provisional and not self.given.refused


def derive(
    sessions: Sequence[SessionFacts], policy: Policy, *, now: int, past: Past | None = None
) -> LearnerCredit:
    """Derive the credit of one learner from all of his sessions, at `now` (UTC ms).

    `past` stands for sessions that are not among `sessions` and were over before these began: the
    outcome is the same as with their facts. A session without an `Opened` has no time of its own
    and comes out empty. Two sessions of one id raise ValueError, and so does one that begins
    before the end of `past`.
    """
    known = _all_known(sessions, now)
    before = past if past is not None else _nothing(policy)
    if {s.session_id for s in before.sessions} & {s.session_id for s in sessions}:
        raise ValueError("a session of the past is given again")
    if any(s.wall[0] < before.end for s in known):
        raise ValueError("a session began before the past was over")
    done, shares, high = _derived(known, policy, before)
    done = [*before.sessions, *done]
    days = {day: ms // 1_000 for day, ms in sorted(shares.days.items()) if ms >= 1_000}
    confirmed = sum(ms // 1_000 for ms in shares.confirmed_days.values())
    return LearnerCredit(
        sessions=tuple(sorted(done, key=lambda s: (s.start, s.session_id))),
        days=MappingProxyType(days),
        credited_s=sum(days.values()),
        provisional_s=sum(days.values()) - confirmed,
        pending_ms=sum(s.pending_ms for s in done),
        reach=MappingProxyType(high),
    )


def past_of(sessions: Sequence[SessionFacts], policy: Policy) -> Past:
    """Derive sessions that are over, for those to come. Raises ValueError where one still runs."""
    known = _all_known(sessions, now=0)
    if not all(s.closed and s.wall[0] for s in known):
        raise ValueError("a session that still runs, or never began, is no past")
    done, shares, high = _derived(known, policy, _nothing(policy))
    end = max((s.wall[1] for s in known), default=0)
    return Past(sessions=tuple(done), end=end, high=MappingProxyType(high), shares=shares)


def _nothing(policy: Policy) -> Past:
    return Past(sessions=(), end=0, high={}, shares=Shares(policy))


def _all_known(sessions: Sequence[SessionFacts], now: int) -> list[_Session]:
    if len({s.session_id for s in sessions}) != len(sessions):
        raise ValueError("two sessions have the same id; give the facts of a session together")
    return sorted((_known(s, now) for s in sessions), key=lambda s: (s.begun, s.given.session_id))


def _derived(
    known: Sequence[_Session], policy: Policy, past: Past
) -> tuple[list[SessionCredit], Shares, dict[str, int]]:
    """Derive sessions in order of their beginning; gives what is used up after them, too."""
    high = dict(past.high)
    by_player = played(
        {s.given.session_id: [f for f in s.facts if isinstance(f, Playback)] for s in known},
        policy,
        high,
    )
    drafts = [_draft(i, known, by_player, policy) for i in range(len(known))]
    shares = past.shares.copy()
    for piece in sorted((p for d in drafts for p in d.slices), key=lambda p: (p.start, p.session)):
        shares.take(piece)
    done = [draft.finish(shares.credited[i], shares.refused[i]) for i, draft in enumerate(drafts)]
    return done, shares, high


def without_repeats(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """One fact per key, sorted by time; of a run that grew, its longest version."""
    kept: dict[str, Fact] = {}
    for fact in facts:
        other = kept.get(fact.key)
        if other is None or (other != fact and _prevails(fact, other)):
            kept[fact.key] = fact
    return tuple(sorted(kept.values(), key=lambda f: (f.t, f.key)))


def _prevails(fact: Fact, other: Fact) -> bool:
    """Choose between versions of one fact the same way in whatever order they came."""
    if isinstance(fact, Presence) and isinstance(other, Presence):
        return (fact.end, fact.samples, repr(fact)) > (other.end, other.samples, repr(other))
    return repr(fact) < repr(other)


def _known(given: SessionFacts, now: int) -> _Session:
    facts = without_repeats(given.facts)
    opened = min((f.t for f in facts if isinstance(f, Opened)), default=now)
    closed = min((f.t for f in facts if isinstance(f, Closed)), default=None)
    end = max(opened, now if closed is None else closed)
    facts = tuple(f for f in facts if opened <= f.t <= end)
    begun = min((f.t for f in facts if isinstance(f, Resumed)), default=end)
    return _Session(given, facts, (opened, end), begun, closed is not None)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A session before media and cap are shared out among all."""

    session: _Session
    seen: Verified
    player: Played
    played: Intervals
    supervised: Intervals
    granted: Intervals
    parallel: Intervals
    still: tuple[Labelled, ...]
    slices: tuple[Slice, ...]

    def finish(self, credited: Sequence[Slice], refused: Sequence[Labelled]) -> SessionCredit:
        """Give every instant that was not credited its one reason."""
        start, end = self.session.wall
        given = union((c.start, c.end) for c in credited)
        typed = tuple(i for c in credited for i in self._typed(c))
        by_face = any(i.evidence is EvidenceType.FACE for i in typed)
        return SessionCredit(
            session_id=self.session.given.session_id,
            start=start,
            end=end,
            closed=self.session.closed,
            provisional=self.session.waits and by_face,
            verified=self.seen.verified,
            credited=typed,
            void=partition(
                subtract(union([self.session.wall]), given),
                self._reasons(refused),
                self.session.wall,
            ),
            jumps=self.player.jumps,
            played=self.played,
            disputed=_clipped(self._all(Disputed), self.session.wall),
            upheld=_clipped(self._all(Upheld), self.session.wall),
            granted=self.granted,
        )

    def _all(self, kind: type[_Span]) -> Iterable[_Span]:
        return (f for f in self.session.facts if isinstance(f, kind))

    def _typed(self, c: Slice) -> Iterable[CreditedInterval]:
        left: Intervals = ((c.start, c.end),)
        pieces: list[tuple[Interval, EvidenceType]] = []
        face = (EvidenceType.FACE, self.seen.verified)
        people = (EvidenceType.SUPERVISED, self.supervised), (EvidenceType.GRANTED, self.granted)
        # What somebody has answered for does not wait for the face to be confirmed.
        for evidence, where in (*people, face) if self.session.waits else (face, *people):
            pieces += ((i, evidence) for i in intersect(left, where))
            left = subtract(left, where)
        for (start, end), evidence in sorted(pieces):
            yield CreditedInterval(
                start=start,
                end=end,
                evidence=evidence,
                media_id=c.media_id,
                media_ms=c.media_ms + start - c.start,
            )

    def _reasons(self, refused: Sequence[Labelled]) -> Iterable[Labelled]:
        """All reasons against any instant, the weightier first."""
        yield from ((s, e, VoidReason.PARALLEL_SESSION) for s, e in self.parallel)
        yield from refused
        weak = {
            VoidReason.BEFORE_FIRST_PASS,
            VoidReason.AFTER_LAST_PASS,
            VoidReason.PENDING,
            VoidReason.MAX_GAP,
        }
        typed = union((*self.supervised, *self.granted))
        unseen = [
            (s, e, why)
            for start, end, why in self.seen.unverified
            for s, e in subtract(((start, end),), typed)
        ]
        yield from (u for u in unseen if u[2] not in weak)
        yield from (u for u in unseen if u[2] is VoidReason.BEFORE_FIRST_PASS)
        yield from self.still
        yield from ((s.start, s.end, s.void) for s in self.player.stretches if s.void is not None)
        # Of the time since the last report nothing is known yet; of a silent player, nothing ever.
        yield from (u for u in unseen if u[2] is VoidReason.PENDING)
        silent = subtract(
            union([self.session.wall]), union((s.start, s.end) for s in self.player.stretches)
        )
        last = VoidReason.NOT_PLAYING if self.session.closed else VoidReason.PENDING
        final = max((s.end for s in self.player.stretches), default=self.session.wall[0])
        yield from ((s, e, last if s >= final else VoidReason.NOT_PLAYING) for s, e in silent)
        yield from unseen


def _draft(
    index: int, known: Sequence[_Session], by_player: Mapping[str, Played], policy: Policy
) -> _Draft:
    session = known[index]
    wall = session.wall
    seen = (
        Verified(verified=(), unverified=((*wall, VoidReason.ENROLMENT_REFUSED),))
        if session.given.refused
        else verify(session.facts, policy, wall=wall, closed=session.closed)
    )
    # Whoever says that he saw the learner overturns no reviewer who found otherwise.
    supervised = subtract(
        _clipped((f for f in session.facts if isinstance(f, Supervised)), wall),
        _clipped((f for f in session.facts if isinstance(f, Upheld)), wall),
    )
    granted = _clipped((f for f in session.facts if isinstance(f, Granted)), wall)
    # Known are sorted by when they were begun: whoever comes later holds the lease.
    later = union((o.begun, o.wall[1]) for o in known[index + 1 :])
    still = standing(session.facts, wall)
    counts = union((*seen.verified, *supervised, *granted))
    counts = subtract(counts, union((*later, *((s, e) for s, e, _ in still))))
    player = by_player[session.given.session_id]
    parts: list[tuple[bool, Intervals]] = [(False, counts)]
    if session.waits:
        sure = union((*supervised, *granted))
        parts = [(False, intersect(counts, sure)), (True, subtract(counts, sure))]
    slices = tuple(
        Slice(start, end, index, s.media_id, s.media_ms + start - s.start, waits)
        for s in player.stretches
        if s.void is None
        for waits, where in parts
        for start, end in intersect(((s.start, s.end),), where)
    )
    parallel = intersect(later, union([wall]))
    moved = union((s.start, s.end) for s in player.stretches if s.void is None)
    at_large = subtract(intersect(moved, union([wall])), union((s, e) for s, e, _ in still))
    return _Draft(session, seen, player, at_large, supervised, granted, parallel, still, slices)


_Span = TypeVar("_Span", Supervised, Granted, Disputed, Upheld)


def _clipped(spans: Iterable[_Span], wall: Interval) -> Intervals:
    return union((max(f.t, wall[0]), min(f.end, wall[1])) for f in spans)
