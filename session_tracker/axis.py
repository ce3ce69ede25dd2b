"""One axis of time for all sessions: stamps of every boot as milliseconds of UTC."""

from __future__ import annotations

from collections.abc import Mapping

from session_tracker.timeline import to_utc_ms
from verifier.clock import Clock, Stamp


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
