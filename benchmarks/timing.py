"""How benchmarks take time: wall and processor side by side, in rounds that take turns.

A median over rounds that take turns forgives a machine that is busy now and then; the processor
time beside it tells when it was busy all along, and then no number of the run is worth much.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal, TypeAlias

from verifier.clock import work_time_ms

Better: TypeAlias = Literal["lower", "higher", "neither"]
Json: TypeAlias = dict[str, Any]
"""What goes into the run's JSON file."""

LEAST_ROUNDS: Final = 4
"""Of three rounds the median deviation is the smaller of two gaps, of two it is nothing: what
differs between runs of so few rounds cannot be told from chance."""
FEW: Final = 100
"""Of so many values or fewer the 99th percentile is the greatest."""
NORMAL_MAD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a run, with what is needed to compare it with that of another run."""

    name: str
    """Dotted, stable over versions: ``check.edgeface.wall_ms``."""
    value: float
    unit: str
    """As people read it: ms, /s, MB, x, %, ..."""
    better: Better
    about: str
    """In words, for people."""
    rounds: tuple[float, ...] = ()
    """The values of the single rounds; their spread is the noise."""
    error: float = 0.0
    """Standard error of `value`, where it is known otherwise than from rounds."""
    exact: bool = False
    """Whether the same code gives the same value again: a count, not a measurement."""
    relative: bool = False
    """A ratio or a rate, which may be compared across machines."""

    def to_json(self) -> Json:
        """Give what the run's file holds."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "better": self.better,
            "about": self.about,
            "rounds": list(self.rounds),
            "error": self.error,
            "exact": self.exact,
            "relative": self.relative,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """What one piece of work took."""

    wall_ms: float
    cpu_ms: float
    """Of all threads of this process."""


def clocked(work: Callable[[], object]) -> Clocked:
    """Do `work` once and say what it took."""
    cpu_s, wall_ms = time.process_time(), work_time_ms()
    work()
    return Clocked(wall_ms=work_time_ms() - wall_ms, cpu_ms=(time.process_time() - cpu_s) * 1_000)


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int
) -> Iterator[tuple[str, Clocked]]:
    """Run each of `runs` once per round, and begin every round with another one."""
    names = list(runs)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            yield name, clocked(runs[name])


def until(seconds: float, work: Callable[[], object]) -> list[Clocked]:
    """Repeat `work` for `seconds`, at least once."""
    end_ms = work_time_ms() + seconds * 1_000
    done = [clocked(work)]
    while work_time_ms() < end_ms:
        done.append(clocked(work))
    return done


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value below which `share` of the values lie (the nearest one of them)."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def percentiles(values: Sequence[float]) -> Json:
    """Give p50, p95 and p99, and of how many values."""
    return {
        "p50": median(values),
        "p95": quantile(values, 0.95),
        "p99": quantile(values, 0.99),
        "n": len(values),
    }


def noise(values: Sequence[float]) -> float | None:
    """Estimate the standard error of the median of `values`; None of fewer than `LEAST_ROUNDS`."""
    if len(values) < LEAST_ROUNDS:
        return None
    middle = median(values)
    deviation = NORMAL_MAD * median(abs(value - middle) for value in values)
    # The median of a normal sample is 1.253 times as uncertain as its mean.
    return float(1.253 * deviation / len(values) ** 0.5)


def pin_to_one_core() -> int | None:
    """Bind this process to one of the processors granted to it; None where that is not possible."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


@contextmanager
def told_on_stderr() -> Iterator[Callable[[float, str], None]]:
    """Give what writes the share that is done, and a word, over one line of stderr."""

    def tell(share: float, what: str) -> None:
        sys.stderr.write(f"\r{share:4.0%} {what:<60.60}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\n")
