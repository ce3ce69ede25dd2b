"""What the player played, as far as its reports can be believed.

Between two reports of a running player the medium is taken to move at the speed of the server's
clock, along a line from the report that began it. Each further report is held against that line:

- at most `slack_s` off: the line goes on, so that the jitter of reports moves nothing;
- ahead by more: the medium went faster than the clock, or jumped; the time back to the report
  before is void, and over `jump_s` it is an anomaly;
- behind by more: it stalled; only as much time as the medium moved was played;
- before the report that came earlier: it was wound back; the time between the two is void.

The furthest position so reached, over all sessions of a learner, is the medium's high-water
mark. What begins beyond it by more than `slack_s` was skipped to and is void until the player
comes back. Whether the time was credited plays no part in it: void time may be earned again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from session_tracker.events import (
    Closed,
    Fact,
    Paused,
    PauseReason,
    Playback,
    Resumed,
    Suspended,
    VoidReason,
)
from session_tracker.intervals import Interval
from session_tracker.policy import Policy

VOID_WHILE_PAUSED = {
    PauseReason.START_CHECK: VoidReason.NOT_PLAYING,
    PauseReason.ABSENT: VoidReason.ABSENT,
    PauseReason.NO_EVIDENCE: VoidReason.NO_EVIDENCE,
    PauseReason.MISMATCH: VoidReason.MISMATCH,
    PauseReason.SPOOF: VoidReason.SPOOF,
    PauseReason.NETWORK_GAP: VoidReason.NETWORK_GAP,
    PauseReason.IDLE: VoidReason.IDLE,
    PauseReason.LEARNER: VoidReason.NOT_PLAYING,
    PauseReason.SYSTEM_ERROR: VoidReason.SYSTEM_ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Time in which one medium moved at the speed of the clock, or the reason why it did not."""

    start: int
    end: int
    media_id: str
    media_ms: int
    """Position at `start`."""
    void: VoidReason | None = None
    """None: played."""
    reach_ms: int = 0
    """How far the high-water mark may move by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """An anomaly: the medium was `by_ms` further than it could be."""

    t: int
    media_id: str
    by_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the player of one session did; `stretches` are disjoint and sorted."""

    stretches: tuple[Stretch, ...]
    jumps: tuple[Jump, ...]


def played(sessions: Mapping[str, Iterable[Playback]], policy: Policy) -> dict[str, Played]:
    """Follow the players of all sessions of one learner; reports in any order, without repeats."""
    jumps: dict[str, list[Jump]] = {name: [] for name in sessions}
    raw: list[tuple[int, str, Stretch]] = []
    for name, reports in sessions.items():
        ordered = sorted(reports, key=lambda r: (r.t, r.key))
        raw += ((s.start, name, s) for s in _follow(ordered, policy, jumps[name]))
    kept: dict[str, list[Stretch]] = {name: [] for name in sessions}
    slack = policy.playback.slack_s * 1_000
    high: dict[str, int] = {}
    for _, name, s in sorted(raw, key=lambda r: r[:2]):
        mark = high.get(s.media_id, 0)
        if s.media_ms > mark + slack and s.void is not VoidReason.NOT_PLAYING:
            by = s.media_ms - mark
            fresh = not kept[name] or kept[name][-1].void is not VoidReason.MEDIA_TOO_FAST
            if fresh and by > policy.playback.jump_s * 1_000:
                jumps[name].append(Jump(t=s.start, media_id=s.media_id, by_ms=by))
            kept[name].append(replace(s, void=VoidReason.MEDIA_TOO_FAST))
            continue
        high[s.media_id] = max(mark, s.reach_ms)
        kept[name].append(s)
    return {
        name: Played(stretches=tuple(_joined(kept[name])), jumps=tuple(jumps[name]))
        for name in sessions
    }


def _follow(reports: Sequence[Playback], policy: Policy, jumps: list[Jump]) -> Iterable[Stretch]:
    """Hold each report of one session against the line of those before it."""
    slack = policy.playback.slack_s * 1_000
    lost = policy.lease.expiry_s * 1_000
    line: tuple[int, int] | None = None
    for r, after in pairwise(reports):
        if line is None or not r.playing:
            line = (r.t, r.media_ms)
        at = line[1] + r.t - line[0]
        span = Stretch(start=r.t, end=after.t, media_id=r.media_id, media_ms=at)
        ahead = after.media_ms - (at + after.t - r.t)
        unknown = after.media_id != r.media_id or after.t - r.t > lost
        if not r.playing or unknown:
            # Nobody can say when it played: not credited, though what it can have played is known.
            went_on = r.playing and after.media_id == r.media_id and ahead <= slack
            reach = after.media_ms if went_on else 0
            yield replace(span, void=VoidReason.NOT_PLAYING, reach_ms=reach)
            line = None
            continue
        if ahead > policy.playback.jump_s * 1_000:
            jumps.append(Jump(t=after.t, media_id=after.media_id, by_ms=ahead))
        if ahead > slack:
            reach = at + after.t - r.t + slack
            yield replace(span, void=VoidReason.MEDIA_TOO_FAST, reach_ms=reach)
        elif after.media_ms < r.media_ms - slack:
            yield replace(span, void=VoidReason.MEDIA_TOO_FAST)
        elif ahead < -slack:
            moved = max(0, after.media_ms - at)
            yield replace(span, end=r.t + moved, reach_ms=at + moved)
            yield replace(span, start=r.t + moved, media_ms=at + moved, void=VoidReason.NOT_PLAYING)
        else:
            yield replace(span, reach_ms=at + after.t - r.t)
            continue
        line = None


def _joined(stretches: Iterable[Stretch]) -> Iterable[Stretch]:
    """Join what goes on along one line; drop what is empty."""
    last: Stretch | None = None
    for s in stretches:
        if s.start >= s.end:
            continue
        if last is not None and _goes_on(last, s):
            last = replace(last, end=s.end)
            continue
        if last is not None:
            yield last
        last = s
    if last is not None:
        yield last


def _goes_on(last: Stretch, s: Stretch) -> bool:
    return (
        s.start == last.end
        and s.void is last.void
        and s.media_id == last.media_id
        and (s.void is not None or s.media_ms == last.media_ms + s.start - last.start)
    )


def standing(facts: Iterable[Fact], wall: Interval) -> tuple[tuple[int, int, VoidReason], ...]:
    """List when and why the tracker had the player stand still, also before the first `Resumed`."""
    turns = sorted(
        (f for f in facts if isinstance(f, Resumed | Paused | Suspended | Closed)),
        key=lambda f: (f.t, not isinstance(f, Resumed), f.key),
    )
    still: list[tuple[int, int, VoidReason]] = []
    since: int | None = wall[0]
    reason = VoidReason.NOT_PLAYING
    for f in turns:
        if isinstance(f, Resumed):
            if since is not None and since < f.t:
                still.append((since, f.t, reason))
            since = None
        elif since is None:
            since = f.t
            if isinstance(f, Closed):
                reason = VoidReason.NOT_PLAYING
            else:
                reason = VOID_WHILE_PAUSED[f.reason]
        if isinstance(f, Suspended | Closed):
            break
    if since is not None and since < wall[1]:
        still.append((since, wall[1], reason))
    return tuple((max(s, wall[0]), min(e, wall[1]), why) for s, e, why in still if s < wall[1])
