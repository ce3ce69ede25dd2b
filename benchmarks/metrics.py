"""Error rates by their standard names, with intervals, and what may be claimed of them. Pure numpy.

Matching: ISO/IEC 19795-1 (FMR, FNMR, DET). Presentation attacks: ISO/IEC 30107-3 (APCER, BPCER).
All thresholds lie on one grid of 0.001, so that every rate here is exact, whatever the number of
comparisons: a histogram of the grid is all that is kept of 87 million pairs.

FMR and FNMR are weighted proportions, as ISO/IEC 19795-1 allows where persons bring different
numbers of pictures: *every person weighs the same* in FNMR and every pair of persons in FMR.
Otherwise the one man with 530 pictures would be more than half of all genuine pairs of LFW.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

STEPS: Final = 1_000
"""Steps of the grid per unit: thresholds have three decimals."""
GRID: Final[Floats] = np.arange(-STEPS, STEPS + 1) / STEPS
"""Every threshold that is looked at, -1..1 (2001,). A score belongs to the last one it reaches."""
ZERO: Final = STEPS
"""Index of the threshold 0."""
RULE_OF_THREE: Final = 3.0
"""No error among n independent trials: the rate is below 3 / n at 95 % (Hanley and Lippman-Hand,
JAMA 1983; ISO/IEC 19795-1, annex B)."""
RULE_OF_THIRTY: Final = 30
"""Errors that must be expected for a rate to be known within 30 % (Doddington et al. 2000; ISO/IEC
19795-1, annex B): with fewer, data do not tell where an error rate is reached."""
CONFIDENCE: Final = 0.95
"""Of every interval."""
NORMAL_95: Final = 1.96
"""Standard errors to either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How the weight of some scores lies over the grid."""

    weights: Floats
    """(2001,): share of the weight that belongs to each grid point; sums to 1, or is all 0."""
    counts: Counts
    """(2001,): scores, unweighted."""

    @property
    def count(self) -> int:
        """Number of scores."""
        return int(self.counts.sum())

    @property
    def at_or_above(self) -> Floats:
        """Share of the weight at or above each grid point: FMR, APCER."""
        return np.asarray(np.minimum(self.weights[::-1].cumsum()[::-1], 1.0))

    @property
    def below(self) -> Floats:
        """Share of the weight below each grid point: FNMR, BPCER."""
        return np.asarray(np.minimum(np.concatenate([[0.0], self.weights.cumsum()[:-1]]), 1.0))

    def reaching(self, index: int) -> int:
        """Count the scores at or above a grid point."""
        return int(self.counts[index:].sum())


def grid_index(threshold: float) -> int:
    """Give the index of a threshold of at most three decimals. Raises ValueError off the grid."""
    index = round((threshold + 1) * STEPS)
    if not 0 <= index < len(GRID) or abs(GRID[index] - threshold) > 1e-9:
        raise ValueError(f"{threshold} is not a threshold of three decimals in -1..1")
    return index


def place(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give the grid index of each score: the last threshold that it reaches (score >= threshold).

    Values beyond -1..1, which rounding makes of cosines, belong to the ends.
    """
    values = np.asarray(scores)
    grid = _GRID_32 if values.dtype == np.float32 else GRID
    # The nearest grid point is the one sought or the next above it: four times as fast as a search.
    nearest = np.rint(np.clip(values, -1, 1) * values.dtype.type(STEPS)).astype(np.intp) + ZERO
    return np.asarray(np.maximum(nearest - (values < grid[nearest]), 0), dtype=np.intp)


def _first_float32(values: Floats) -> NDArray[np.float32]:
    """Give the least float32 that is not below each value: comparing with it loses nothing."""
    near = values.astype(np.float32)
    above = np.nextafter(near, np.float32(np.inf))
    return np.where(near.astype(np.float64) < values, above, near).astype(np.float32)


_GRID_32: Final = _first_float32(GRID)


def curve(scores: NDArray[np.floating], weights: Floats | None = None) -> Curve:
    """Make the curve of scores (n,), each with weight 1 or its own (n,). NaN is refused."""
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("a score is not a number")
    places = place(values)
    counts = np.bincount(places, minlength=len(GRID)).astype(np.int64)
    if weights is None:
        return from_histogram(counts.astype(np.float64), counts)
    sums = np.bincount(places, weights=weights, minlength=len(GRID)).astype(np.float64)
    return from_histogram(sums, counts)


def from_histogram(weights: Floats, counts: Counts) -> Curve:
    """Make a curve of weights (2001,) of any sum and counts (2001,)."""
    total = float(weights.sum())
    return Curve(weights=weights / total if total > 0 else weights, counts=counts)


def lowest_with_fmr(impostor: Curve, target: float) -> float:
    """Give the lowest threshold at which the FMR is at most `target`; 1 where none is."""
    fits = np.flatnonzero(impostor.at_or_above <= target)
    return float(GRID[fits[0]]) if fits.size else 1.0


