"""Matching: where to put the threshold, by some persons; what it is worth, by all the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.dataset import DatasetUnusable, PairList, Partition, Role, partition_of, side_of
from benchmarks.metrics import (
    GRID,
    RULE_OF_THIRTY,
    Claim,
    Curve,
    Interval,
    claim,
    det_points,
    equal_error,
    grid_index,
    independent_comparisons,
    interval_of,
    lowest_with_fmr,
)
from benchmarks.resampling import REPLICATES, draw_persons, fmr_replicates, fnmr_replicates
from benchmarks.similarity import Comparisons, Gallery, compare_all, compare_listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.acquisition import Item
    from benchmarks.observe import Stage
    from verifier.pipeline.profile import EmbedderThresholds

LEVELS: Final = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""False match rates of the table, beside the target."""


class Choice(StrEnum):
    """How the threshold came about."""

    LOCATED = "located"
    """The persons of the tuning side show where the target is reached."""
    KEPT = "kept"
    """They are too few for that, and nothing they show speaks against the threshold before."""
    RAISED = "raised"
    """They are too few, but with the threshold before they exceed the target already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Error rates of one set of persons at one threshold."""

    threshold: float
    fmr: float | None
    """None where nobody was compared with another."""
    false_matches: int
    """Pairs of pictures, unweighted."""
    fnmr: float | None
    """None where nobody was compared with himself."""
    false_non_matches: int
    fmr_interval: Interval | None = None
    """None where it was not resampled."""
    fnmr_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much stands behind some rates."""

    persons: int
    persons_genuine: int
    """With at least two pictures that can be compared."""
    genuine: int
    """Pairs of pictures."""
    impostor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One false match rate: the threshold for it, and what both sides say there."""

    target: float
    tuning: Rates
    report: Rates
    claim: Claim
    """What may be claimed of the FMR there, by the report side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRates:
    """Rates within one source or one list of pairs, persons of the report side only."""

    name: str
    size: Size
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of the split."""

    size: Size
    eer: float
    eer_threshold: float
    det: tuple[tuple[float, float, float], ...]
    """Threshold, FMR, FNMR, wherever one of them changes."""
    genuine: Curve
    impostor: Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How intervals are made."""

    seed: int
    stage: Stage
    replicates: int = REPLICATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Everything about matching with one pack."""

    threshold: float
    choice: Choice
    target: float
    before: Rates | None
    """The report side at the threshold of the profile before; None where it had none."""
    at: Level
    """At the recommended threshold."""
    levels: tuple[Level, ...]
    """Rising thresholds; only rates that the tuning side can locate."""
    needed_persons: int
    """For locating the target: persons on the tuning side."""
    tuning: Side
    report: Side
    sets: tuple[SetRates, ...]


def gallery_of(items: Sequence[Item]) -> Gallery:
    """Put the faces that can be compared into one gallery; its rows are in the order of `items`."""
    usable = [item for item in items if item.comparable]
    _, person = np.unique([item.picture.subject for item in usable], return_inverse=True)
    _, source = np.unique([item.picture.source for item in usable], return_inverse=True)
    of_genuine = [item.picture.genuine for item in usable]
    vectors = [item.seen.embedding for item in usable if item.seen.embedding is not None]
    return Gallery(
        vectors=np.stack(vectors) if vectors else np.empty((0, 1), dtype=np.float32),
        person=person.astype(np.int32).reshape(-1),
        source=np.where(of_genuine, source.reshape(-1), -1).astype(np.int32),
        persons=int(person.max(initial=-1)) + 1,
    )


