"""The HTTP service under load: the real one, for a moment."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from benchmarks.frames import arms_length_frames
from benchmarks.job import Job
from benchmarks.service import bodies_for, load, orders_for, serving
from verifier.errors import InferenceFailed


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_the_service_answers_all_clients(
    faces_dir: Path, pack_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benren serve` starts, enrols, answers, is measured, and is gone afterwards."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    jpegs = [sample.jpeg for sample in arms_length_frames(faces_dir)[:3]]
    with serving(Job(pack="open", faces=faces_dir, quick=True)) as server:
        bodies = bodies_for(server, jpegs, tmp_path)
        assert len(bodies) == 3
        report = load(orders_for(server, bodies, 1.0))
        used = server.cpu_s()
    assert len(report.latencies_ms) >= 1
    assert report.statuses == {"200": len(report.latencies_ms)}
    assert used is not None
    assert used > 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False)


@pytest.mark.slow
def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What it wrote before it ended is in the message."""
    job = Job(pack="no-such-pack", faces=tmp_path)
    with pytest.raises(InferenceFailed, match="no-such-pack"), serving(job):
        pytest.fail("it started")
