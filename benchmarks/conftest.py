"""Fixtures of the micro-benchmarks, which `make bench` runs; `make test` does not see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.frames import find_faces
from benchmarks.job import Job
from benchmarks.latency import Bench, bench_of
from verifier.errors import ConfigurationError

if TYPE_CHECKING:
    from verifier.types import Face, Frame

PACKS = ("open", "edgeface")


@pytest.fixture(scope="session", params=PACKS)
def bench(request: pytest.FixtureRequest) -> Bench:
    """Give an engine of each pack with its frames; without photographs there is nothing to time."""
    try:
        faces = find_faces()
    except ConfigurationError as missing:
        pytest.skip(str(missing))
    made = bench_of(Job(pack=str(request.param), faces=faces))
    made.check(made.batch(0, 8))
    return made


@pytest.fixture(scope="session")
def frame(bench: Bench) -> Frame:
    """Give the first frame, decoded."""
    from verifier.pipeline.intake import decode  # noqa: PLC0415

    return decode(bench.jpegs[0])


@pytest.fixture(scope="session")
def face(bench: Bench, frame: Frame) -> Face:
    """Give its largest face."""
    return bench.engine.detect([frame])[0][0]
