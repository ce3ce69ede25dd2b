"""The bootstrap draws persons: exact where worked out by hand, and it covers the truth."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metrics import GRID, grid_index
from benchmarks.resampling import (
    Entries,
    draw_persons,
    fmr_replicates,
    fnmr_replicates,
    share_replicates,
)
from benchmarks.similarity import Gallery, compare_all


def entries(persons: list[list[int]], scores: list[float], weights: list[float]) -> Entries:
    """Make scores of persons, none left out."""
    return Entries(
        persons=tuple(np.array(part, dtype=np.int32) for part in persons),
        places=np.array([grid_index(one) for one in scores], dtype=np.int32),
        weights=np.array(weights),
        lowest=0,
    )


def test_every_draw_has_as_many_persons_as_there_are() -> None:
    """Each replicate draws with replacement, so counts add up to the number of persons."""
    draws = draw_persons(7, 50, np.random.default_rng(0))
    assert draws.shape == (50, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert draws.max() > 1


def test_drawing_everybody_once_gives_the_rate_itself() -> None:
    """Three persons, three pairs, one of them alike: an FMR of a third."""
    some = entries([[0, 0, 1], [1, 2, 2]], [0.5, 0.1, 0.1], [1, 1, 1])
    rates = fmr_replicates(some, np.ones((1, 3), dtype=np.uint16))
    assert rates[0, grid_index(0.4)] == pytest.approx(1 / 3)
    assert rates[0, 0] == pytest.approx(1.0)


def test_a_person_drawn_twice_counts_twice_in_all_his_pairs() -> None:
    """Draw person 0 twice and person 2 never: both remaining pairs are those of 0 and 1."""
    some = entries([[0, 0, 1], [1, 2, 2]], [0.5, 0.1, 0.1], [1, 1, 1])
    rates = fmr_replicates(some, np.array([[2, 1, 0]], dtype=np.uint16))
    assert rates[0, grid_index(0.4)] == pytest.approx(1.0)


def test_listed_pairs_are_the_denominator_where_not_all_were_compared() -> None:
    """Of two listed pairs one is alike: one half, although three persons make three pairs."""
    some = entries([[0, 1], [1, 2]], [0.5, 0.1], [1, 1])
    listed = Entries(
        persons=some.persons,
        places=some.places,
        weights=some.weights,
        lowest=0,
        every_pair=False,
    )
    draws = np.ones((1, 3), dtype=np.uint16)
    assert fmr_replicates(listed, draws)[0, grid_index(0.4)] == pytest.approx(0.5)
    assert listed.from_index(grid_index(0.4)) is listed


def test_fnmr_weighs_persons_and_leaves_out_those_without_a_pair() -> None:
    """Person 0 fails half of his pairs, person 1 none, person 2 has none: a quarter."""
    some = entries([[0, 0, 1]], [0.2, 0.6, 0.6], [0.5, 0.5, 1.0])
    draws = np.array([[1, 1, 1], [3, 0, 0], [0, 0, 3]], dtype=np.uint16)
    rates = fnmr_replicates(some, draws)[:, grid_index(0.4)]
    assert rates[:2] == pytest.approx([0.25, 0.5])
    assert np.isnan(rates[2])


def test_shares_are_drawn_by_subject() -> None:
    """A subject with two wrong pictures, drawn twice, makes four errors of five."""
    wrong, units = np.array([True, True, False]), np.array([0, 0, 1])
    rates = share_replicates(wrong, units, np.array([[1, 1], [2, 1]], dtype=np.uint16))
    assert rates == pytest.approx([2 / 3, 4 / 5])


def gallery(persons: int, rng: np.random.Generator) -> Gallery:
    """Draw persons of whom some resemble everybody: errors come in bundles, as they do."""
    common = np.array([1.0, 0, 0, 0, 0, 0])
    look = rng.standard_normal((persons, 6)) * 0.6
    look += common * rng.gamma(1.0, 0.5, persons)[:, None]
    vectors = (look / np.linalg.norm(look, axis=1, keepdims=True)).astype(np.float32)
    return Gallery(
        vectors=vectors,
        person=np.arange(persons, dtype=np.int32),
        source=np.zeros(persons, dtype=np.int32),
        persons=persons,
    )


def test_intervals_over_persons_cover_the_truth() -> None:
    """In 100 studies of 60 persons at least 88 of the 95 % intervals hold the true FMR.

    Intervals that took the 1 770 pairs for independent would hold it far less often.
    """
    index = grid_index(0.8)
    truth = float(
        compare_all(gallery(4_000, np.random.default_rng(99))).impostor.at_or_above[index]
    )
    assert 0.01 < truth < 0.5
    covered = naive = 0
    for number in range(100):
        rng = np.random.default_rng(number)
        compared = compare_all(gallery(60, rng))
        draws = draw_persons(60, 300, rng)
        column = fmr_replicates(compared.impostor_entries, draws)[:, index]
        low, high = np.quantile(column, [0.025, 0.975])
        covered += low <= truth <= high
        measured = float(compared.impostor.at_or_above[index])
        width = 1.96 * np.sqrt(measured * (1 - measured) / compared.impostor.count)
        naive += measured - width <= truth <= measured + width
    assert covered >= 88
    assert naive < covered - 10


def test_trimming_changes_no_rate_above() -> None:
    """Rates from the kept thresholds on are the same as without trimming."""
    compared = compare_all(gallery(30, np.random.default_rng(1)))
    draws = draw_persons(30, 20, np.random.default_rng(2))
    index = grid_index(0.5)
    whole = fmr_replicates(compared.impostor_entries, draws)
    part = fmr_replicates(compared.impostor_entries.from_index(index), draws)
    assert part == pytest.approx(whole[:, index - compared.impostor_entries.lowest :])
    assert part.shape[1] == len(GRID) - index
