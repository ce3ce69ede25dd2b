"""The bracket rule: which time lies between two passes with nothing against it in between.

A pass is an instant: the sample's own, and of a check the *oldest* frame it judged. (A check is
a median over up to `window_s`: somebody who took the seat during it may be among its newest
frames. Counted at the newest, an impostor who stays two minutes at a time would earn up to 1.8 %
of his seconds, at the oldest below 0.6 %; see ``benchmarks/sessions.py``.) Time from a pass A to
the next pass B is verified where B is at most `max_gap_s` later and none of these lies in (A, B]:

- the window of a *failed check*, from the oldest frame it judged, or the sample that called it,
  to its newest. Passes inside such a window are ignored, at its ends too;
- a *suspicion* (failed identity sample) that no check cleared. A check clears it if it passed on
  frames of the sample's own track, none older than the sample, within `suspicion_s`;
- a *challenge*: it is a cue, so a pass of it says nothing about the time before it was shown; the
  frame just before, where that matched, is a pass of its own, from which the player stood still.
  One that a fault of ours ended, unanswered, is a fault of ours and held against nobody;
- a *system fault*, or a *pause* that the tracker ordered because of what it saw;
- an *absence*: frames arrived and showed no face for `absent_s`;
- a stretch *without evidence*: a sample or check without evidence with no pass for more than
  `no_evidence_s` after it. The learner is told that he cannot be seen only when that time is
  over (`Machine.tell_from`), so that whoever is fetched by being told saves nothing;
- a *network gap* over `tolerated_s`, or a shorter one whose first frame is not B itself;
- a *track* without a pass of its own: B is on A's track or on the very next one.

An added pass only splits brackets into parts with fewer of these in each; an added failure only
adds one of these or takes a pass away: both properties of the credit rest on that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from session_tracker.events import (
    Challenged,
    Check,
    Fact,
    Identity,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    SystemFault,
    VoidReason,
)
from session_tracker.intervals import Interval, Intervals, union
from session_tracker.lost_challenges import lost_challenges
from session_tracker.policy import Policy

Labelled: TypeAlias = tuple[int, int, VoidReason]
"""(start, end, why it is not credited), half-open, UTC ms."""

FAILED = {
    Outcome.MISMATCH: VoidReason.MISMATCH,
    Outcome.SPOOF: VoidReason.SPOOF,
    Outcome.UNANSWERED: VoidReason.UNANSWERED,
}
BREAKING_PAUSES = {
    PauseReason.ABSENT: VoidReason.ABSENT,
    PauseReason.NO_EVIDENCE: VoidReason.NO_EVIDENCE,
    PauseReason.MISMATCH: VoidReason.MISMATCH,
    PauseReason.SPOOF: VoidReason.SPOOF,
    PauseReason.NETWORK_GAP: VoidReason.NETWORK_GAP,
    PauseReason.SYSTEM_ERROR: VoidReason.SYSTEM_ERROR,
    PauseReason.CHALLENGE: VoidReason.UNANSWERED,
}
"""Pauses ordered because of what was seen or missed; the clock goes back to the last pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A session's time by evidence of the face."""

    verified: Intervals
    """Time between passes with nothing against it."""
    unverified: tuple[Labelled, ...]
    """The rest of the session's wall time, each part with its reason."""


@dataclass(frozen=True, slots=True)
class _Pass:
    t: int
    track: int


def verify(facts: Sequence[Fact], policy: Policy, *, wall: Interval, closed: bool) -> Verified:
    """Split the wall time of a session into verified and unverified.

    `facts` are of one session, without repeats, in any order; `closed` tells an open tail
    (`PENDING`) from a final one (`AFTER_LAST_PASS`).
    """
    inside = [f for f in facts if wall[0] <= f.t <= wall[1] and not isinstance(f, Playback)]
    looked = [f for f in inside if isinstance(f, Identity | Check)]
    against = _Against(inside, looked, policy)
    passes = against.surviving(_passes(looked))
    tail = VoidReason.AFTER_LAST_PASS if closed else VoidReason.PENDING
    begun = min((f.t for f in inside if isinstance(f, Resumed)), default=wall[1])
    if not passes:
        reason = against.decisive(wall[0], wall[1]) or VoidReason.BEFORE_FIRST_PASS
        return Verified(verified=(), unverified=_labelled(wall[0], wall[1], reason, begun))
    first, last = passes[0], passes[-1]
    verified: list[Interval] = []
    head = against.decisive(wall[0] - 1, first.t) or VoidReason.BEFORE_FIRST_PASS
    unverified = list(_labelled(wall[0], first.t, head, begun))
    for a, b in pairwise(passes):
        reason_ab = against.between(a, b)
        if reason_ab is None:
            verified.append((a.t, b.t))
        else:
            unverified += _labelled(a.t, b.t, reason_ab, begun)
    unverified += _labelled(last.t, wall[1], against.after(last, wall[1]) or tail, begun)
    return Verified(verified=union(verified), unverified=tuple(unverified))


