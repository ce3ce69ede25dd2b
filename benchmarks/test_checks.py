"""Micro-benchmarks of whole checks and of what a stream asks for: ``pytest benchmarks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.kinds import WORDS, kinds_of
from benchmarks.latency import Bench
from benchmarks.throughput import BATCHES

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = [pytest.mark.models, pytest.mark.faces]


@pytest.mark.parametrize("size", BATCHES)
def test_whole_checks(benchmark: BenchmarkFixture, bench: Bench, size: int) -> None:
    """Check a batch of frames, from JPEG to verdict."""
    benchmark(bench.check, bench.batch(0, size))


@pytest.mark.parametrize("kind", WORDS)
def test_kinds_of_work(benchmark: BenchmarkFixture, bench: Bench, kind: str) -> None:
    """Do one piece of each kind of work that a learner causes."""
    benchmark(kinds_of(bench)[kind], [0])
