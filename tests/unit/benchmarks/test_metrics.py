"""Error rates against values worked out by hand, and what may be claimed of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.metrics import (
    GRID,
    Interval,
    bpcer_at_apcer,
    claim,
    curve,
    det_points,
    equal_error,
    grid_index,
    highest_with_miss,
    independent_comparisons,
    interval_of,
    least_claim,
    lowest_with_fmr,
    place,
    round_up,
)

scores = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.floats(-1, 1, allow_nan=False, width=32)
)


def rate_at_or_above(values: np.ndarray, threshold: float) -> float:
    """Compare one by one."""
    return float(np.mean(values >= threshold))


def test_fmr_and_fnmr_by_hand() -> None:
    """Of four impostors two reach 0.3, and of four genuine pairs one stays below it."""
    impostor = curve(np.array([0.1, 0.2999, 0.3, 0.5]))
    genuine = curve(np.array([0.2, 0.3, 0.6, 0.9]))
    at = grid_index(0.3)
    assert impostor.at_or_above[at] == 0.5
    assert genuine.below[at] == 0.25
    assert impostor.reaching(at) == 2
    assert genuine.count == 4


def test_weights_make_one_heavy_score_count_for_many() -> None:
    """A score of weight three outweighs one of weight one, while both are counted once."""
    one = curve(np.array([0.5, 0.1]), np.array([3.0, 1.0]))
    assert one.at_or_above[grid_index(0.4)] == 0.75
    assert one.reaching(grid_index(0.4)) == 1


def test_a_score_that_is_not_a_number_is_refused() -> None:
    """NaN would quietly become the lowest score."""
    with pytest.raises(ValueError, match="not a number"):
        curve(np.array([0.1, np.nan]))


def test_thresholds_off_the_grid_are_refused() -> None:
    """A threshold of four decimals has no exact rate here."""
    with pytest.raises(ValueError, match="three decimals"):
        grid_index(0.1234)


@given(scores, st.integers(0, len(GRID) - 1))
def test_rates_are_exact_at_every_threshold(values: np.ndarray, index: int) -> None:
    """The histogram gives the same rates as comparing every score with the threshold."""
    one = curve(values)
    threshold = GRID[index]
    assert one.at_or_above[index] == pytest.approx(rate_at_or_above(values, threshold), abs=1e-12)
    assert one.below[index] == pytest.approx(np.mean(values < threshold), abs=1e-12)


@given(hnp.arrays(np.float32, 50, elements=st.floats(-1, 1, width=32)))
def test_single_precision_is_placed_as_the_product_compares(values: np.ndarray) -> None:
    """A float32 similarity reaches a threshold exactly where `decide` finds it at or above."""
    for value, index in zip(values, place(values), strict=True):
        assert float(value) >= GRID[index]
        assert index == len(GRID) - 1 or float(value) < GRID[index + 1]


def test_grid_points_belong_to_themselves() -> None:
    """A score that equals a threshold reaches it, whatever binary makes of 0.057."""
    assert (place(GRID) == np.arange(len(GRID))).all()
    assert (place(np.nextafter(GRID[1:], -2)) == np.arange(len(GRID) - 1)).all()


@given(scores)
def test_fmr_falls_and_fnmr_rises(values: np.ndarray) -> None:
    """A higher threshold never lets more impostors in, nor more of the genuine."""
    one = curve(values)
    assert (np.diff(one.at_or_above) <= 1e-12).all()
    assert (np.diff(one.below) >= -1e-12).all()


@given(scores, st.floats(0.01, 0.9))
def test_the_recommended_threshold_is_the_lowest_that_holds(
    values: np.ndarray, target: float
) -> None:
    """At the threshold the FMR is at most the target; one step below it is not."""
    one = curve(values)
    threshold = lowest_with_fmr(one, target)
    index = grid_index(threshold)
    if one.at_or_above[-1] <= target:
        assert one.at_or_above[index] <= target
    if index > 0:
        assert one.at_or_above[index - 1] > target or threshold == 1.0


def test_highest_threshold_that_misses_few() -> None:
    """With ten scores from 0.0 to 0.9, a tenth may be missed: everything below 0.1."""
    one = curve(np.arange(10) / 10)
    assert highest_with_miss(one, 0.1) == 0.1
    assert highest_with_miss(one, 0.05) == 0.0


def test_equal_error_by_hand() -> None:
    """One impostor in four above and one genuine pair in four below 0.5: the EER is a quarter."""
    impostor = curve(np.array([0.1, 0.2, 0.3, 0.6]))
    genuine = curve(np.array([0.4, 0.7, 0.8, 0.9]))
    threshold, eer = equal_error(impostor, genuine)
    assert eer == 0.25
    assert 0.4 < threshold <= 0.6


def test_det_curve_runs_from_all_in_to_all_out() -> None:
    """The first point lets everybody in, the last keeps everybody out, and nothing jumps back."""
    points = det_points(curve(np.array([0.1, 0.3])), curve(np.array([0.2, 0.6])))
    assert points[0][1:] == (1.0, 0.0)
    assert points[-1][1:] == (0.0, 1.0)
    thresholds, fmr, fnmr = zip(*points, strict=True)
    assert list(thresholds) == sorted(thresholds)
    assert list(fmr) == sorted(fmr, reverse=True)
    assert list(fnmr) == sorted(fnmr)


def test_bpcer_at_apcer_is_set_by_the_worst_type() -> None:
    """Prints are all found at 0.2 but screens only at 0.61: the screens decide."""
    bona_fide = curve(np.array([0.5, 0.7, 0.8, 0.9]))
    prints, screens = curve(np.array([0.1, 0.1])), curve(np.array([0.6, 0.1]))
    assert bpcer_at_apcer(bona_fide, [prints], 0.05) == (0.0, 0.101)
    assert bpcer_at_apcer(bona_fide, [prints, screens], 0.05) == (0.25, 0.601)
    assert bpcer_at_apcer(bona_fide, [], 0.05) is None


# --- Claims -------------------------------------------------------------------------------


def test_rule_of_three_wants_persons_not_pairs() -> None:
    """60 000 persons without an error carry 1e-4; 2 000, with two million pairs, do not."""
    assert least_claim(independent_comparisons(60_000)) == pytest.approx(1e-4)
    few = claim(0.0, Interval(low=0.0, high=0.0), independent_comparisons(2_000))
    assert not few.carries(1e-4)
    assert few.claimed == 0.003
    assert few.bound_by_persons


def test_no_claim_below_the_interval() -> None:
    """With persons in plenty, the upper end of the interval is what is claimed."""
    many = claim(0.001, Interval(low=0.0008, high=0.00121), 1_000_000)
    assert many.claimed == 0.0013
    assert not many.bound_by_persons
    assert many.carries(0.0013)
    assert not many.carries(0.001)


def test_a_rate_that_was_not_resampled_is_claimed_with_its_error() -> None:
    """Ten of a hundred measured on 900 independent comparisons: not ten, but twelve may be said."""
    one = claim(0.1, None, 900)
    assert one.claimed == 0.12
    assert not one.bound_by_persons
    assert not one.carries(0.1)
    assert claim(0.0, None, 30).bound_by_persons


def test_nobody_carries_nothing() -> None:
    """Without an independent comparison the only claim is that the rate is at most 1."""
    assert claim(0.0, None, 0).claimed == 1.0


@given(st.floats(0, 1), st.integers(0, 100_000), st.floats(0, 1))
def test_a_claim_is_never_smaller_than_measured_or_carried(
    measured: float, independent: int, high: float
) -> None:
    """Whatever the data, the claim lies at or above the rate, its interval and 3/n."""
    interval = Interval(low=0.0, high=max(high, measured))
    one = claim(measured, interval, independent)
    assert one.claimed <= 1.0
    for bound in (measured, interval.high, least_claim(independent)):
        assert one.claimed >= bound * (1 - 1e-9)


@given(st.floats(1e-9, 1))
def test_rounding_up_never_shrinks(rate: float) -> None:
    """Two digits, at or above the rate, and less than a tenth above it."""
    assert rate * (1 - 1e-8) <= round_up(rate) <= rate * 1.1 + 1e-12


def test_rounding_up_keeps_what_is_round() -> None:
    """0.0013 is 0.0013, not 0.0014 by a binary hair."""
    assert [round_up(one) for one in (0.0013, 0.00131, 0.003, 1.0, 0.0)] == [
        0.0013,
        0.0014,
        0.003,
        1.0,
        0.0,
    ]


def test_an_interval_without_errors_ends_at_three_over_n() -> None:
    """The bootstrap of no error at all would be an interval of nothing."""
    one = interval_of(np.zeros(100), 0.0, errors=0, independent=30)
    assert (one.low, one.high) == (0.0, 0.1)
