"""Memory of a worker: the line through the points."""

from __future__ import annotations

from itertools import repeat
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
    assert slope.error_kb_per_1000 == pytest.approx(4 / 4.9), "one page over 4 900 checks"


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
    worker, collected, streamed = Settling(kb), [], []
    monkeypatch.setattr(
        memory, "_of_streams", lambda bench: repeat(lambda *turns: streamed.append(turns))
    )
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
    assert streamed[:3] == [(0, 1), (1, 1), (2, 1)]
    assert sum(size for _, size in streamed) == 2_400
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


def test_a_level_line_is_no_surer_than_a_page() -> None:
    """Memory that did not move over 800 checks may have grown by a page."""
    assert slope_of([(n, 400.0) for n in range(0, 801, 10)]).error_kb_per_1000 == 5.0


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_the_work_of_streams_is_in_the_mix(
    pack_dir: Path, faces_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between whole checks every kind is done, glances and looks through the batcher's own runs."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    done: list[str] = []
    kinds = memory.kinds_of

    def noted(bench: memory.Bench) -> dict[str, object]:
        return {
            name: lambda turns, n=name, w=work: (done.append(n), w(turns))
            for name, work in kinds(bench).items()
        }

    monkeypatch.setattr(memory, "kinds_of", noted)
    found = memory.measure(Job(pack="open", faces=faces_dir), lambda *_: None, checks=40)
    assert set(done) == set(memory.STREAMS)
    assert found.detail["checks"] == 40


def test_two_points_are_no_line() -> None:
    """The remedy is to measure longer."""
    with pytest.raises(InferenceFailed, match="more checks"):
        slope_of([(1, 2.0), (2, 3.0)])


def test_this_process_has_memory() -> None:
    """Python and numpy alone take some megabytes."""
    assert 10 < resident_mb() < 100_000
