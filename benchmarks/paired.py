"""Two systems on the same photographs: by how much one misses more, each at its own threshold.

Both are compared at the same false match rate, and every person weighs the same (`metrics`). The
bootstrap draws persons, the same ones for both systems, and locates both thresholds anew in every
replicate: a threshold that depends on who happened to be there is part of the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.metrics import NORMAL_95, least_claim
from benchmarks.resampling import draw_persons
from verifier.errors import InferenceFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.intp]

NO_VECTOR: Final = -2.0
"""Score of a pair of which a system lost a photograph: below every cosine, so it never matches."""
TAIL: Final = 50
"""So many times as many impostor pairs are kept for resampling as lie above the threshold."""
LEAST_TAIL: Final = 20_000
QUANTILES: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """Whose photographs they are, in the order of the vectors."""

    person: Sequence[str]
    source: Sequence[str]
    """Genuine pairs are formed within a source: two sources may hold copies of one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRates:
    """One source at the thresholds of all of them."""

    source: str
    persons: int
    genuine: int
    fnmr: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the first system does worse than the second."""

    persons: int
    """With at least two photographs in one source: those of the FNMR."""
    genuine: int
    """Pairs of photographs."""
    impostor: int
    threshold: tuple[float, float]
    fnmr: tuple[float, float]
    """A pair with a lost photograph is a miss."""
    difference_pp: float
    """Percentage points."""
    interval_pp: tuple[float, float]
    """95 %. Where nobody is worse, its upper end is at least 3 over the number of persons."""
    worse: int
    """Persons of whom the first misses more than the second."""
    better: int
    needed_persons: int
    """How many it takes for an interval of no more than `margin_pp` to either side."""
    sources: tuple[SourceRates, ...]
    """Whole photographs and crops are not equally hard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _System:
    """Scores of one system, with whose they are."""

    genuine: Floats
    tail: Floats
    """The highest impostor scores, falling."""
    tail_persons: tuple[Numbers, Numbers]
    tail_weights: Floats
    """One over the pairs of photographs that the two persons make."""
    whole_tail: bool
    """Whether the tail holds all impostor pairs."""

    def threshold(self, drawn: Floats, fmr: float) -> float:
        """Give the lowest threshold with an FMR of at most `fmr` among the persons drawn (P,)."""
        first, second = self.tail_persons
        reached = np.cumsum(self.tail_weights * drawn[first] * drawn[second])
        pairs = (drawn.sum() ** 2 - (drawn**2).sum()) / 2
        beyond = int(np.searchsorted(reached, fmr * pairs * (1 + 1e-9), side="right"))
        if beyond < len(self.tail):
            return float(np.nextafter(self.tail[beyond], np.inf))
        if self.whole_tail:
            return -1.0
        raise InferenceFailed("A threshold lies below the impostor scores that were kept.")


