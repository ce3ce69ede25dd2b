"""One axis of time for all sessions: stamps of every boot as milliseconds of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from session_tracker.timeline import to_utc_ms
from verifier.clock import Clock, Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a stamped event lies, in UTC ms."""

    at: int
    since: int
    news: Mapping[str, Stamp]
    """First stamps of boots that are not stored yet."""
    stepped: bool
    """Whether a boot began whose clock cannot be right: its stamps are placed by ours."""
    ahead: bool
    """Whether a clock that we know has run ahead of ours: the event is placed now."""


class Axis:
    """Resolves stamps; knows the first stamp of every boot that was heard of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.started = clock.stamp()
        """The first stamp of this boot."""
        self._anchors: dict[str, Stamp] = {self.started.boot_id: self.started}

    def learn(self, anchors: Mapping[str, Stamp]) -> None:
        """Take in first stamps of boots by their ids, as the store has them."""
        self._anchors |= anchors

    def unknown(self, *stamps: Stamp | None) -> dict[str, Stamp]:
        """Give a first stamp for every boot among `stamps` that was not heard of yet."""
        found: dict[str, Stamp] = {}
        for stamp in stamps:
            if stamp is not None and stamp.boot_id not in self._anchors:
                found.setdefault(stamp.boot_id, stamp)
        return found

    def unheard_of(self, boots: Iterable[str]) -> set[str]:
        """Give the ids among `boots` that we never heard of."""
        return set(boots) - self._anchors.keys()

    def place(self, at: Stamp, since: Stamp | None, *, earliest: int, step_ms: int) -> Placed:
        """Place an event that happened between `earliest` and now, by whichever clock.

        Stamps of a boot that is new to us are held against our own clock: what it calls the
        future, or a time before `earliest`, shows a clock that is wrong by more than `step_ms`,
        and its boot is anchored at our present.
        """
        now = self.now()
        news = self.unknown(at, since)
        wrong = [n for n, s in news.items() if not earliest - step_ms <= s.utc_ms <= now + step_ms]
        for boot in wrong:
            news[boot] = replace(news[boot], utc_ms=now)
        placed = self.resolve(at, news)
        ahead = placed > now + step_ms
        placed = min(placed, now) if ahead else placed
        begun = placed if since is None else min(self.resolve(since, news), placed)
        return Placed(at=placed, since=begun, news=news, stepped=bool(wrong), ahead=ahead)

    def resolve(self, stamp: Stamp, news: Mapping[str, Stamp]) -> int:
        """Give the instant in UTC ms; `news` holds first stamps that are not stored yet."""
        return to_utc_ms(stamp, {**self._anchors, **news} if news else self._anchors)

    def now(self) -> int:
        """Give the present instant in UTC ms, steady within this boot."""
        return to_utc_ms(self._clock.stamp(), self._anchors)

    def monotonic(self, utc_ms: int) -> int:
        """Give the instant on this boot's monotonic clock."""
        return self.started.monotonic_ms + utc_ms - self.started.utc_ms

    def stamp(self, utc_ms: int) -> Stamp:
        """Give the instant as a stamp of this boot."""
        return Stamp(
            boot_id=self.started.boot_id, monotonic_ms=self.monotonic(utc_ms), utc_ms=utc_ms
        )
