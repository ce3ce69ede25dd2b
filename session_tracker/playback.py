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
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from session_tracker.events import (
    Challenged,
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
from session_tracker.lost_challenges import lost_challenges
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
    PauseReason.CHALLENGE: VoidReason.UNANSWERED,
    PauseReason.LOOKING_AWAY: VoidReason.LOOKING_AWAY,
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


_Piece: TypeAlias = tuple[int, int, str, int, VoidReason | None, int]
"""A `Stretch` on its way, field by field (thousands, most of them joined), and how far the
high-water mark may move by it."""


def played(
    sessions: Mapping[str, Iterable[Playback]], policy: Policy, high: dict[str, int] | None = None
) -> dict[str, Played]:
    """Follow the players of all sessions of one learner; reports in any order, without repeats.

    `high` are the high-water marks of media from sessions that lie before all of these; they are
    moved on.
    """
    jumps: dict[str, list[Jump]] = {name: [] for name in sessions}
    raw: list[tuple[int, str, _Piece]] = []
    for name, reports in sessions.items():
        ordered = sorted(reports, key=lambda r: (r.t, r.key))
        raw += [(p[0], name, p) for p in _follow(ordered, policy, jumps[name])]
    raw.sort(key=lambda r: r[:2])
    kept: dict[str, list[_Piece]] = {name: [] for name in sessions}
    slack = policy.playback.slack_s * 1_000
    high = {} if high is None else high
    for _, name, p in raw:
        start, end, media_id, media_ms, void, reach_ms = p
        mark = high.get(media_id, 0)
        if media_ms > mark + slack and void is not VoidReason.NOT_PLAYING:
            by = media_ms - mark
            fresh = not kept[name] or kept[name][-1][4] is not VoidReason.MEDIA_TOO_FAST
            if fresh and by > policy.playback.jump_s * 1_000:
                jumps[name].append(Jump(t=start, media_id=media_id, by_ms=by))
            skipped = VoidReason.MEDIA_TOO_FAST
            kept[name].append((start, end, media_id, media_ms, skipped, reach_ms))
            continue
        # While it stood still it may have been moved anywhere: that is no way to get further.
        if reach_ms > mark and media_ms <= mark + slack:
            high[media_id] = reach_ms
        kept[name].append(p)
    return {
        name: Played(stretches=tuple(_joined(kept[name])), jumps=tuple(jumps[name]))
        for name in sessions
    }


def _follow(reports: Sequence[Playback], policy: Policy, jumps: list[Jump]) -> Iterable[_Piece]:
    """Hold each report of one session against the line of those before it."""
    slack = policy.playback.slack_s * 1_000
    lost = policy.lease.expiry_s * 1_000
    line: tuple[int, int] | None = None
    for r, after in pairwise(reports):
        if line is None or not r.playing:
            line = (r.t, r.media_ms)
        medium, span = r.media_id, after.t - r.t
        at = line[1] + r.t - line[0]
        ahead = after.media_ms - (at + span)
        unknown = after.media_id != medium or span > lost
        if not r.playing or unknown:
            # Nobody can say when it played: not credited, though what it can have played is known.
            # It may have begun since: a lost report that said so is not to void the rest.
            ran = r.playing or (after.playing and not unknown)
            went_on = ran and after.media_id == medium and ahead <= slack
            reach = after.media_ms if went_on else 0
            yield r.t, after.t, medium, at, VoidReason.NOT_PLAYING, reach
            line = None
            continue
        if ahead > policy.playback.jump_s * 1_000:
            jumps.append(Jump(t=after.t, media_id=medium, by_ms=ahead))
        if ahead > slack:
            reach = at + span + slack
            yield r.t, after.t, medium, at, VoidReason.MEDIA_TOO_FAST, reach
        elif after.media_ms < r.media_ms - slack:
            yield r.t, after.t, medium, at, VoidReason.MEDIA_TOO_FAST, 0
        elif ahead < -slack:
            moved = max(0, after.media_ms - at)
            yield r.t, r.t + moved, medium, at, None, at + moved
            yield r.t + moved, after.t, medium, at + moved, VoidReason.NOT_PLAYING, 0
        else:
            yield r.t, after.t, medium, at, None, at + span
            continue
        line = None


def _joined(pieces: Iterable[_Piece]) -> Iterable[Stretch]:
    """Join what goes on along one line; drop what is empty."""
    last: _Piece | None = None
    end = 0
    for p in pieces:
        if p[0] >= p[1]:
            continue
        if last is not None and p[0] == end and _goes_on(last, p):
            end = p[1]
            continue
        if last is not None:
            yield _stretch(last, end)
        last, end = p, p[1]
    if last is not None:
        yield _stretch(last, end)


def _goes_on(last: _Piece, p: _Piece) -> bool:
    return (
        p[4] is last[4]
        and p[2] == last[2]
        and (p[4] is not None or p[3] == last[3] + p[0] - last[0])
    )


def _stretch(p: _Piece, end: int) -> Stretch:
    return Stretch(start=p[0], end=end, media_id=p[2], media_ms=p[3], void=p[4])


def standing(facts: Iterable[Fact], wall: Interval) -> tuple[tuple[int, int, VoidReason], ...]:
    """List when and why the tracker had the player stand still, also before the first `Resumed`."""
    known = list(facts)
    lost = lost_challenges(known)
    turns = sorted(
        (f for f in known if isinstance(f, Resumed | Paused | Challenged | Suspended | Closed)),
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
            if isinstance(f, Challenged) and f.t in lost:
                reason = VoidReason.SYSTEM_ERROR
            elif isinstance(f, Closed | Challenged):
                reason = VoidReason.NOT_PLAYING
            else:
                reason = VOID_WHILE_PAUSED[f.reason]
        if isinstance(f, Suspended | Closed):
            break
    if since is not None and since < wall[1]:
        still.append((since, wall[1], reason))
    return tuple((max(s, wall[0]), min(e, wall[1]), why) for s, e, why in still if s < wall[1])