def compare(
    album: Album,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    fmr: float,
    replicates: int,
    seed: int,
    margin_pp: float,
) -> Difference:
    """Compare two systems by their vectors (n, d), L2-normalised; a row of zeros is a lost one.

    Raises InferenceFailed where there is no genuine pair, or no impostor pair.
    """
    names, person = np.unique([one.lower() for one in album.person], return_inverse=True)
    _, source = np.unique(album.source, return_inverse=True)
    rows = _genuine(person, source)
    if not len(rows[0]) or len(names) < 2:
        raise InferenceFailed("Two systems cannot be compared without genuine and impostor pairs.")
    systems = [_system(vectors, person, rows, fmr) for vectors in (first, second)]
    owners, owner = np.unique(person[rows[0]], return_inverse=True)
    everybody = np.ones(len(names))
    thresholds = [one.threshold(everybody, fmr) for one in systems]
    missed = [one.genuine < threshold for one, threshold in zip(systems, thresholds, strict=True)]
    shares = [_shares(some, owner) for some in missed]
    by_person = shares[0] - shares[1]

    def difference(drawn: Floats) -> float:
        """Locate both thresholds among the persons drawn, and compare there."""
        anew = [_shares(one.genuine < one.threshold(drawn, fmr), owner) for one in systems]
        heard = drawn[owners]
        return float(heard @ (anew[0] - anew[1]) / max(heard.sum(), 1.0))

    draws = draw_persons(len(names), replicates, np.random.default_rng(seed)).astype(np.float64)
    differences = np.array([difference(drawn) for drawn in draws])
    low, high = (float(value) for value in np.quantile(differences, QUANTILES))
    worse = int((by_person > 1e-9).sum())
    if not worse:
        high = max(high, least_claim(len(owners)))
    return Difference(
        persons=len(owners),
        genuine=len(owner),
        impostor=_impostor_pairs(person),
        threshold=(thresholds[0], thresholds[1]),
        fnmr=(float(shares[0].mean()), float(shares[1].mean())),
        difference_pp=100 * float(by_person.mean()),
        interval_pp=(100 * low, 100 * high),
        worse=worse,
        better=int((by_person < -1e-9).sum()),
        needed_persons=_needed(float(differences.std()), len(owners), margin_pp / 100),
        sources=tuple(_by_source(album.source, rows[0], person, missed)),
    )


def _shares(missed: NDArray[np.bool_], owner: Numbers) -> Floats:
    """Give the share of misses of each owner of a pair."""
    return np.asarray(np.bincount(owner, weights=missed) / np.bincount(owner), dtype=np.float64)


def _by_source(
    source: Sequence[str], first: Numbers, person: Numbers, missed: Sequence[NDArray[np.bool_]]
) -> Iterator[SourceRates]:
    of_pair = np.array(source)[first]
    for name in dict.fromkeys(source):
        kept = of_pair == name
        if not kept.any():
            continue
        owners, owner = np.unique(person[first[kept]], return_inverse=True)
        rates = [float(_shares(some[kept], owner).mean()) for some in missed]
        yield SourceRates(
            source=name,
            persons=len(owners),
            genuine=int(kept.sum()),
            fnmr=(rates[0], rates[1]),
        )


def _needed(error: float, persons: int, margin: float) -> int:
    """Reckon persons from the standard error that `persons` gave, and by the rule of three."""
    by_spread = persons * (NORMAL_95 * error / margin) ** 2
    return max(math.ceil(by_spread), math.ceil(3 / margin - 1e-9))


def _genuine(person: Numbers, source: Numbers) -> tuple[Numbers, Numbers]:
    same = (person[:, None] == person[None, :]) & (source[:, None] == source[None, :])
    first, second = np.nonzero(np.triu(same, 1))
    return first, second


def _impostor_pairs(person: Numbers) -> int:
    counts = np.bincount(person)
    return int((len(person) ** 2 - (counts**2).sum()) // 2)


def _system(
    vectors: NDArray[np.float32], person: Numbers, rows: tuple[Numbers, Numbers], fmr: float
) -> _System:
    lost = ~vectors.any(axis=1)
    scores = vectors @ vectors.T
    scores[lost, :] = NO_VECTOR
    scores[:, lost] = NO_VECTOR
    genuine = scores[rows].astype(np.float64)
    scores[~np.triu(person[:, None] != person[None, :], 1)] = -np.inf
    pairs = _impostor_pairs(person)
    kept = min(max(math.ceil(TAIL * fmr * pairs), LEAST_TAIL), pairs)
    flat = scores.ravel()
    places = np.argpartition(flat, len(flat) - kept)[len(flat) - kept :]
    places = places[np.argsort(-flat[places], kind="stable")]
    one, other = np.divmod(places, len(person))
    counts = np.bincount(person)
    return _System(
        genuine=genuine,
        tail=flat[places].astype(np.float64),
        tail_persons=(person[one], person[other]),
        tail_weights=1.0 / (counts[person[one]] * counts[person[other]]),
        whole_tail=kept == pairs,
    )
