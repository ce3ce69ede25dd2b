"""How long each stage takes on this machine, and how many frames a second it can judge.

``python -m benchmarks.stages --pack open --json``

The picture is the drawn face of the self-test at 640 x 480: networks take the same time for any
face, so no photograph is needed. Stages are those of a stream: a *presence* sample (decode,
detection, quality), an *identity* sample (embedding and liveness on top), and both in batches on
as many workers as there are processors, as the batcher runs them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, get_args

import cv2

from benchmarks.latency import EVERY_FRAME
from verifier.errors import InferenceFailed
from verifier.models.backend import GPU
from verifier.models.packs import load_pack
from verifier.models.processors import available_processors
from verifier.models.runtime import Provider, Runtime
from verifier.models.store import Store
from verifier.pipeline.engine import Engine
from verifier.pipeline.intake import decode
from verifier.pipeline.profile import load_profile
from verifier.pipeline.selftest import drawn_face

if TYPE_CHECKING:
    from verifier.types import Frame

ROUNDS = 30
BATCHES = (1, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One row."""

    what: str
    batch: int
    workers: int
    median_ms: float
    """Per frame: of one worker's batch, divided by its frames."""
    p95_ms: float
    frames_per_s: float
    """Of all workers together."""


def measure(engine: Engine, workers: int, rounds: int = ROUNDS) -> Iterator[Timing]:
    """Time the stages, alone and then on all workers at once."""
    picture = cv2.resize(drawn_face().pixels, (480, 480), interpolation=cv2.INTER_CUBIC)
    picture = cv2.copyMakeBorder(picture, 0, 0, 80, 80, cv2.BORDER_REPLICATE)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise InferenceFailed("The picture to measure with could not be encoded.")
    jpeg = bytes(data)
    frame = decode(jpeg)
    stages: tuple[tuple[str, Callable[[list[Frame]], object]], ...] = (
        ("decode", lambda frames: [decode(jpeg) for _ in frames]),
        ("presence", lambda frames: engine.assess(frames, liveness=False, embed=False)),
        ("identity", engine.assess),
    )
    for count in sorted({1, workers}):
        for what, run in stages:
            for batch in BATCHES:
                yield _timing(what, run, [frame] * batch, count, rounds)


def _timing(
    what: str,
    run: Callable[[list[Frame]], object],
    frames: list[Frame],
    workers: int,
    rounds: int,
) -> Timing:
    run(frames)

    def timed(_: int) -> float:
        start = time.perf_counter()
        run(frames)
        return (time.perf_counter() - start) * 1_000

    with ThreadPoolExecutor(workers) as pool:
        start = time.perf_counter()
        took = list(pool.map(timed, range(rounds * workers)))
        wall_s = time.perf_counter() - start
    return Timing(
        what=what,
        batch=len(frames),
        workers=workers,
        median_ms=round(median(took) / len(frames), 2),
        p95_ms=round(quantiles(took, n=20)[-1] / len(frames), 2),
        frames_per_s=round(len(took) * len(frames) / wall_s, 1),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per stage, batch and number of workers."""
    parser = argparse.ArgumentParser(prog="benren bench latency", description=__doc__)
    parser.add_argument("--pack", default="open")
    parser.add_argument("--provider", choices=get_args(Provider), default="cpu")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="batches per row and worker")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")
    chosen = parser.parse_args(argv)
    threads = None if chosen.provider in GPU else 1  # as many workers as processors otherwise
    runtime = Runtime(chosen.provider, threads=threads)
    engine = Engine(load_pack(chosen.pack, Store.default(), runtime), load_profile(), EVERY_FRAME)
    for row in measure(engine, available_processors(), max(chosen.rounds, 2)):
        if chosen.json:
            text = json.dumps(asdict(row))
        else:
            text = (
                f"{row.what:<9} batch {row.batch}  workers {row.workers}  "
                f"{row.median_ms:8.2f} ms/frame (p95 {row.p95_ms:.2f})  "
                f"{row.frames_per_s:8.1f} frames/s"
            )
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