def highest_with_miss(genuine: Curve, target: float) -> float:
    """Give the highest threshold below which lies at most `target` of the weight (BPCER, FNMR)."""
    return float(GRID[np.flatnonzero(genuine.below <= target)[-1]])


def equal_error(impostor: Curve, genuine: Curve) -> tuple[float, float]:
    """Give the threshold where FMR and FNMR lie nearest to each other, and their mean there."""
    fmr, fnmr = impostor.at_or_above, genuine.below
    index = int(np.argmin(np.abs(fmr - fnmr)))
    return float(GRID[index]), float((fmr[index] + fnmr[index]) / 2)


def det_points(impostor: Curve, genuine: Curve) -> list[tuple[float, float, float]]:
    """List threshold, FMR and FNMR wherever one of them changes: the whole DET curve."""
    fmr, fnmr = impostor.at_or_above, genuine.below
    changed = np.flatnonzero((np.diff(fmr) != 0) | (np.diff(fnmr) != 0)) + 1
    indices = np.unique(np.concatenate([[0], changed, [len(GRID) - 1]]))
    return [(float(GRID[i]), float(fmr[i]), float(fnmr[i])) for i in indices]


def bpcer_at_apcer(
    bona_fide: Curve, attacks: Sequence[Curve], apcer: float
) -> tuple[float, float] | None:
    """Give BPCER at the lowest threshold with a worst-type APCER of at most `apcer`, and that.

    None where nothing was presented on one of the two sides.
    """
    heard = [one for one in attacks if one.count]
    if not heard or not bona_fide.count:
        return None
    worst = np.max([one.at_or_above for one in heard], axis=0)
    fits = np.flatnonzero(worst <= apcer)
    if not fits.size:
        return 1.0, 1.0
    return float(bona_fide.below[fits[0]]), float(GRID[fits[0]])


# --- What the data can carry ---------------------------------------------------------------


def independent_comparisons(persons: int) -> int:
    """Count comparisons of which no two share a person: half as many as there are persons.

    All n(n-1)/2 pairs of n persons are *not* independent: one person who resembles many makes
    many errors. If a share q of all people are such, the FMR is about 2q, and n persons without
    one of them bound q by 3/n, so the FMR by 3/(n/2): what this count gives.
    """
    return persons // 2


def least_claim(independent: int) -> float:
    """Give the smallest rate that so many independent trials can carry: 3 / n, at most 1."""
    return min(RULE_OF_THREE / independent, 1.0) if independent > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What may be said of an error rate, beside what was measured."""

    measured: float
    interval: Interval | None
    """By the bootstrap over persons; None where the rate lies beyond what was resampled, and the
    claim stands on the error among `independent` trials instead."""
    independent: int
    """Trials that no person shares."""
    least: float
    """The rule of three: nothing below can be claimed."""
    claimed: float
    """The upper end of the interval or `least`, whichever is larger, rounded up to two digits."""

    @property
    def bound_by_persons(self) -> bool:
        """Whether the number of persons, not the errors seen, sets the claim."""
        return self.claimed <= round_up(self.least)

    def carries(self, target: float) -> bool:
        """Whether the data carry the claim that the rate is at most `target`."""
        return self.claimed <= target


def claim(measured: float, interval: Interval | None, independent: int) -> Claim:
    """Bound what may be claimed of a rate. Never below 3/n, never below what was measured.

    Without an interval the upper end is that of a binomial proportion among independent trials (by
    the normal approximation): wider than a bootstrap's, which knows how little errors cluster.
    """
    least = least_claim(independent)
    if interval is not None:
        high = max(measured, interval.high)
    elif independent > 0:
        high = measured + NORMAL_95 * math.sqrt(measured * (1 - measured) / independent)
    else:
        high = 1.0
    return Claim(
        measured=measured,
        interval=interval,
        independent=independent,
        least=least,
        claimed=min(round_up(max(high, least)), 1.0),
    )


def round_up(rate: float, digits: int = 2) -> float:
    """Round a rate up to so many significant digits: 0.00123 -> 0.0013. A claim never shrinks."""
    if rate <= 0:
        return 0.0
    exponent = math.floor(math.log10(rate)) - digits + 1
    # A tiny slack, so that 0.0013, which binary cannot say, does not become 0.0014.
    steps = math.ceil(rate / 10.0**exponent - 1e-9)
    return float(f"{steps}e{exponent}")


def interval_of(replicates: Floats, measured: float, *, errors: int, independent: int) -> Interval:
    """Give the percentile interval of replicates (R,); without an error its end is 3 / n.

    The bootstrap knows only what was seen: of no error at all it would make an interval of none.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(v) for v in np.quantile(replicates, [tail, 1 - tail]))
    if errors == 0:
        high = max(high, least_claim(independent))
    # Sums of many weights stray from 0 and 1 by rounding.
    return Interval(low=max(min(low, measured), 0.0), high=min(max(high, measured), 1.0))