def study_matching(
    items: Sequence[Item],
    lists: Sequence[PairList],
    *,
    target: float,
    before: EmbedderThresholds | None,
    bootstrap: Bootstrap,
) -> Matching:
    """Recommend a threshold for an FMR of `target` by half of the persons; measure on the others.

    `items` may hold pictures of any role. Raises DatasetUnusable where a side has no impostor or no
    genuine pair, or where the persons are too few to locate the target and there is no threshold
    to keep.
    """
    sides = {
        part: _of_side(
            [item for item in items if item.picture.role is Role.IDENTITY], part, bootstrap.seed
        )
        for part in Partition
    }
    compared = {part: _compared(part, found, bootstrap.stage) for part, found in sides.items()}
    tuning, report = compared[Partition.TUNING], compared[Partition.REPORT]
    threshold, choice = _recommend(tuning, target, before)
    located = sorted(
        {one for one in (*LEVELS, target) if _locates(tuning.persons, one)}, reverse=True
    )
    thresholds = {one: lowest_with_fmr(tuning.impostor, one) for one in located}
    rates = resampled_rates(report, sorted({*thresholds.values(), threshold}), bootstrap)
    levels = tuple(_level(one, at, tuning, rates[at], report) for one, at in thresholds.items())
    return Matching(
        threshold=threshold,
        choice=choice,
        target=target,
        before=None if before is None else rates_at(report, round(before.threshold, 3)),
        at=_level(target, threshold, tuning, rates[threshold], report),
        levels=levels,
        needed_persons=needed_persons(target),
        tuning=_side(tuning),
        report=_side(report),
        sets=tuple(_sets(sides[Partition.REPORT], lists, threshold, bootstrap)),
    )


def needed_persons(target: float) -> int:
    """Give how many persons make enough pairs for 30 false matches to be expected at `target`."""
    # n(n - 1) / 2 * target >= 30, solved for n.
    return math.ceil((1 + math.sqrt(1 + 8 * RULE_OF_THIRTY / target)) / 2 - 1e-9)


def rates_at(compared: Comparisons, threshold: float) -> Rates:
    """Give the rates at one threshold, without intervals."""
    index = grid_index(threshold)
    return Rates(
        threshold=threshold,
        fmr=float(compared.impostor.at_or_above[index]) if compared.impostor.count else None,
        false_matches=compared.impostor.reaching(index),
        fnmr=float(compared.genuine.below[index]) if compared.genuine.count else None,
        false_non_matches=compared.genuine.count - compared.genuine.reaching(index),
    )


def resampled_rates(
    compared: Comparisons,
    thresholds: Sequence[float],
    bootstrap: Bootstrap,
    label: str = "report side",
) -> dict[float, Rates]:
    """Give the rates at some thresholds with 95 % intervals by the bootstrap over persons."""
    indices = [grid_index(one) for one in thresholds]
    entries = compared.impostor_entries.from_index(min(indices))
    replicates = bootstrap.replicates
    draws = draw_persons(compared.persons, replicates, np.random.default_rng(bootstrap.seed))
    with bootstrap.stage(f"Resampling {label}", 2 * replicates) as done:
        fmr = fmr_replicates(entries, draws, done)
        fnmr = fnmr_replicates(compared.genuine_entries, draws, done)
    found = {}
    for threshold, index in zip(thresholds, indices, strict=True):
        plain = rates_at(compared, threshold)
        column = fmr[:, index - entries.lowest] if index >= entries.lowest else None
        independent = independent_comparisons(compared.persons)
        found[threshold] = replace(
            plain,
            fmr_interval=_interval(column, plain.fmr, plain.false_matches, independent),
            fnmr_interval=_interval(
                fnmr[:, index], plain.fnmr, plain.false_non_matches, compared.persons_genuine
            ),
        )
    return found


def _interval(
    column: NDArray[np.float64] | None, measured: float | None, errors: int, independent: int
) -> Interval | None:
    heard = column[~np.isnan(column)] if column is not None else np.empty(0)
    if not heard.size or not independent or measured is None:
        return None
    return interval_of(heard, measured, errors=errors, independent=independent)


def _of_side(items: Sequence[Item], part: Partition, seed: int) -> list[Item]:
    return [
        item
        for item in items
        if item.comparable and partition_of(side_of(item.picture), seed) is part
    ]


