"""The axis of time: stamps of several boots as milliseconds of UTC."""

from __future__ import annotations

import pytest

from session_tracker.axis import Axis
from verifier.clock import ManualClock, Stamp
from verifier.errors import BadRequest


def test_our_own_instants_go_there_and_back(clock: ManualClock) -> None:
    """An instant of the axis is the same instant on our monotonic clock."""
    axis = Axis(clock)
    clock.advance(12_345)
    assert axis.now() == clock.stamp().utc_ms
    assert axis.monotonic(axis.now()) == 12_345
    assert axis.stamp(axis.now()) == clock.stamp()


def test_another_boot_is_placed_by_its_first_stamp(clock: ManualClock) -> None:
    """Later stamps of a boot count from its first one, whatever its wall clock does since."""
    axis = Axis(clock)
    first = Stamp(boot_id="other", monotonic_ms=5_000, utc_ms=1_000_000)
    news = axis.unknown(first, None, clock.stamp())
    assert news == {"other": first}
    assert axis.resolve(first, news) == 1_000_000
    axis.learn(news)
    assert axis.unknown(first) == {}
    stepped = Stamp(boot_id="other", monotonic_ms=6_000, utc_ms=9_999_999)
    assert axis.resolve(stepped, {}) == 1_001_000


def test_a_boot_without_a_first_stamp_is_refused(clock: ManualClock) -> None:
    """Without an anchor a step of the wall clock could get into durations."""
    unknown = Stamp(boot_id="never heard of", monotonic_ms=1, utc_ms=1)
    with pytest.raises(BadRequest):
        Axis(clock).resolve(unknown, {})
