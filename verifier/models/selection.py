"""The measured choice behind the provider `auto`: the same network on several engines, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.models.network import noise

if TYPE_CHECKING:
    from verifier.models.network import Network, Tensor
    from verifier.models.pixels import Pixels
    from verifier.types import Image

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
    pixels: Pixels | None = None,
    refused: Sequence[str] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Network, Choice]:
    """Time `candidates`, one network on at least one engine, and take the fastest that agrees.

    The first one is the measure of what the numbers should be; with one candidate nothing is timed
    against anything, yet its time is told. Where `pixels` say how pictures become numbers, what a
    candidate leaves of that to others is part of its time. `clock` gives seconds.

    Raises `InferenceFailed`.
    """
    runs = _runs(candidates, pixels)
    outputs = [run() for run in runs]
    spent: list[list[float]] = [[] for _ in candidates]
    for _ in range(ROUNDS):
        # In turns, so that whatever else the machine does meanwhile falls on all of them.
        for run, times in zip(runs, spent, strict=True):
            start = clock()
            run()
            times.append(clock() - start)
    timings = []
    for network, found, times in zip(candidates, outputs, spent, strict=True):
        off = deviation(found, outputs[0])
        agrees = off <= TOLERANCE
        ms = 1_000 * median(times) / ROWS if agrees else float("inf")
        timings.append(Timing(provider=network.provider, ms_per_row=ms, deviation=off))
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


def row_shape(network: Network) -> tuple[int, ...]:
    """Give the shape of one row of a network's input, with open axes filled."""
    sizes = iter(filling(network.input_shape[1:].count(None)))
    return tuple(next(sizes) if size is None else size for size in network.input_shape[1:])


def _runs(
    candidates: Sequence[Network], pixels: Pixels | None
) -> list[Callable[[], tuple[Tensor, ...]]]:
    """Give one call per candidate, all on the same noise."""
    first = candidates[0]
    shape = row_shape(first)
    if pixels is None:
        batch = noise((ROWS, *shape), first.dtype)
        return [partial(network.run, batch) for network in candidates]
    channels_last = pixels.nhwc or first.pixels is not None
    height, width = shape[:2] if channels_last else shape[1:]
    pictures = noise((ROWS, height, width, 3), np.dtype(np.uint8))
    return [partial(_run, network, pixels, pictures) for network in candidates]


def _run(network: Network, pixels: Pixels, pictures: Image) -> tuple[Tensor, ...]:
    return network.run(pixels.batch(network, pictures))


def deviation(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Give the largest difference, of the largest number of an output or of 1.

    Infinite where the outputs are not of the same shapes.
    """
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    return max(
        float(np.abs(ours - theirs).max(initial=0)) / max(1.0, float(np.abs(theirs).max(initial=0)))
        for ours, theirs in zip(found, expected, strict=True)
    )
