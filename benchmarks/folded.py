"""Bytes or numbers into the networks: what normalising inside a graph is worth on one core here.

    python -m benchmarks.folded --pack open

The same crops go through both, in turns: normalised by OpenCV before, and by the graph itself. One
JSON object per network and batch, with the median of the rounds' ratios (docs/adr/0024).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.timing import interleaved, pin_to_one_core
from verifier.models.pixels import Pixels
from verifier.models.prepare.crops import crops, drawn
from verifier.models.runtime import Runtime
from verifier.models.selection import row_shape
from verifier.models.store import Store

if TYPE_CHECKING:
    from verifier.models.network import Network, Tensor
    from verifier.types import Image

BATCHES: Final = (1, 8)
ROUNDS: Final = 200
WARM_UP: Final = 3
"""Rounds that do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network at one batch size."""

    network: str
    batch: int
    numbers_ms: float
    """Processor time of one row where OpenCV normalises: medians."""
    bytes_ms: float
    """The same where the graph does."""
    ratio: float
    """Median over the rounds of bytes to numbers: below 1 the graph is faster."""


def measure(pack: str, store: Store, *, rounds: int = ROUNDS) -> Iterator[Row]:
    """Measure every network of a pack of the manifest."""
    numbers, pictures = (
        Runtime("cpu", threads=1, warm_up=False, takes_pictures=takes) for takes in (False, True)
    )
    for file in store.manifest.members(pack):
        weights, pixels = store.find(file.name), Pixels.of(file.input)
        plain, folded = numbers.load(weights, pixels), pictures.load(weights, pixels)
        height, width = row_shape(folded)[:2]
        for batch in BATCHES:
            given = np.resize(crops([drawn()], height, width), (batch, height, width, 3))
            yield _row(plain, folded, pixels, given, max(2, rounds // batch) + WARM_UP)


def _row(plain: Network, folded: Network, pixels: Pixels, given: Image, rounds: int) -> Row:
    pictures = list(given)

    def run(network: Network) -> tuple[Tensor, ...]:
        return network.run(pixels.batch(network, pictures))

    spent: dict[str, list[float]] = {"numbers": [], "bytes": []}
    works = {"numbers": lambda: run(plain), "bytes": lambda: run(folded)}
    for name, took in interleaved(works, rounds):
        spent[name].append(took.cpu_ms / len(given))
    numbers, inside = spent["numbers"][WARM_UP:], spent["bytes"][WARM_UP:]
    return Row(
        network=plain.name,
        batch=len(given),
        numbers_ms=round(median(numbers), 3),
        bytes_ms=round(median(inside), 3),
        ratio=round(median(b / n for b, n in zip(inside, numbers, strict=True)), 3),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON object per network and batch size; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folded", description=__doc__)
    parser.add_argument("--pack", default="open")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of batch 1")
    given = parser.parse_args(argv)
    pin_to_one_core()
    for row in measure(given.pack, Store.default(), rounds=given.rounds):
        sys.stdout.write(json.dumps(asdict(row)) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
