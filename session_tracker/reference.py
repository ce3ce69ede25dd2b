"""The credit rules once more, by brute force: the small model that the tracker is held against.

Written from the credit model, not from :mod:`session_tracker.credit`: no intervals, no sorting of
brackets, no sharing out. For one instant after the other it asks in plain loops whether the
instant counts. It is slow and meant to be read; tests drive the whole tracker beside it
(``tests/acceptance/test_whole_tracker.py``). Instants are UTC ms; whoever asks takes the middle of
each second, so that the few milliseconds by which the tracker orders its own facts do not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

from session_tracker.policy import Policy

FAILED: Final = frozenset({"mismatch", "spoof", "unanswered"})
BREAKING: Final = frozenset(
    {"absent", "no_evidence", "mismatch", "spoof", "network_gap", "system_error", "challenge"}
)
SHOWN: Final = "challenge_shown"
"""The player stands still because a challenge is shown."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that arrived; track 0: no face."""

    t: int
    track: int


@dataclass(frozen=True, slots=True)
class Look:
    """An identity sample (`since` is None), or a check or challenge over frames from `since` on."""

    t: int
    track: int
    outcome: str
    since: int | None = None
    before: int = 0
    """Of a challenge: the frame just before it was shown, where that was the learner, too."""

    @property
    def counts_at(self) -> int:
        """A pass is an instant: of a check the oldest frame."""
        return self.t if self.since is None else self.since


@dataclass(frozen=True, slots=True)
class Said:
    """What the player said."""

    t: int
    medium: str
    position: int
    playing: bool


@dataclass(slots=True)
class Seen:
    """One session as somebody who stands beside it sees it."""

    name: str
    opened: int
    closed: int | None = None
    frames: list[Frame] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    turns: list[tuple[int, str]] = field(default_factory=list)
    """(instant, ``run``, `SHOWN` or the reason of a stop), in order."""
    faults: list[tuple[int, int]] = field(default_factory=list)
    answered_for: list[tuple[int, int]] = field(default_factory=list)
    """Intervals that reviewers granted."""
    supervised: list[tuple[int, int]] = field(default_factory=list)
    """Intervals in which staff answered for the learner..."""
    upheld: list[tuple[int, int]] = field(default_factory=list)
    """...which count but where a reviewer found otherwise."""

    @property
    def begun(self) -> int | None:
        """When the player was let go first."""
        return next((t for t, what in self.turns if what == "run"), None)

    def end(self, now: int) -> int:
        """When it ended, or now."""
        return now if self.closed is None else self.closed


@dataclass(slots=True)
class Counted:
    """What counts of all sessions of a learner."""

    instants: set[tuple[str, int]] = field(default_factory=set)
    """(session, middle of a second)."""
    days: Counter[date] = field(default_factory=Counter)


