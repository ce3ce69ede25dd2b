"""The measured choice behind the provider `auto`: the same network on several engines, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from verifier.models.network import Network, Tensor

ROWS: Final = 4
"""Of the batch that is timed: what a service that is busy runs at a time."""
ROUNDS: Final = 5
"""After one that warms up; of the times the median counts."""
SIDES: Final = (256, 320)
"""What an open height and width are set to: the size in which a detector gets pictures of 4:3, so
that nothing is kept for a size that never comes (`verifier.pipeline.detect.canvases`)."""
TOLERANCE: Final = 1e-3
"""Of the largest number of an output, or of 1: how far an engine may be from the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One network on one engine."""

    provider: str
    ms_per_row: float
    """Median wall-clock time; infinite where its numbers were not those of the first engine."""
    deviation: float
    """Largest difference from the first engine, of the largest number of an output or of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which engine runs a network, and why."""

    network: str
    provider: str
    timings: tuple[Timing, ...]
    refused: tuple[str, ...]
    """Engines that are there but did not run this network, each with its reason."""

    def told(self) -> str:
        """Say it in one line."""
        numbers = ", ".join(
            f"{one.provider} {one.ms_per_row:.2f} ms (off by {one.deviation:.0e})"
            for one in self.timings
        )
        refused = f"; refused: {'; '.join(self.refused)}" if self.refused else ""
        return f"{self.network} runs on {self.provider}: per row {numbers}{refused}"


def choose(
    candidates: Sequence[Network],
    *,
    refused: Sequence[str] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Network, Choice]:
    """Time `candidates`, one network on at least one engine, and take the fastest that agrees.

    The first one is the measure of what the numbers should be; with one candidate nothing is timed
    against anything, yet its time is told. `clock` gives seconds. Raises `InferenceFailed`.
    """
    batch = _noise(candidates[0])
    outputs = [network.run(batch) for network in candidates]
    spent: list[list[float]] = [[] for _ in candidates]
    for _ in range(ROUNDS):
        # In turns, so that whatever else the machine does meanwhile falls on all of them.
        for network, times in zip(candidates, spent, strict=True):
            start = clock()
            network.run(batch)
            times.append(clock() - start)
    timings = []
    for network, found, times in zip(candidates, outputs, spent, strict=True):
        deviation = _deviation(found, outputs[0])
        agrees = deviation <= TOLERANCE
        ms = 1_000 * median(times) / len(batch) if agrees else float("inf")
        timings.append(Timing(provider=network.provider, ms_per_row=ms, deviation=deviation))
    fastest = min(range(len(candidates)), key=lambda index: timings[index].ms_per_row)
    chosen = candidates[fastest]
    return chosen, Choice(
        network=chosen.name,
        provider=chosen.provider,
        timings=tuple(timings),
        refused=tuple(refused),
    )


def filling(count: int) -> tuple[int, ...]:
    """Give sizes for so many open axes."""
    return SIDES if count == len(SIDES) else SIDES[-1:] * count


def _noise(network: Network) -> Tensor:
    sizes = iter(filling(network.input_shape[1:].count(None)))
    shape = [next(sizes) if size is None else size for size in network.input_shape[1:]]
    random = np.random.default_rng(0)
    if network.dtype == np.uint8:
        return random.integers(0, 256, (ROWS, *shape), np.uint8)
    return random.random((ROWS, *shape), np.float32).astype(network.dtype)


def _deviation(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    return max(
        float(np.abs(ours - theirs).max(initial=0)) / max(1.0, float(np.abs(theirs).max(initial=0)))
        for ours, theirs in zip(found, expected, strict=True)
    )
