"""Memory of one worker: what it holds when loaded, what it grows by over many checks.

``python -m benchmarks.memory --checks 20000 > memory.json`` for the long run, whose result
``benren bench --memory memory.json`` judges; the benchmark itself does a short one. Frames change
their size as cameras do, since buffers that are kept per shape are what grows; and between whole
checks comes what streams ask for: glances, with and without a sample before, looks, checks of five
frames, faceless and dark ones. The queue before the networks is not in it (`streams memory` is).

Memory grows at first, while arenas and caches fill (on the default pack until some 1 500 checks),
and then stays. So the slope is that of the last third; garbage is collected before each point, so
that none is counted; and its error is taken from the means of blocks, since neighbouring points
resemble each other. It is no smaller than what one page of memory makes of the slope.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.frames import find_faces
from benchmarks.job import Found, Job, Tell
from benchmarks.kinds import kinds_of
from benchmarks.latency import Bench, bench_of
from benchmarks.timing import Metric
from verifier.errors import ConfigurationError, InferenceFailed
from verifier.pipeline.intake import decode

SIZES: Final = ((640, 480), (480, 640), (1280, 720), (320, 240))
"""Widths and heights that take turns."""
SETTLED: Final = 2 / 3
"""Share of the checks before the slope is looked at."""
BLOCKS: Final = 8
"""Blocks of neighbouring points, whose means make the line."""
SLOPE_KB: Final = 25.0
"""Growth per 1 000 checks up to which memory counts as level: half a megabyte in 20 000."""
BATCHES: Final = (1, 1, 1, 5, 8)
"""Frames of one batch of whole checks, in turn."""
STREAMS: Final = ("tracked", "presence", "identity", "check", "no_face", "too_dark")
"""Kinds of a stream's work (`kinds`): after each batch of whole checks one of them, in turn."""
PAGE_KB: Final = 4.0
"""Resident memory is counted in pages of this size."""
SAMPLES: Final = 200
"""Points of the curve at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Growth over checks, by least squares through the means of blocks."""

    kb_per_1000: float
    error_kb_per_1000: float
    """Standard error, from how far the means lie off the line."""


def run(job: Job, tell: Tell) -> Found:
    """Check as often as there is time for, and watch the memory."""
    return measure(job, tell, checks=job.count(200, 2_400))


def measure(job: Job, tell: Tell, *, checks: int) -> Found:
    """Do `checks` checks on one worker and give memory and its slope."""
    before_mb = resident_mb()
    tell(0.0, "loading")
    bench = bench_of(job)
    loaded_mb = resident_mb()
    frames = cycle(_resized(bench))
    batches = cycle(BATCHES)
    streams = _of_streams(bench)
    curve = Curve(checks)
    done = 0
    while done < checks:
        size = min(next(batches), checks - done)
        bench.check([next(frames) for _ in range(size)])
        next(streams)(done, size)
        done += size
        if curve.wants(done):
            gc.collect()
            curve.add(done, resident_mb())
            tell(done / checks, "checks")
    points = curve.points
    settled = [point for point in points if point[0] >= SETTLED * checks]
    slope = slope_of(settled)
    after_mb = points[-1][1]
    return Found(
        metrics=[
            Metric(
                name="memory.worker_mb",
                value=after_mb,
                unit="MB",
                better="lower",
                about=f"resident memory of a worker after {checks} checks, pack {job.pack}",
                # Of this one worker; how others differ was not measured.
                error=max(float(np.std([mb for _, mb in settled])), PAGE_KB / 1_024),
            ),
            Metric(
                name="memory.slope_kb_per_1000",
                value=slope.kb_per_1000,
                unit="kB",
                better="lower",
                about="growth per 1000 checks, over the last third",
                error=slope.error_kb_per_1000,
            ),
        ],
        detail={
            "pack": job.pack,
            "checks": checks,
            "before_mb": before_mb,
            "loaded_mb": loaded_mb,
            "after_mb": after_mb,
            "peak_mb": max(mb for _, mb in points),
            "slope_kb_per_1000": slope.kb_per_1000,
            "slope_error_kb_per_1000": slope.error_kb_per_1000,
            "curve": [[number, round(mb, 2)] for number, mb in points],
        },
    )


