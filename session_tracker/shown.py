"""What a learner's device is shown of credit: of a session that runs, nothing of the last minutes.

A pass credits the time since the one before, at once: whoever sees that happen knows when he was
looked at, and how long it is until he must be looked at again. What lies further back than the
longest bracket is decided, whatever is still on its way; it is shown as time passes, second by
second. Of a session that has ended everything is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from session_tracker.credit import CreditedInterval, EvidenceType, LearnerCredit, SessionCredit
from session_tracker.policy import Policy

DECIDED_MS: Final = 10_000
"""A check that was asked for in time is decided so soon."""
FRESH_MS: Final = 20_000
"""So long what was derived will do: what has come since is not shown yet."""


def late_ms(policy: Policy) -> int:
    """Give how late what a session that runs was credited is shown, in ms."""
    return policy.brackets.max_gap_s * 1_000 + DECIDED_MS + FRESH_MS


def horizon(end: int, policy: Policy) -> int:
    """Give the instant (UTC ms) before which a session that runs at `end` is shown."""
    return end - late_ms(policy)


def credited(session: SessionCredit, policy: Policy) -> tuple[CreditedInterval, ...]:
    """Give what is shown of a session's credited time."""
    return session.credited if session.closed else _before(session.credited, session.end, policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is shown of a whole course."""

    credited_s: int
    provisional_s: int
    """The part of it that waits for the enrolment to be confirmed."""


def course(credit: LearnerCredit, policy: Policy) -> Course:
    """Add up what is shown, rounded down once per local day as the credit itself is."""
    whole, confirmed = Counter[date](), Counter[date]()
    for session in credit.sessions:
        intervals = credited(session, policy)
        whole += _days(intervals, policy)
        sure = (i for i in intervals if not (session.provisional and _by_face(i)))
        confirmed += _days(sure, policy)
    credited_s = _seconds(whole)
    return Course(credited_s=credited_s, provisional_s=credited_s - _seconds(confirmed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Credit as derived at one moment, for a device that asks again before it changes."""

    days: Mapping[date, int]
    """Of all other sessions: milliseconds by local day."""
    own: tuple[CreditedInterval, ...]
    """Of this session, shown or not yet."""
    closed: bool

    def at(self, now: int, policy: Policy) -> tuple[int, int]:
        """Give whole seconds of the session and of the course, as shown at `now` (UTC ms)."""
        own = self.own if self.closed else _before(self.own, now, policy)
        session_s = sum(i.end - i.start for i in own) // 1_000
        return session_s, _seconds(Counter(self.days) + _days(own, policy))


def growing(session_id: str, credit: LearnerCredit, policy: Policy) -> Growing:
    """Take from derived credit what one session's device is shown from now on."""
    days = Counter[date]()
    own: tuple[CreditedInterval, ...] = ()
    closed = False
    for session in credit.sessions:
        if session.session_id == session_id:
            own, closed = session.credited, session.closed
        else:
            days += _days(credited(session, policy), policy)
    return Growing(days=days, own=own, closed=closed)


def _before(
    intervals: Iterable[CreditedInterval], now: int, policy: Policy
) -> tuple[CreditedInterval, ...]:
    until = horizon(now, policy)
    return tuple(replace(i, end=min(i.end, until)) for i in intervals if i.start < until)


def _by_face(interval: CreditedInterval) -> bool:
    return interval.evidence is EvidenceType.FACE


def _days(intervals: Iterable[CreditedInterval], policy: Policy) -> Counter[date]:
    """Add up milliseconds by local day; no credited interval reaches over midnight."""
    days = Counter[date]()
    for i in intervals:
        day = datetime.fromtimestamp(i.start / 1_000, UTC).astimezone(policy.zone).date()
        days[day] += i.end - i.start
    return days


def _seconds(days: Mapping[date, int]) -> int:
    return sum(ms // 1_000 for ms in days.values())
