"""The bootstrap over persons: draw persons, not pairs, and see how the error rates move.

Pairs that share a person stand and fall together, so resampling pairs would make intervals far too
narrow. Here each replicate draws as many persons as there are, with replacement; a pair of two
persons counts as often as the product of their draws (the subset bootstrap of Bolle, Ratha and
Pankanti, CVIU 2004, for both sides of a pair).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.metrics import GRID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Draws = NDArray[np.uint16]

REPLICATES: Final = 1_000
"""Percentile intervals of 95 % need about so many (Efron and Tibshirani 1993, 13.3)."""

Step = Callable[[int], None]
"""Told how many units of work were done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Scores with their persons, added up where persons and grid point are the same."""

    persons: tuple[NDArray[np.int32], ...]
    """One (n,) array of person numbers for genuine scores, two for impostor scores."""
    places: NDArray[np.int32]
    """(n,): grid index of the score."""
    weights: Floats
    """(n,): share of the person's, or of the two persons', scores: those of one sum to 1."""
    lowest: int
    """Below this grid index nothing was kept: rates there cannot be resampled."""
    every_pair: bool = True
    """Of impostor scores: whether every two persons were compared, or only listed ones."""

    def from_index(self, index: int) -> Entries:
        """Keep what reaches a grid index: less to resample where only high thresholds matter."""
        if not self.every_pair:
            return self
        lowest = max(index, self.lowest)
        kept = self.places >= lowest
        return Entries(
            persons=tuple(part[kept] for part in self.persons),
            places=self.places[kept],
            weights=self.weights[kept],
            lowest=lowest,
        )


def draw_persons(count: int, replicates: int, rng: np.random.Generator) -> Draws:
    """Draw `count` persons `replicates` times: (replicates, count), how often each was drawn."""
    drawn = np.zeros((replicates, count), dtype=np.uint16)
    for number in range(replicates):
        drawn[number] = np.bincount(rng.integers(0, count, count), minlength=count)
    return drawn


def fmr_replicates(entries: Entries, draws: Draws, step: Step | None = None) -> Floats:
    """Give the FMR of each replicate at each grid point from `entries.lowest` on: (R, points).

    `draws` (R, P) must cover exactly the persons who have a comparison. A replicate that drew no
    two of them is NaN.
    """
    first, second = entries.persons
    rates = np.empty((len(draws), len(GRID) - entries.lowest))
    for number, drawn in enumerate(draws.astype(np.float64)):
        pairs = (drawn.sum() ** 2 - (drawn**2).sum()) / 2
        reached = _from_above(entries, entries.weights * drawn[first] * drawn[second])
        if not entries.every_pair:
            pairs = reached[0]
        rates[number] = reached / pairs if pairs > 0 else np.nan
        if step is not None:
            step(1)
    return rates


def fnmr_replicates(entries: Entries, draws: Draws, step: Step | None = None) -> Floats:
    """Give the FNMR of each replicate at each grid point: (R, 2001).

    `draws` (R, P) covers all persons; those without a genuine pair have no part in the rate. A
    replicate that drew none of the others is NaN.
    """
    (person,) = entries.persons
    taking_part = np.zeros(draws.shape[1])
    np.add.at(taking_part, person, entries.weights)
    taking_part = np.rint(taking_part)
    rates = np.empty((len(draws), len(GRID)))
    for number, drawn in enumerate(draws.astype(np.float64)):
        heard = float(drawn @ taking_part)
        reached = _from_above(entries, entries.weights * drawn[person])
        rates[number] = 1 - reached / heard if heard else np.nan
        if step is not None:
            step(1)
    return rates


def share_replicates(errors: NDArray[np.bool_], units: NDArray[np.intp], draws: Draws) -> Floats:
    """Give the share of errors (n,) of each replicate, (R,), when units (n,) are drawn.

    A unit is a person, or whatever else brought several presentations. NaN where nothing was drawn.
    """
    total = np.bincount(units, minlength=draws.shape[1]).astype(np.float64)
    wrong = np.bincount(units, weights=errors.astype(np.float64), minlength=draws.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray((draws @ wrong) / (draws @ total), dtype=np.float64)


def _from_above(entries: Entries, weights: Floats) -> Floats:
    """Add up weights at or above each grid point from `lowest` on."""
    size = len(GRID) - entries.lowest
    sums = np.bincount(entries.places - entries.lowest, weights=weights, minlength=size)
    return np.asarray(sums[::-1].cumsum()[::-1], dtype=np.float64)
