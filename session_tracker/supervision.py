"""Who may answer for a learner, and when: the rules of the route without a face. Pure.

A session that was opened without a camera has no other evidence than the word of staff, and they
may give it afterwards, too. In a session with a camera staff may take over from now on; about what
has passed there the camera has spoken, and only a review or an appeal decides otherwise.
"""

from __future__ import annotations

from typing import Final

from session_tracker.events import Supervised, Upheld
from session_tracker.live import Live
from session_tracker.machine import LIVE_STATES, State
from verifier.errors import BadRequest, Conflict, Refused

MOST_AHEAD_MS: Final = 60 * 60_000
"""Staff answer for a learner so long ahead, then again: our choice."""


def answered_for(live: Live, state: State, start: int, end: int, *, now: int) -> Supervised:
    """Give the fact that staff answer for the learner from `start` to `end` (UTC ms).

    `state` is where the session stands at `now`. A clock of theirs that is a little fast or slow
    means the present, and the hour from now.

    Raises BadRequest where the interval is empty, begins in the future, ends too far ahead or lies
    outside of the session; Conflict where the session with a camera has ended; Refused where it is
    not for staff to decide.
    """
    runs = state in LIVE_STATES
    skew, latest = live.policy.clock.client_skew_s * 1_000, now + MOST_AHEAD_MS
    if runs and abs(start - now) <= skew:
        start = now
    if latest < end <= latest + skew:
        end = latest
    if start > now:
        raise BadRequest(
            "Nobody saw yet what lies in the future.",
            remedy=f"Confirm from now on ({now} UTC ms), for as long as you stay.",
        )
    if end > latest:
        raise BadRequest(
            f"Nobody answers for more than {MOST_AHEAD_MS // 60_000} minutes ahead.",
            remedy="Confirm again when that time has come.",
        )
    closed = live.record.closed_ms
    if live.record.without_camera:
        _require_not_too_late(live, now)
    elif not runs:
        raise Conflict("A session with a camera that has ended is not supervised.", remedy=_ASK)
    elif start < now:
        raise Refused(
            "What has passed in front of the camera is not for staff to say.", remedy=_ASK
        )
    if not live.record.opened_ms <= start < end or (closed is not None and end > closed):
        raise BadRequest(
            f"The interval {start}-{end} does not lie within the session.",
            remedy=f"It lasted from {live.record.opened_ms} to {closed or 'now'} (UTC ms).",
        )
    if any(isinstance(f, Upheld) and f.t < end and start < f.end for f in live.facts.values()):
        raise Refused("A reviewer has found that this time does not count.", remedy=_ASK)
    return Supervised(key=f"supervised:{start}-{end}", t=start, end=end)


_ASK: Final = "Have it reviewed: the learner appeals (POST /v1/me/appeals), and reviewers decide."


def _require_not_too_late(live: Live, now: int) -> None:
    closed = live.record.closed_ms
    if closed is not None and now > live.policy.appeal_until(closed):
        raise Refused(
            "The term in which staff may answer for this session is over.",
            remedy="It is as long as the one for appeals.",
        )
