"""Sets of instants: sorted, disjoint, half-open intervals of whole milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

K = TypeVar("K")

Interval: TypeAlias = tuple[int, int]
"""(start, end) in milliseconds, start included, end not; empty where end <= start."""
Intervals: TypeAlias = tuple[Interval, ...]
"""Sorted, disjoint, neither empty nor touching."""


def union(intervals: Iterable[Interval]) -> Intervals:
    """Join all instants of any of them; touching ones become one. Order does not matter."""
    merged: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[0] < i[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def intersect(first: Intervals, second: Intervals) -> Intervals:
    """Keep the instants of both."""
    common: list[Interval] = []
    i = j = 0
    while i < len(first) and j < len(second):
        start = max(first[i][0], second[j][0])
        end = min(first[i][1], second[j][1])
        if start < end:
            common.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def subtract(first: Intervals, second: Intervals) -> Intervals:
    """Keep the instants of the first that are not in the second."""
    left: list[Interval] = []
    j = 0
    for start, end in first:
        begin = start
        while j < len(second) and second[j][1] <= begin:
            j += 1
        k = j
        while k < len(second) and second[k][0] < end:
            if begin < second[k][0]:
                left.append((begin, second[k][0]))
            begin = second[k][1]
            k += 1
        if begin < end:
            left.append((begin, end))
    return tuple(left)


def total_ms(intervals: Iterable[Interval]) -> int:
    """Add up how long they are, in milliseconds; give it disjoint ones."""
    return sum(end - start for start, end in intervals)


def whole_seconds(parts_ms: Mapping[K, int]) -> dict[K, int]:
    """Round parts of a whole to seconds that add up to the whole's, in the order given.

    The first one is rounded down. What has less than a second in it may have none.
    """
    passed, whole = 0, {}
    for part, ms in parts_ms.items():
        whole[part] = (passed + ms) // 1_000 - passed // 1_000
        passed += ms
    return whole
