"""Challenges that a fault of ours took away: nobody could answer them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from session_tracker.events import (
    Challenged,
    Check,
    Closed,
    Fact,
    Paused,
    Resumed,
    Suspended,
    SystemFault,
)

_ENDS = (Challenged, Paused, Resumed, Suspended, Closed)
"""What ends a challenge that has no answer, at the latest; a fault ends it at once."""


def lost_challenges(facts: Iterable[Fact]) -> frozenset[int]:
    """Name the challenges (by their instants, UTC ms) that a fault ended before an answer came."""
    known = list(facts)
    faults = [(f.t, max(f.end, f.t)) for f in known if isinstance(f, SystemFault)]
    if not faults:
        return frozenset()
    answered = {f.asked for f in known if isinstance(f, Check) and f.active}
    turns = sorted((f for f in known if isinstance(f, _ENDS)), key=lambda f: (f.t, f.key))
    until = {f.t: after.t for f, after in pairwise(turns) if isinstance(f, Challenged)}
    return frozenset(
        f.t
        for f in turns
        if isinstance(f, Challenged)
        and f.t not in answered
        and any(end >= f.t and t <= until.get(f.t, t) for t, end in faults)
    )
