"""Gives every instant that was not credited its one reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from session_tracker.brackets import Labelled
from session_tracker.events import VoidReason
from session_tracker.intervals import Interval, Intervals, intersect, subtract


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidInterval:
    """Time that is not credited, and why: [start, end) in UTC ms."""

    start: int
    end: int
    reason: VoidReason


def partition(
    left: Intervals, reasons: Iterable[Labelled], wall: Interval
) -> tuple[VoidInterval, ...]:
    """Give each instant of `left` the first reason that covers it, within `wall`.

    Raises AssertionError where an instant has none: the rules have a hole.
    """
    pieces: list[Labelled] = []
    for s, e, why in reasons:
        if not left:
            break
        part: Intervals = ((max(s, wall[0]), min(e, wall[1])),)
        if part[0][0] >= part[0][1]:
            continue
        pieces += ((a, b, why) for a, b in intersect(left, part))
        left = subtract(left, part)
    if left:
        raise AssertionError(f"time without credit and without a reason: {left}")
    joined: list[VoidInterval] = []
    for s, e, why in sorted(pieces):
        if joined and joined[-1].end == s and joined[-1].reason is why:
            joined[-1] = VoidInterval(start=joined[-1].start, end=e, reason=why)
        else:
            joined.append(VoidInterval(start=s, end=e, reason=why))
    return tuple(joined)
