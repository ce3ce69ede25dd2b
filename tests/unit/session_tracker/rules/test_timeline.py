"""Stamps of several boots on one axis."""

from __future__ import annotations

import pytest

from session_tracker.timeline import anchor_of, ran_backwards_ms, step_ms, to_utc_ms
from verifier.clock import Stamp
from verifier.errors import BadRequest

FIRST = Stamp(boot_id="a", monotonic_ms=1_000, utc_ms=50_000)


def test_within_a_boot_only_the_monotonic_clock_counts() -> None:
    """Setting the wall clock an hour forward moves nothing, and is noticed."""
    later = Stamp(boot_id="a", monotonic_ms=4_000, utc_ms=53_000 + 3_600_000)
    assert to_utc_ms(later, {"a": FIRST}) == 53_000
    assert step_ms(later, {"a": FIRST}) == 3_600_000


def test_across_boots_utc_counts() -> None:
    """Another boot has an anchor of its own."""
    other = Stamp(boot_id="b", monotonic_ms=9, utc_ms=70_000)
    assert to_utc_ms(other, {"a": FIRST, "b": anchor_of(other, {"a": FIRST})}) == 70_000
    assert anchor_of(FIRST, {"a": other}) is other


def test_a_new_boot_before_the_end_of_the_old_one_is_noticed() -> None:
    """A wall clock that was set back between two boots shows as time that ran backwards."""
    last = Stamp(boot_id="a", monotonic_ms=11_000, utc_ms=60_000)
    early = Stamp(boot_id="b", monotonic_ms=0, utc_ms=57_000)
    late = Stamp(boot_id="b", monotonic_ms=0, utc_ms=61_000)
    assert ran_backwards_ms(last, early, {"a": FIRST}) == 3_000
    assert ran_backwards_ms(last, late, {"a": FIRST}) == 0


def test_a_boot_without_an_anchor_is_an_error() -> None:
    """Taking the stamp's own UTC would let steps of the wall clock into durations."""
    with pytest.raises(BadRequest, match="no first stamp"):
        to_utc_ms(FIRST, {})