def _labelled(start: int, end: int, reason: VoidReason, begun: int) -> tuple[Labelled, ...]:
    """Give time its reason; by faults from before the lesson `begun` no study time was lost."""
    if reason is VoidReason.SYSTEM_ERROR and end <= begun:
        reason = VoidReason.NOT_PLAYING
    return ((start, end, reason),) if start < end else ()


def _passes(looked: Iterable[Identity | Check]) -> list[_Pass]:
    """List passes in order of time; of two at one instant, the one on the newer track."""
    newest: dict[int, int] = {}
    for f in looked:
        if f.outcome is Outcome.PASS:
            at = min(f.since, f.t) if isinstance(f, Check) else f.t
            newest[at] = max(f.track, newest.get(at, f.track))
            if isinstance(f, Check) and f.before:
                newest[f.before] = max(f.track, newest.get(f.before, f.track))
    return [_Pass(t, track) for t, track in sorted(newest.items())]


class _Against:
    """Everything that can break a bracket, sorted once."""

    def __init__(
        self, facts: Sequence[Fact], looked: Sequence[Identity | Check], policy: Policy
    ) -> None:
        self._policy = policy
        failed = [f for f in looked if f.outcome in FAILED]
        self._windows = [
            (min(f.since, f.t), f.t, FAILED[f.outcome]) for f in failed if isinstance(f, Check)
        ]
        self._windows.sort()
        clearing = [f for f in looked if isinstance(f, Check) and f.outcome is Outcome.PASS]
        samples = [f for f in failed if isinstance(f, Identity)]
        self._suspicions = sorted(self._uncleared(samples, clearing), key=lambda s: s[0])
        # What a review may credit is the lightest: nobody is paid for a challenge he let go by.
        self._cues = sorted(
            self._unproven(facts), key=lambda cue: (cue[1] is VoidReason.SYSTEM_ERROR, cue[0])
        )
        self._faults = sorted((f.t, max(f.end, f.t)) for f in facts if isinstance(f, SystemFault))
        self._pauses = sorted(
            (f.t, BREAKING_PAUSES[f.reason])
            for f in facts
            if isinstance(f, Paused) and f.reason in BREAKING_PAUSES
        )
        self._blind_at = sorted(f.t for f in looked if f.outcome is Outcome.NO_EVIDENCE)
        self._runs = sorted(
            (f.t, max(f.end, f.t), f.track) for f in facts if isinstance(f, Presence)
        )
        self._run_ends = [end for _, end, _ in self._runs]
        self._silent = not (
            self._windows or self._suspicions or self._cues or self._faults or self._pauses
        )
        self._failed_tracks = sorted((f.t, f.track) for f in failed if f.track)

    def surviving(self, passes: list[_Pass]) -> list[_Pass]:
        """Keep the passes that lie in no window of a failed check."""
        windows = union((since, t + 1) for since, t, _ in self._windows)
        starts = [start for start, _ in windows]
        kept = []
        for p in passes:
            i = bisect_right(starts, p.t) - 1
            if i < 0 or p.t >= windows[i][1]:
                kept.append(p)
        return kept

    def _uncleared(
        self, samples: Iterable[Identity], clearing: Sequence[Check]
    ) -> Iterable[tuple[int, VoidReason]]:
        limit = self._policy.brackets.suspicion_s * 1_000
        failed = [(since, t) for since, t, _ in self._windows]
        for f in samples:
            cleared = any(
                c.track == f.track
                and c.since >= f.t
                and c.t <= f.t + limit
                and not any(since <= c.t <= t for since, t in failed)
                for c in clearing
            )
            if not cleared:
                yield f.t, FAILED[f.outcome]

    def _unproven(self, facts: Sequence[Fact]) -> Iterable[tuple[int, VoidReason]]:
        """List challenges that say nothing for the time before them, and why."""
        answers = {f.asked: f for f in facts if isinstance(f, Check) and f.active}
        lost = lost_challenges(facts)
        for f in facts:
            if not isinstance(f, Challenged):
                continue
            answer = answers.get(f.t)
            if f.t in lost:
                yield f.t, VoidReason.SYSTEM_ERROR
            elif answer is None or answer.outcome is not Outcome.PASS:
                yield f.t, VoidReason.UNANSWERED
            else:
                yield f.t, VoidReason.NOT_PLAYING if answer.before else VoidReason.NO_EVIDENCE

    def between(self, a: _Pass, b: _Pass) -> VoidReason | None:
        """Tell what breaks the bracket from pass `a` to the next pass `b`, if anything."""
        reason = self.decisive(a.t, b.t)
        if reason is not None:
            return reason
        if self._blind(a.t, b.t):
            return VoidReason.NO_EVIDENCE
        if self._gap(a.t, b.t):
            return VoidReason.NETWORK_GAP
        if self._track_without_pass(a, b):
            return VoidReason.TRACK_BREAK
        too_long = b.t - a.t > self._policy.brackets.max_gap_s * 1_000
        return VoidReason.MAX_GAP if too_long else None

    def after(self, last: _Pass, end: int) -> VoidReason | None:
        """Tell what speaks against the tail after the last pass, if anything."""
        reason = self.decisive(last.t, end)
        if reason is not None:
            return reason
        if self._blind(last.t, end):
            return VoidReason.NO_EVIDENCE
        limit = self._policy.network.tolerated_s * 1_000
        seen = max((e for _, e, _ in self._runs if e <= end), default=last.t)
        return VoidReason.NETWORK_GAP if end - max(seen, last.t) > limit else None

    def decisive(self, a: int, b: int) -> VoidReason | None:
        """Tell what in (a, b] says more than that a pass is missing: the weightiest of it."""
        if not self._silent:
            for since, t, reason in self._windows:
                if since <= b and t > a:
                    return reason
            for s, reason in self._suspicions:
                if a < s <= b:
                    return reason
            for c, reason in self._cues:
                if a < c <= b:
                    return reason
            if any(start <= b and end > a for start, end in self._faults):
                return VoidReason.SYSTEM_ERROR
        absent = self._policy.brackets.absent_s * 1_000
        for start, end, track in self._overlapping(a, b):
            if track == 0 and end - start >= absent:
                return VoidReason.ABSENT
        return next((reason for t, reason in self._pauses if a < t <= b), None)

    def _overlapping(self, a: int, b: int) -> Iterable[tuple[int, int, int]]:
        for i in range(bisect_left(self._run_ends, a), len(self._runs)):
            run = self._runs[i]
            if run[0] > b:
                return
            yield run

    def _blind(self, a: int, b: int) -> bool:
        """Whether (a, b] holds a stretch without evidence that is too long."""
        limit = self._policy.brackets.no_evidence_s * 1_000
        i = bisect_right(self._blind_at, a)
        return i < len(self._blind_at) and b - self._blind_at[i] > limit

    def _gap(self, a: int, b: int) -> bool:
        """Whether frames were missing between the passes for longer than is tolerated."""
        begins = self._policy.sampling.gap_s * 1_000
        tolerated = self._policy.network.tolerated_s * 1_000
        cursor = a
        for start, end, _ in self._overlapping(a, b):
            if start - cursor > begins and (start - cursor > tolerated or start < b):
                return True
            cursor = max(cursor, end)
        return b - cursor > tolerated

    def _track_without_pass(self, a: _Pass, b: _Pass) -> bool:
        if b.track - a.track not in (0, 1):
            return True
        for start, end, track in self._overlapping(a.t, b.t):
            if end > a.t and start < b.t and track and not a.track <= track <= b.track:
                return True
        i = bisect_right(self._failed_tracks, (a.t, 1 << 62))
        while i < len(self._failed_tracks) and self._failed_tracks[i][0] < b.t:
            if not a.track <= self._failed_tracks[i][1] <= b.track:
                return True
            i += 1
        return False