def _compared(part: Partition, items: Sequence[Item], stage: Stage) -> Comparisons:
    gallery = gallery_of(items)
    with stage(f"Comparing all, {part} side", 2 * len(gallery.vectors)) as done:
        compared = compare_all(gallery, done)
    if not compared.impostor.count or not compared.genuine.count:
        missing = "no two persons" if not compared.impostor.count else "no genuine pair"
        raise DatasetUnusable(
            f"The {part} side has {gallery.persons} persons whose pictures can be compared, but"
            f" {missing}.",
            remedy="Add persons with two or more good pictures, or choose another --seed.",
        )
    return compared


def _locates(persons: int, rate: float) -> bool:
    """Tell whether so many persons make pairs enough to show where this rate is reached."""
    return persons * (persons - 1) / 2 * rate >= RULE_OF_THIRTY * (1 - 1e-9)


def _recommend(
    tuning: Comparisons, target: float, before: EmbedderThresholds | None
) -> tuple[float, Choice]:
    lowest = lowest_with_fmr(tuning.impostor, target)
    if _locates(tuning.persons, target):
        return lowest, Choice.LOCATED
    if before is None:
        raise DatasetUnusable(
            f"{tuning.persons} persons are too few to find the threshold for an FMR of"
            f" {target:g}: {needed_persons(target)} are needed on the tuning side, twice as many in"
            " all; and the profile to start from has no threshold for this network to keep.",
            remedy="Add persons, or ask for a larger --target-fmr.",
        )
    # Thresholds of a profile may have more decimals than the grid: round up, never down.
    kept = float(GRID[np.flatnonzero(before.threshold - 1e-9 <= GRID)[0]])
    return (lowest, Choice.RAISED) if lowest > kept else (kept, Choice.KEPT)


def _level(
    target: float, threshold: float, tuning: Comparisons, rates: Rates, report: Comparisons
) -> Level:
    measured = float(report.impostor.at_or_above[grid_index(threshold)])
    return Level(
        target=target,
        tuning=rates_at(tuning, threshold),
        report=rates,
        claim=claim(measured, rates.fmr_interval, independent_comparisons(report.persons)),
    )


def size_of(compared: Comparisons) -> Size:
    """Count what was compared."""
    return Size(
        persons=compared.persons,
        persons_genuine=compared.persons_genuine,
        genuine=compared.genuine.count,
        impostor=compared.impostor.count,
    )


def _side(compared: Comparisons) -> Side:
    threshold, eer = equal_error(compared.impostor, compared.genuine)
    return Side(
        size=size_of(compared),
        eer=eer,
        eer_threshold=threshold,
        det=tuple(det_points(compared.impostor, compared.genuine)),
        genuine=compared.genuine,
        impostor=compared.impostor,
    )


def _sets(
    items: Sequence[Item], lists: Sequence[PairList], threshold: float, bootstrap: Bootstrap
) -> Iterator[SetRates]:
    """Measure each source by itself, and each list of pairs."""
    for source in sorted({item.picture.source for item in items}):
        some = [item for item in items if item.picture.source == source]
        yield _set(source, compare_all(gallery_of(some)), threshold, bootstrap)
    gallery = gallery_of(items)
    rows = {(item.picture.source, item.picture.key): row for row, item in enumerate(items)}
    for one in lists:
        known = [
            (rows[one.source, a], rows[one.source, b])
            for a, b in one.pairs
            if (one.source, a) in rows and (one.source, b) in rows
        ]
        if known:
            first, second = np.array(known, dtype=np.int32).T
            compared = compare_listed(gallery, first, second)
            yield _set(one.name, compared, threshold, bootstrap)


def _set(name: str, compared: Comparisons, threshold: float, bootstrap: Bootstrap) -> SetRates:
    rates = resampled_rates(compared, [threshold], bootstrap, name)[threshold]
    return SetRates(name=name, size=size_of(compared), rates=rates)
