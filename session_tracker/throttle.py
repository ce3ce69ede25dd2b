"""Slows down whoever guesses: failures are counted, and each one above a few makes wait longer.

What costs us something and may be asked for by anybody is rationed in the same way.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from verifier.errors import TooManyRequests

_KEPT = 10_000
"""Addresses, or names, remembered at most; the longest silent are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleLimits:
    """How many failures are forgiven, and how the wait grows."""

    free: int = 10
    """Failures of one address that cost nothing: a classroom shares one address."""
    forgiven_every_ms: int = 60_000
    """One failure is forgotten every so often."""
    first_wait_ms: int = 2_000
    """The first wait; it doubles with every further failure up to..."""
    longest_wait_ms: int = 900_000
    """...this."""
    all_per_minute: int = 120
    """Failures of all addresses together: many addresses may belong to one guesser."""


@dataclass(slots=True)
class _Tally:
    failures: float = 0.0
    counted_ms: int = 0
    closed_until_ms: int = 0


class Throttle:
    """Counts failures by address, in memory; times are UTC ms, given by the caller."""

    def __init__(
        self,
        limits: ThrottleLimits | None = None,
        *,
        detail: str = "Too many wrong codes.",
        remedy: str = "Wait, or open the link that was sent to you.",
    ) -> None:
        self._detail, self._remedy = detail, remedy
        self._limits = limits if limits is not None else ThrottleLimits()
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()
        self._everybody = _Tally()

    def admit(self, address: str, now_ms: int) -> None:
        """Raise TooManyRequests, with the wait, where this address has to wait."""
        tally = self._tallies.get(_bucket(address))
        until = max(self._everybody.closed_until_ms, tally.closed_until_ms if tally else 0)
        if until > now_ms:
            raise TooManyRequests(
                self._detail,
                remedy=self._remedy,
                retry_after_s=(until - now_ms + 999) // 1_000,
            )

    def failed(self, address: str, now_ms: int) -> None:
        """Count a failure, or whatever else is rationed."""
        limits = self._limits
        name = _bucket(address)
        tally = self._tallies.setdefault(name, _Tally(counted_ms=now_ms))
        self._tallies.move_to_end(name)
        while len(self._tallies) > _KEPT:
            self._tallies.popitem(last=False)
        _count(tally, now_ms, limits.forgiven_every_ms)
        excess = int(tally.failures) - limits.free
        if excess > 0:
            wait = min(limits.longest_wait_ms, limits.first_wait_ms * 2 ** min(excess - 1, 20))
            tally.closed_until_ms = now_ms + wait
        _count(self._everybody, now_ms, 60_000 // limits.all_per_minute)
        if self._everybody.failures > limits.all_per_minute:
            self._everybody.closed_until_ms = now_ms + limits.first_wait_ms


class Ration:
    """One every so often, and a few more at once after a rest; by name, in memory.

    Whoever asks too fast is told how long to wait and may go on then: nobody is punished. Times are
    ms of any clock that never goes back, given by the caller.
    """

    def __init__(self, *, every_ms: int, burst: int, detail: str, remedy: str) -> None:
        self._price_ms = every_ms
        self._most_ms = burst * every_ms
        self._detail, self._remedy = detail, remedy
        self._levels: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Name -> (what it may still spend, as ms; when that was so)."""

    def take(self, name: str, now_ms: int) -> None:
        """Take one. Raises TooManyRequests, with the wait."""
        level, at = self._levels.pop(name, (self._most_ms, now_ms))
        level = min(self._most_ms, level + max(0, now_ms - at))
        short = self._price_ms - level
        self._levels[name] = (level if short > 0 else level - self._price_ms, now_ms)
        while len(self._levels) > _KEPT:
            self._levels.popitem(last=False)
        if short > 0:
            raise TooManyRequests(
                self._detail, remedy=self._remedy, retry_after_s=(short + 999) // 1_000
            )


def _count(tally: _Tally, now_ms: int, forgiven_every_ms: int) -> None:
    forgiven = max(0, now_ms - tally.counted_ms) / forgiven_every_ms
    tally.failures = max(0.0, tally.failures - forgiven) + 1.0
    tally.counted_ms = now_ms


def _bucket(address: str) -> str:
    """Give what counts as one address: of IPv6 a /64, which one household has to itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((parsed, 64), strict=False))
    return address
