"""Two systems on the same photographs: rates and the paired interval, on vectors made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.paired import Album, Difference, compare
from verifier.errors import InferenceFailed

SIZE = 64


def album(persons: int, each: int, source: str = "set") -> Album:
    """Name so many photographs of so many persons."""
    return Album(
        person=[f"P{p}" for p in range(persons) for _ in range(each)],
        source=[source] * (persons * each),
    )


def vectors(shown: Album, noise: float, seed: int = 1) -> np.ndarray:
    """Embed each person in a direction of his own, with noise."""
    rng = np.random.default_rng(seed)
    centres = {name: rng.normal(size=SIZE) for name in dict.fromkeys(shown.person)}
    rows = np.stack([centres[name] for name in shown.person])
    rows = rows + noise * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def compared(shown: Album, first: np.ndarray, second: np.ndarray, **more: Any) -> Difference:
    """Compare at an FMR of 1 %, with few replicates."""
    given = {"fmr": 0.01, "replicates": 200, "seed": 3, "margin_pp": 0.5} | more
    return compare(shown, first, second, **given)


def test_rates_by_hand() -> None:
    """Four unit vectors of two persons: the threshold is just above the nearest strangers."""
    shown = album(2, 2)
    first = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.6, 0.8, 0], [0, 1, 0]], dtype=np.float32)
    found = compared(shown, first, first, fmr=1e-4)
    # Strangers reach 0.96, the same person 0.8: both genuine pairs are missed.
    assert found.threshold[0] == pytest.approx(0.96)
    assert found.fnmr == (1.0, 1.0)
    assert (found.persons, found.genuine, found.impostor) == (2, 2, 4)
    loose = compared(shown, first, first, fmr=0.5)
    # Half of the weight may pass: 0.96 and one of 0.6, not the other: 0.8 is above it.
    assert loose.fnmr == (0.0, 0.0)


def test_equal_systems_differ_by_nothing_but_what_so_few_persons_cannot_tell() -> None:
    """Nobody is worse: the interval ends at 3 over the number of persons, not at nothing."""
    shown = album(12, 4)
    one = vectors(shown, 0.8)
    found = compared(shown, one, one)
    assert found.threshold[0] == found.threshold[1]
    assert found.difference_pp == 0.0
    assert (found.worse, found.better) == (0, 0)
    assert found.interval_pp == (0.0, pytest.approx(25.0))
    assert found.needed_persons == 600, "the rule of three for half a point"


def test_a_worse_system_is_told_by_how_much() -> None:
    """More noise on one side: more misses, and an interval that leaves zero out."""
    shown = album(40, 4)
    found = compared(shown, vectors(shown, 1.6), vectors(shown, 0.5))
    assert found.worse > 10
    assert found.difference_pp == pytest.approx(100 * (found.fnmr[0] - found.fnmr[1]))
    assert 0 < found.interval_pp[0] <= found.difference_pp <= found.interval_pp[1]


def test_a_photograph_that_one_system_lost_is_missed_with_all_its_pairs() -> None:
    """A lost one of four takes three of six pairs of its person along."""
    shown = album(12, 4)
    whole = vectors(shown, 0.3)
    lost = whole.copy()
    lost[0] = 0
    found = compared(shown, lost, whole)
    assert found.fnmr[1] == 0.0
    assert found.fnmr[0] == pytest.approx(1 / 24)
    assert (found.worse, found.better) == (1, 0)
    mirrored = compared(shown, whole, lost)
    assert mirrored.difference_pp == pytest.approx(-found.difference_pp)


def test_every_person_weighs_the_same() -> None:
    """Who brings ten photographs, all of which one system lost, is one of three persons."""
    shown = Album(person=["a"] * 10 + ["b"] * 2 + ["c"] * 2, source=["set"] * 14)
    whole = vectors(shown, 0.1)
    lost = whole.copy()
    lost[:10] = 0
    assert compared(shown, lost, whole).fnmr[0] == pytest.approx(1 / 3)


def test_two_sources_make_no_genuine_pair() -> None:
    """The same man in two sources may be the same picture twice; names are read without case."""
    shown = Album(person=["ann", "ANN", "ben", "ben"], source=["one", "two", "one", "one"])
    found = compared(shown, vectors(shown, 0.1), vectors(shown, 0.1))
    assert (found.persons, found.genuine, found.impostor) == (1, 1, 4)
    assert [(one.source, one.persons, one.genuine) for one in found.sources] == [("one", 1, 1)]


def test_the_threshold_is_located_in_every_replicate() -> None:
    """A pair of strangers who look alike moves the threshold of those replicates that hold both.

    One system sees them as strangers as any, the other as twins: at fixed thresholds the interval
    of the difference would come from the genuine pairs alone, and be far narrower.
    """
    shown = album(30, 2)
    plain = vectors(shown, 0.75, seed=5)
    twins = plain.copy()
    twins[2] = twins[0] + 0.1 * twins[2]
    twins[2] /= np.linalg.norm(twins[2])
    found = compared(shown, twins, plain, fmr=1e-4, replicates=400)
    assert found.threshold[0] > 0.9 > found.threshold[1]
    assert found.fnmr[0] > 0.9
    # Replicates without one of the two (more than half of them) see no difference but at one pair.
    assert found.interval_pp[0] < 10
    assert found.interval_pp[1] > 80


def test_nothing_to_compare_is_refused() -> None:
    """No genuine pair, or one person only."""
    for shown in (album(5, 1), album(1, 5)):
        with pytest.raises(InferenceFailed, match="genuine and impostor"):
            compared(shown, vectors(shown, 0.1), vectors(shown, 0.1))