def count(sessions: Sequence[Seen], policy: Policy, *, now: int) -> Counted:
    """Go through all seconds of all sessions, in order of time."""
    found = Counted()
    used: set[tuple[str, int]] = set()
    player = _played(sessions, policy)
    instants = sorted({m for s in sessions for m in middles(s, now)})
    for m in instants:
        for s in sessions:
            place = _place(player[s.name], m)
            if place is None or not s.opened <= m < s.end(now):
                continue
            if _holder(sessions, m, now) is not s or not _runs(s, m):
                continue
            if not (_answered_for(s, m) or verified(s, m, policy)):
                continue
            second = (place[0], place[1] // 1_000)
            day = datetime.fromtimestamp(m / 1_000, UTC).astimezone(policy.zone).date()
            if second in used or found.days[day] >= policy.daily_cap_s:
                continue
            used.add(second)
            found.days[day] += 1
            found.instants.add((s.name, m))
    return found


def middles(s: Seen, now: int) -> Iterator[int]:
    """Name the middle of every second of a session."""
    return iter(range(s.opened // 1_000 * 1_000 + 500, s.end(now), 1_000))


def _holder(sessions: Sequence[Seen], m: int, now: int) -> Seen | None:
    """Of several sessions the one that was begun last has the instant."""
    there = [s for s in sessions if s.opened <= m < s.end(now)]
    running = [s for s in there if s.begun is not None and s.begun <= m]
    if running:
        return max(running, key=lambda s: (s.begun or 0, s.name))
    return there[0] if len(there) == 1 else None


def _answered_for(s: Seen, m: int) -> bool:
    if any(a <= m < b for a, b in s.answered_for):
        return True
    sat_by = any(a <= m < b for a, b in s.supervised)
    return sat_by and not any(a <= m < b for a, b in s.upheld)


# --- the face ------------------------------------------------------------------------------------


def verified(s: Seen, m: int, policy: Policy) -> bool:
    """Tell whether an instant lies between two passes with nothing against it."""
    windows = [(k.counts_at, k.t) for k in s.looks if k.since is not None and k.outcome in FAILED]
    passes = [
        k
        for k in _instants(s)
        if k.outcome == "pass" and not any(a <= k.counts_at <= b for a, b in windows)
    ]
    before = [k for k in passes if k.counts_at <= m]
    after = [k for k in passes if k.counts_at > m]
    if not before or not after:
        return False
    a = max(before, key=lambda k: (k.counts_at, k.track))
    first = min(k.counts_at for k in after)
    b = max((k for k in after if k.counts_at == first), key=lambda k: k.track)
    start, end = a.counts_at, b.counts_at
    if end - start > policy.brackets.max_gap_s * 1_000:
        return False
    if any(since <= end and t > start for since, t in windows):
        return False
    return not (
        _suspected(s, start, end, windows, policy)
        or _stopped(s, start, end)
        or _absent(s, start, end, policy)
        or _blind(s, start, end, policy)
        or _gap(s, start, end, policy)
        or _strange_track(s, a, b)
    )


def _instants(s: Seen) -> Iterator[Look]:
    """List looks; of a challenge that was passed the frame just before it is one more."""
    for k in s.looks:
        yield k
        if k.before and k.outcome == "pass":
            yield Look(k.before, k.track, k.outcome)


def _suspected(
    s: Seen, start: int, end: int, windows: Sequence[tuple[int, int]], policy: Policy
) -> bool:
    """Tell of a failed sample that no check on its track, from it on, cleared in time."""
    limit = policy.brackets.suspicion_s * 1_000
    for sample in s.looks:
        if sample.since is not None or sample.outcome not in FAILED:
            continue
        if not start < sample.t <= end:
            continue
        if not any(
            k.outcome == "pass"
            and k.since is not None
            and k.track == sample.track
            and k.since >= sample.t
            and k.t <= sample.t + limit
            and not any(a <= k.t <= b for a, b in windows)
            for k in s.looks
        ):
            return True
    return False


def _stopped(s: Seen, start: int, end: int) -> bool:
    """Tell whether the service failed, or the tracker stopped the player for what it saw.

    A challenge is a cue: whoever passes it says nothing of the time before it was shown.
    """
    if any(a <= end and b > start for a, b in s.faults):
        return True
    return any(start < t <= end and (what in BREAKING or what == SHOWN) for t, what in s.turns)


def _absent(s: Seen, start: int, end: int, policy: Policy) -> bool:
    """Frames arrived and showed no face for too long."""
    since: int | None = None
    last: Frame | None = None
    for f in s.frames:
        broken = last is not None and f.t - last.t > policy.sampling.gap_s * 1_000
        if f.track:
            since = None
        elif since is None or broken:
            since = f.t
        if (
            since is not None
            and f.t - since >= policy.brackets.absent_s * 1_000
            and since <= end
            and _run_end(s, f, policy) >= start
        ):
            return True
        last = f
    return False


def _run_end(s: Seen, frame: Frame, policy: Policy) -> int:
    """Give the last frame that belongs together with this one."""
    end = frame.t
    for f in s.frames:
        if f.t <= end:
            continue
        if f.track != frame.track or f.t - end > policy.sampling.gap_s * 1_000:
            return end
        end = f.t
    return end


def _blind(s: Seen, start: int, end: int, policy: Policy) -> bool:
    """Something was not to be seen, and no pass followed in time."""
    limit = policy.brackets.no_evidence_s * 1_000
    first = min((k.t for k in s.looks if k.outcome == "no_evidence" and k.t > start), default=end)
    return first < end and end - first > limit


def _gap(s: Seen, start: int, end: int, policy: Policy) -> bool:
    """Frames were missing: too long, or the first one after it was no pass."""
    begins, tolerated = policy.sampling.gap_s * 1_000, policy.network.tolerated_s * 1_000
    times = [start, *(f.t for f in s.frames if start < f.t < end), end]
    return any(b - a > tolerated or (b - a > begins and b < end) for a, b in pairwise(times))


def _strange_track(s: Seen, a: Look, b: Look) -> bool:
    """Somebody was there who had no pass of his own."""
    if b.track - a.track not in (0, 1):
        return True
    seen = [f.track for f in s.frames if a.counts_at < f.t < b.counts_at]
    seen += [k.track for k in s.looks if k.outcome in FAILED and a.counts_at < k.t < b.counts_at]
    return any(track and not a.track <= track <= b.track for track in seen)


# --- people --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Case:
    """A question to people about an interval of a session, and what they have said so far."""

    session: str
    start: int
    end: int
    appeal: bool
    needed: int
    """So many have to grant it."""
    said: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    """By person: what he grants; None: it stays as it is."""

    @property
    def decided(self) -> bool:
        """One who upholds decides, and as many as are needed who grant."""
        return None in self.said.values() or len(self.said) >= self.needed

    @property
    def granted(self) -> tuple[int, int] | None:
        """What all of them grant."""
        if not self.decided or None in self.said.values():
            return None
        spans = [span for span in self.said.values() if span is not None]
        return max(a for a, _ in spans), min(b for _, b in spans)


def may_say(case: Case, person: str, span: tuple[int, int] | None, others: Sequence[Case]) -> bool:
    """Tell whether somebody may say this: nobody twice, nor of an appeal against what he said."""
    if case.decided or person in case.said:
        return False
    if case.appeal and any(
        person in other.said
        and other.session == case.session
        and other.start < case.end
        and case.start < other.end
        for other in others
        if other is not case
    ):
        return False
    if span is None:
        return True
    if not case.start <= span[0] < span[1] <= case.end:
        return False
    spans = [*(s for s in case.said.values() if s is not None), span]
    agreed = max(a for a, _ in spans) < min(b for _, b in spans)
    return agreed or len(spans) < case.needed


# --- the player ----------------------------------------------------------------------------------


def _runs(s: Seen, m: int) -> bool:
    """Tell whether the tracker let the player run at an instant."""
    what = None
    for t, turn in s.turns:
        if t <= m:
            what = turn
    return what == "run"


@dataclass(frozen=True, slots=True)
class _Span:
    """From one report to the next."""

    t: int
    end: int
    medium: str
    position: int
    """At `t`, on the line that the player follows."""
    moves_ms: int
    """For so long the medium moved at the speed of the clock; 0 where nothing is believed."""
    plays: bool
    reach: int
    """As far as it can have come."""


def _spans(s: Seen, policy: Policy) -> Iterator[_Span]:
    """Hold each report against the line of those before it."""
    slack = policy.playback.slack_s * 1_000
    anchor: tuple[int, int] | None = None
    for r, n in pairwise(s.said):
        if anchor is None or not r.playing:
            anchor = (r.t, r.position)
        took = n.t - r.t
        here = anchor[1] + r.t - anchor[0]
        there = here + took
        same = n.medium == r.medium
        moves, plays, reach, on_line = took, True, there, False
        if not r.playing or not same or took > policy.lease.expiry_s * 1_000:
            moves, plays = 0, False
            # It may have played: as far as the clock allows from where it was known to be.
            lost = not same or took > policy.lease.expiry_s * 1_000
            may = same and (r.playing or (n.playing and not lost)) and n.position <= there + slack
            reach = n.position if may else 0
        elif n.position > there + slack:
            moves, reach = 0, there + slack
        elif n.position < r.position - slack:
            moves, reach = 0, 0
        elif n.position < there - slack:
            moves = max(0, n.position - here)
            reach = here + moves
        else:
            on_line = True
        yield _Span(r.t, n.t, r.medium, here, moves, plays, reach)
        if not on_line:
            anchor = None


def _played(sessions: Sequence[Seen], policy: Policy) -> dict[str, list[_Span]]:
    """Keep the spans that do not begin beyond what was reached before by more than the slack."""
    slack = policy.playback.slack_s * 1_000
    reached: Counter[str] = Counter()
    kept: dict[str, list[_Span]] = {s.name: [] for s in sessions}
    every = [(span.t, s.name, span) for s in sessions for span in _spans(s, policy)]
    for _, name, span in sorted(every, key=lambda e: e[:2]):
        if span.position > reached[span.medium] + slack:
            continue
        reached[span.medium] = max(reached[span.medium], span.reach)
        kept[name].append(span)
    return kept


def _place(spans: Sequence[_Span], m: int) -> tuple[str, int] | None:
    """Tell what was played at an instant: (medium, position)."""
    for span in spans:
        if span.t <= m < span.t + span.moves_ms:
            return span.medium, span.position + m - span.t
    return None
