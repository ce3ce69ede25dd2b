"""The brake on guessing: who waits, how long, and who does not."""

from __future__ import annotations

import pytest

from session_tracker.throttle import Ration, Throttle, ThrottleLimits
from verifier.errors import TooManyRequests

LIMITS = ThrottleLimits(free=3, first_wait_ms=1_000, longest_wait_ms=8_000, all_per_minute=30)
START = 1_000_000


def _waits(throttle: Throttle, address: str, now: int) -> int | None:
    try:
        throttle.admit(address, now)
    except TooManyRequests as error:
        return error.retry_after_s
    return None


def test_the_wait_doubles_up_to_its_limit() -> None:
    """A few failures are free; every further one doubles the wait."""
    throttle, waits = Throttle(LIMITS), []
    for _ in range(9):
        throttle.failed("192.0.2.1", START)
        waits.append(_waits(throttle, "192.0.2.1", START))
    assert waits == [None, None, None, 1, 2, 4, 8, 8, 8]
    assert _waits(throttle, "192.0.2.2", START) is None


def test_failures_are_forgiven_in_time() -> None:
    """Somebody who mistypes now and then is never made to wait."""
    throttle = Throttle(LIMITS)
    for minute in range(60):
        throttle.failed("192.0.2.1", START + minute * 60_000)
        assert _waits(throttle, "192.0.2.1", START + minute * 60_000) is None


def test_a_household_of_ipv6_is_one_address() -> None:
    """Changing the last 64 bits of an address gains nothing."""
    throttle = Throttle(LIMITS)
    for number in range(4):
        throttle.failed(f"2001:db8::{number}", START)
    assert _waits(throttle, "2001:db8::ffff", START) == 1
    assert _waits(throttle, "2001:db8:0:1::1", START) is None


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "testclient", ""])
def test_any_address_is_understood(address: str) -> None:
    """Mapped, odd and missing addresses are counted too."""
    throttle = Throttle(LIMITS)
    for _ in range(4):
        throttle.failed(address, START)
    assert _waits(throttle, address, START) == 1


def test_many_addresses_together_are_slowed_down() -> None:
    """A guesser with many addresses meets the limit of all."""
    throttle = Throttle(LIMITS)
    for number in range(31):
        throttle.failed(f"192.0.2.{number}", START)
    assert _waits(throttle, "198.51.100.1", START) == 1
    assert _waits(throttle, "198.51.100.1", START + 1_000) is None


def test_a_ration_fills_again() -> None:
    """So many at once after a rest, so many a second, each name for itself; refusals are free."""
    ration = Ration(every_ms=500, burst=3, detail="too fast", remedy="wait")
    for _ in range(3):
        ration.take("one", START)
    for _ in range(5):
        with pytest.raises(TooManyRequests) as caught:
            ration.take("one", START + 499)
    assert caught.value.retry_after_s == 1
    ration.take("two", START)
    ration.take("one", START + 500)
    for _ in range(3):
        ration.take("one", START + 60_000)
    with pytest.raises(TooManyRequests):
        ration.take("one", START + 60_000)