class Curve:
    """Memory over checks, in room taken beforehand: what measures must not grow itself."""

    def __init__(self, checks: int) -> None:
        self._every = math.ceil(checks / SAMPLES)
        self._rows = np.zeros((SAMPLES, 2))
        self._count = 0

    @property
    def points(self) -> list[tuple[int, float]]:
        """Checks done and MB, in order."""
        return [(int(number), float(mb)) for number, mb in self._rows[: self._count]]

    def wants(self, done: int) -> bool:
        """Tell whether it is time for a point."""
        last = self._rows[self._count - 1, 0] if self._count else 0
        return bool(done - last >= self._every)

    def add(self, done: int, mb: float) -> None:
        """Note a point."""
        self._rows[self._count] = done, mb
        self._count += 1


def resident_mb() -> float:
    """Give the resident memory of this process. Raises ConfigurationError where it is not told."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        raise ConfigurationError(
            "This system does not tell the memory of a process.", remedy="Measure it on Linux."
        )
    return int(path.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope_of(points: Sequence[tuple[int, float]]) -> Slope:
    """Fit MB over checks with a line. Raises InferenceFailed for fewer than three points."""
    if len(points) < 3:
        raise InferenceFailed(f"{len(points)} points make no line: do more checks.")
    blocks = np.array_split(np.array(points, dtype=np.float64), min(BLOCKS, len(points)))
    x, y = np.array([block.mean(axis=0) for block in blocks]).T
    x = x - x.mean()
    spread = float((x * x).sum())
    slope = float((x * y).sum()) / spread
    rest = y - y.mean() - slope * x
    error = math.sqrt(float((rest * rest).sum()) / (len(blocks) - 2) / spread)
    per = 1_000 * 1_024  # MB per check to kB per 1000 checks
    page = PAGE_KB / (points[-1][0] - points[0][0]) * 1_000
    return Slope(kb_per_1000=slope * per, error_kb_per_1000=max(error * per, page))


def _of_streams(bench: Bench) -> Iterator[Callable[[int, int], object]]:
    """Give a stream's kinds of work, round and round; each takes its first turn and how many."""
    kinds = kinds_of(bench)

    def turns(name: str) -> Callable[[int, int], object]:
        work, of_several = kinds[name], name == "check"
        return lambda first, size: work(range(first, first + (1 if of_several else size)))

    return cycle([turns(name) for name in STREAMS])


def _resized(bench: Bench) -> list[bytes]:
    """Give every frame in every size, re-encoded; neighbours differ in size."""
    resized = []
    jpegs = list(bench.jpegs)
    for number, jpeg in enumerate(jpegs * len(SIZES)):
        size = SIZES[(number + number // len(jpegs)) % len(SIZES)]
        picture = cv2.resize(decode(jpeg).pixels, size, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
        if not done:
            raise InferenceFailed("A frame of the benchmark could not be encoded.")
        resized.append(bytes(data))
    return resized


def main(argv: Sequence[str] | None = None) -> int:
    """Run alone and print the result as JSON; the exit code is 1 beyond the limits given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--pack", default="open")
    parser.add_argument("--faces", type=Path, default=None, help="folder of the photographs")
    parser.add_argument("--checks", type=int, default=20_000)
    parser.add_argument("--max-mb", type=float, default=600.0)
    parser.add_argument(
        "--max-slope-kb", type=float, default=SLOPE_KB, help="per 1 000 checks, of the last third"
    )
    given = parser.parse_args(argv)
    job = Job(pack=given.pack, faces=find_faces(given.faces))

    def tell(share: float, _: str) -> None:
        sys.stderr.write(f"\r{share:5.1%} of {given.checks} checks, {resident_mb():.0f} MB ")

    found = measure(job, tell, checks=given.checks)
    sys.stderr.write("\n")
    sys.stdout.write(json.dumps(found.detail) + "\n")
    held = found.detail["peak_mb"] <= given.max_mb
    return 0 if held and found.detail["slope_kb_per_1000"] <= given.max_slope_kb else 1


if __name__ == "__main__":
    sys.exit(main())
