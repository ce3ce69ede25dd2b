"""Micro-benchmarks of the stages, with pytest-benchmark: ``pytest benchmarks/test_stages.py``.

They time, they do not test: no number here fails a build. `benren bench` tells what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.latency import Bench
from verifier.models.embedder import ARCFACE_TEMPLATE
from verifier.pipeline.align import align
from verifier.pipeline.intake import decode
from verifier.types import Face, Frame

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = [pytest.mark.models, pytest.mark.faces]


def test_decode(benchmark: BenchmarkFixture, bench: Bench) -> None:
    """Decode a VGA JPEG."""
    benchmark(decode, bench.jpegs[0])


def test_detect(benchmark: BenchmarkFixture, bench: Bench, frame: Frame) -> None:
    """Find the faces of a frame."""
    benchmark(bench.engine.detect, [frame])


def test_align(benchmark: BenchmarkFixture, frame: Frame, face: Face) -> None:
    """Warp a face to the ArcFace template."""
    template = np.asarray(ARCFACE_TEMPLATE, dtype=np.float32)
    benchmark(align, [frame], [face], template, 112)


def test_quality(benchmark: BenchmarkFixture, bench: Bench, frame: Frame, face: Face) -> None:
    """Align and measure a face that is known."""
    benchmark(bench.engine.assess, [frame], faces=[(face,)], liveness=False, embed=False)


def test_embed(benchmark: BenchmarkFixture, bench: Bench, frame: Frame, face: Face) -> None:
    """Align, measure and embed a face that is known."""
    benchmark(bench.engine.assess, [frame], faces=[(face,)], liveness=False)


def test_liveness(benchmark: BenchmarkFixture, bench: Bench, frame: Frame, face: Face) -> None:
    """Align and measure a face that is known, and judge its liveness."""
    benchmark(bench.engine.assess, [frame], faces=[(face,)], embed=False)


def test_decide(benchmark: BenchmarkFixture, bench: Bench, frame: Frame) -> None:
    """Decide over the evidence of five frames."""
    evidence = bench.engine.assess([frame] * 5, references=[bench.reference] * 5)
    benchmark(bench.engine.judge, evidence, bench.reference)
