"""The draw of random checks."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_tracker.sampling import next_random_check_ms, truncated_exponential


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 800), st.floats(0, 800))
def test_draws_stay_within_their_bounds(u: float, a: float, b: float) -> None:
    """Whatever is drawn, the check comes neither before the least nor after the most."""
    low, high = sorted((a, b))
    drawn = truncated_exponential(u, mean=360, low=low, high=high)
    assert low - 1e-9 <= drawn <= high


def test_the_quantiles_are_those_of_the_exponential() -> None:
    """Without cuts the median is mean x ln 2; the lowest draw is the lower bound."""
    assert truncated_exponential(0.5, mean=360, low=0, high=1e9) == pytest.approx(249.53, abs=0.01)
    assert truncated_exponential(0, mean=360, low=20, high=720) == 20


def test_the_mean_after_the_cut_is_the_documented_one() -> None:
    """A mean of 360 s cut to 20-720 s leaves 263 s."""
    rng = Random(3)
    drawn = [truncated_exponential(rng.random(), mean=360, low=20, high=720) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(263, abs=4)


def test_drawing_anew_after_each_pass_changes_nothing() -> None:
    """Redrawn every 30 s, checks come as often early and late as when drawn once."""
    rng = Random(5)
    rules = {"last_check_ms": 0, "mean_ms": 360_000, "min_ms": 20_000, "max_ms": 720_000}

    def redrawn() -> int:
        now = 0
        while True:
            at = next_random_check_ms(rng.random, now_ms=now, **rules)
            if at <= now + 30_000:
                return at
            now += 30_000

    once = [next_random_check_ms(rng.random, now_ms=0, **rules) for _ in range(10_000)]
    often = [redrawn() for _ in range(10_000)]
    for edge in (60_000, 180_000, 360_000, 600_000):
        share = [sum(at <= edge for at in drawn) / 10_000 for drawn in (once, often)]
        assert share[0] == pytest.approx(share[1], abs=0.025)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2_000_000))
def test_a_check_is_never_later_than_the_most_after_the_last(u: float, now: int) -> None:
    """Between the least and the most after the last check; at once where that is over."""
    at = next_random_check_ms(
        lambda: u, now_ms=now, last_check_ms=0, mean_ms=360_000, min_ms=20_000, max_ms=720_000
    )
    assert max(now, 20_000) <= at <= max(now, 720_000)


def test_nonsense_is_refused() -> None:
    """Bounds the wrong way round are a mistake of the caller."""
    with pytest.raises(ValueError, match="low <= high"):
        truncated_exponential(0.5, mean=1, low=2, high=1)
