"""Fairness: owners of jobs take turns, so that whoever asks for much waits behind himself.

Start-time fair queueing (Goyal, Vin, Cheng 1996) with an image as the unit: a job may start when
the owner's job before it would have ended, had every owner a share of the machine. Of those that
wait, the one with the least start is next.
"""

from __future__ import annotations

from typing import Final

REMEMBERED: Final = 4_096
"""Owners remembered before all are forgotten: a bound on memory, at the price of one turn."""


class Turns:
    """The virtual time of one queue, in images."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ends: dict[str, float] = {}

    def enter(self, owner: str, size: int) -> float:
        """Give the virtual start of a job of `size` images."""
        if len(self._ends) >= REMEMBERED:
            self._ends.clear()
        start = max(self._now, self._ends.get(owner, 0.0))
        self._ends[owner] = start + size
        return start

    def begin(self, start: float, *, idle: bool) -> None:
        """Note that the job with this start runs; where none waits, everybody starts anew."""
        self._now = max(self._now, start)
        if idle:
            self._now = 0.0
            self._ends.clear()
