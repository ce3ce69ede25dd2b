"""Accuracy kept: rates and the paired interval, on vectors made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy import Photograph
from benchmarks.kept import Side, compare


def photographs(persons: int, each: int) -> list[Photograph]:
    """Name so many photographs of so many persons."""
    return [
        Photograph(name=f"{p}-{n}", person=str(p), data=b"")
        for p in range(persons)
        for n in range(each)
    ]


def side(album: list[Photograph], noise: float, seed: int = 1) -> Side:
    """Embed each person in a direction of his own, with noise."""
    rng = np.random.default_rng(seed)
    centres = {p.person: rng.normal(size=64) for p in album}
    vectors = {}
    for one in album:
        vector = centres[one.person] + noise * rng.normal(size=64)
        vectors[one.name] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return Side(vectors=vectors, failed=0)


def test_equal_sides_differ_by_nothing() -> None:
    """The same vectors on both sides: no difference, and an interval of none."""
    album = photographs(12, 4)
    one = side(album, 0.8)
    names = frozenset(p.name for p in album)
    threshold, fnmr, difference, interval, persons, genuine, impostor = compare(
        album, names, one, one
    )
    assert threshold[0] == threshold[1]
    assert fnmr[0] == fnmr[1]
    assert (difference, interval) == (0.0, (0.0, 0.0))
    assert (persons, genuine, impostor) == (12, 12 * 6, 48 * 47 // 2 - 72)


def test_a_worse_side_is_told_by_how_much() -> None:
    """More noise on one side: more false non-matches, and an interval that leaves zero out."""
    album = photographs(12, 4)
    names = frozenset(p.name for p in album)
    _, fnmr, difference, interval, *_ = compare(album, names, side(album, 1.6), side(album, 0.5))
    assert fnmr[0] > fnmr[1]
    assert difference == pytest.approx(100 * (fnmr[0] - fnmr[1]))
    assert 0 < interval[0] <= difference <= interval[1]
