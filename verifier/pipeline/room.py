"""The room of a queue: what waits or runs, counted in images and in bytes, and by whose it is.

Nobody holds more than he leaves free: alone a party may fill half of the room, two a third each, n
parties n of n + 1 parts, and whoever comes next finds a place (dynamic thresholds, Choudhury, Hahne
1998, with a factor of 1); who holds nothing is let in with whatever fits at all, or a large request
would never be served. All bulk together, presence in streams and batches, has three quarters of the
room, so that a quarter is there for what somebody waits for.

A party is what stands before the first ``/`` of an owner: an API key, whatever subjects it asks
for, or a session.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from verifier.errors import BenrenError, Overloaded, RequestTooLarge
from verifier.pipeline.ports import BatchLimits, Priority

BULK_QUARTERS: Final = 3
"""Quarters of the room that bulk has altogether."""
_AGAIN: Final = "Try again shortly."
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """What a job holds, or what there is room for."""

    images: int
    size_bytes: int
    """Of the images, decoded."""

    def __add__(self, other: Load) -> Load:
        return Load(self.images + other.images, self.size_bytes + other.size_bytes)

    def __sub__(self, other: Load) -> Load:
        return Load(self.images - other.images, self.size_bytes - other.size_bytes)

    def fits(self, free: Load) -> bool:
        """Tell whether there is room for it."""
        return self.images <= free.images and self.size_bytes <= free.size_bytes

    def least(self, other: Load) -> Load:
        """Give what is left where both bound it."""
        return Load(min(self.images, other.images), min(self.size_bytes, other.size_bytes))


_NOTHING: Final = Load(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no place."""

    reason: str
    """Of the observer: `large`, `full`, `bytes`, `bulk` or `owner`."""
    error: BenrenError


@dataclass(slots=True, kw_only=True)
class Room:
    """What is held, against `limits`. Not for several threads."""

    limits: BatchLimits
    _held: Load = _NOTHING
    _bulk: Load = _NOTHING
    _parties: dict[str, Load] = field(default_factory=lambda: defaultdict(lambda: _NOTHING))

    @property
    def images(self) -> int:
        """How many wait or run."""
        return self._held.images

    def refusal(self, load: Load, owner: str, priority: Priority) -> Refusal | None:
        """Say why `load` gets no place now, or None where there is one."""
        most = Load(self.limits.max_pending, self.limits.max_pending_bytes)
        of_bulk = Load(_quarters(most.images), _quarters(most.size_bytes))
        largest = of_bulk if priority is Priority.BULK else most
        if not load.fits(largest):
            return Refusal(reason="large", error=_too_large(load, largest))
        free = most - self._held
        if load.images > free.images:
            told = f"{self._held.images} of {most.images} images wait or run already."
            return Refusal(reason="full", error=Overloaded(told, remedy=_AGAIN))
        if load.size_bytes > free.size_bytes:
            told = (
                f"The images that wait or run hold {_mib(self._held)} of {_mib(most)} MiB;"
                f" these need {_mib(load)} MiB more."
            )
            remedy = f"{_AGAIN} Smaller pictures need less."
            return Refusal(reason="bytes", error=Overloaded(told, remedy=remedy))
        if priority is Priority.BULK:
            for_bulk = of_bulk - self._bulk
            if not load.fits(for_bulk):
                told = (
                    f"{self._bulk.images} images ({_mib(self._bulk)} MiB) that nobody waits for"
                    " have been sent already; the rest of the queue is kept for others."
                )
                return Refusal(reason="bulk", error=Overloaded(told, remedy=_AGAIN))
            free = free.least(for_bulk)
        own = self._parties.get(_party(owner), _NOTHING)
        if own.images and not (own + load).fits(free):
            told = (
                f"{own.images} images ({_mib(own)} MiB) of this caller wait or run already;"
                " the rest of the queue is kept for others."
            )
            remedy = "Wait for answers before sending more."
            return Refusal(reason="owner", error=Overloaded(told, remedy=remedy))
        return None

    def enter(self, load: Load, owner: str, priority: Priority) -> None:
        """Take the place."""
        self._held += load
        if priority is Priority.BULK:
            self._bulk += load
        self._parties[_party(owner)] += load

    def leave(self, load: Load, owner: str, priority: Priority) -> None:
        """Give it back."""
        self._held -= load
        if priority is Priority.BULK:
            self._bulk -= load
        party = _party(owner)
        self._parties[party] -= load
        if self._parties[party] == _NOTHING:
            del self._parties[party]


def _party(owner: str) -> str:
    return owner.partition("/")[0]


def _quarters(whole: int) -> int:
    """Give bulk's part; one image fits into any room."""
    return max(1, whole * BULK_QUARTERS // 4)


def _mib(load: Load) -> int:
    """Give its bytes in MiB, rounded up."""
    return -(-load.size_bytes // _MIB)


def _too_large(load: Load, most: Load) -> RequestTooLarge:
    return RequestTooLarge(
        f"{load.images} images of {_mib(load)} MiB, decoded; the queue takes {most.images} images"
        f" and {_mib(most)} MiB of this kind in all.",
        remedy="Send fewer or smaller pictures.",
    )
