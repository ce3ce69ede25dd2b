"""What a check costs a processor outside the networks: what no GPU takes over.

Decoding, crops, colours, reading of results, the decision: the processor time of the thread that
checks, less what it spends in `Network.run`. On a GPU the lanes run networks on threads of their
own (`verifier.models.lanes`), so copies to and from the device are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from verifier.models.network import Network

if TYPE_CHECKING:
    from benchmarks.latency import Bench
    from verifier.models.network import Tensor

BATCH: Final = 8
"""Frames at a time, as a worker takes them under load."""


@dataclass(slots=True)
class _Spent:
    seconds: float = 0.0


def outside_networks_ms(
    bench: Bench, rounds: int, *, clock: Callable[[], float] = time.thread_time
) -> tuple[float, ...]:
    """Measure the milliseconds per check outside the networks, round by round, after one more.

    A round goes once through the frames, from JPEG to verdict. `clock` gives this thread's
    processor time in seconds.
    """
    batches = max(1, -(-len(bench.jpegs) // BATCH))
    found = []
    for number in range(rounds + 1):
        with _in_networks(clock) as inside:
            start = clock()
            for turn in range(batches):
                bench.check(bench.batch(number * batches + turn, BATCH))
            whole = clock() - start
        found.append(1_000 * (whole - inside.seconds) / (batches * BATCH))
    return tuple(found[1:])


@contextmanager
def _in_networks(clock: Callable[[], float]) -> Iterator[_Spent]:
    """Add up what this thread spends in networks."""
    spent, original = _Spent(), Network.run

    def run_and_note(self: Network, batch: Tensor) -> tuple[Tensor, ...]:
        start = clock()
        try:
            return original(self, batch)
        finally:
            spent.seconds += clock() - start

    Network.run = run_and_note  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Network.run = original  # type: ignore[method-assign]
