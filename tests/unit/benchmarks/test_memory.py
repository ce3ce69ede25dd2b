"""Memory of a worker: the line through the points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.job import Job
from benchmarks.memory import SAMPLES, Curve, resident_mb, slope_of
from verifier.errors import InferenceFailed


def test_growth_is_found_and_told_per_thousand() -> None:
    """One MB per thousand checks is 1024 kB per thousand checks, without doubt on a line."""
    slope = slope_of([(n, 100 + n / 1_000) for n in range(0, 5_000, 100)])
    assert slope.kb_per_1000 == pytest.approx(1_024)
    assert slope.error_kb_per_1000 == pytest.approx(0, abs=1e-6)


def test_a_level_that_wobbles_has_no_slope() -> None:
    """Noise about a level is within its own error."""
    noise = np.random.default_rng(1).normal(0, 0.5, 100)
    slope = slope_of([(100 * n, 100 + mb) for n, mb in enumerate(noise)])
    assert 0 < abs(slope.kb_per_1000) < 3 * slope.error_kb_per_1000


def test_neighbours_that_resemble_each_other_are_no_proof() -> None:
    """Steps that last for a while make the error larger than as many free points would."""
    steps = np.random.default_rng(1).normal(0, 0.5, 10)
    wander = [(10 * n, 100 + steps[n // 10]) for n in range(100)]
    mixed = np.random.default_rng(2).permutation([mb for _, mb in wander])
    free = slope_of([(n, mb) for (n, _), mb in zip(wander, mixed, strict=True)])
    assert slope_of(wander).error_kb_per_1000 > 1.5 * free.error_kb_per_1000


class Settling:
    """A worker that grows for two thirds of its life, and then by a given slope."""

    def __init__(self, kb_per_1000: float) -> None:
        self.checks = 0
        self.kb_per_1000 = kb_per_1000
        self.jpegs = [b"jpeg"]

    def check(self, jpegs: list[bytes]) -> None:
        """Count."""
        self.checks += len(jpegs)

    def mb(self) -> float:
        """What it holds, and a little that differs from time to time."""
        after = max(self.checks - 1_500, 0)
        grown = 60 * min(self.checks / 1_500, 1.0) + after * self.kb_per_1000 / 1_024 / 1_000
        return 400 + grown + 0.001 * (self.checks % 7)


@pytest.mark.parametrize(("kb", "code"), [(0.0, 0), (24.0, 0), (27.0, 1), (400.0, 1)])
def test_what_grows_at_first_and_then_stays_is_level(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kb: float, code: int
) -> None:
    """Settling is no slope; beyond 25 kB per 1 000 checks the run fails."""
    worker, collected = Settling(kb), []
    monkeypatch.setattr(memory, "bench_of", lambda job: worker)
    monkeypatch.setattr(memory, "_resized", lambda bench: bench.jpegs)
    monkeypatch.setattr(memory, "resident_mb", worker.mb)
    monkeypatch.setattr(memory, "find_faces", lambda given: tmp_path)
    monkeypatch.setattr(memory.gc, "collect", lambda: collected.append(worker.checks))
    job = Job(pack="open", faces=tmp_path)
    found = memory.measure(job, lambda *_: None, checks=2_400)
    assert found.detail["slope_kb_per_1000"] == pytest.approx(kb, abs=2.0)
    assert [number for number, _ in found.detail["curve"]] == collected
    (slope,) = (one for one in found.metrics if one.name == "memory.slope_kb_per_1000")
    assert slope.better == "lower"
    worker.checks = 0
    assert memory.main(["--checks", "2400"]) == code


@pytest.mark.parametrize("checks", [1, 150, 399, 401, 20_000])
def test_the_curve_has_a_bound(checks: int) -> None:
    """However many checks there are, and in whatever batches, points fit into their room."""
    curve = Curve(checks)
    for done in range(1, checks + 1):
        if curve.wants(done):
            curve.add(done, 100.0)
    assert min(checks, SAMPLES // 2) <= len(curve.points) <= SAMPLES


def test_two_points_are_no_line() -> None:
    """The remedy is to measure longer."""
    with pytest.raises(InferenceFailed, match="more checks"):
        slope_of([(1, 2.0), (2, 3.0)])


def test_this_process_has_memory() -> None:
    """Python and numpy alone take some megabytes."""
    assert 10 < resident_mb() < 100_000
