"""Error rates as a section: their errors stand on persons."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import error_rates
from benchmarks.accuracy import Counts
from benchmarks.error_rates import matching, standard_error
from benchmarks.job import Job


def test_the_error_of_a_rate_is_never_nothing() -> None:
    """Without an error among ten persons the next one may have one."""
    assert standard_error(0.0, 10) == pytest.approx((2 / 14 * 12 / 14 / 14) ** 0.5)
    assert standard_error(0.0, 10_000) < 0.001


def test_ten_persons_make_no_thousand_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 500 impostor pairs of ten persons are five independent comparisons."""
    counts = Counts("lfw10", genuine=450, genuine_match=447, impostor=4_500)
    counts.genuine_persons = counts.impostor_persons = {f"person {n}" for n in range(10)}
    profile = SimpleNamespace(version="p", for_embedder=lambda name: SimpleNamespace(threshold=0.4))
    engine = SimpleNamespace(models={"embedder": "net@1"}, profile=profile)
    monkeypatch.setattr(error_rates, "_engine", lambda job: engine)
    monkeypatch.setattr(error_rates, "SETS", ("lfw10",))
    monkeypatch.setattr(error_rates.accuracy, "run", lambda *_: [counts])
    found = matching(Job(pack="open", faces=Path()), lambda *_: None)
    errors = {metric.name: metric.error for metric in found.metrics}
    assert errors["accuracy.lfw10.fmr"] == pytest.approx(standard_error(0.0, 5))
    assert errors["accuracy.lfw10.fnmr"] == pytest.approx(standard_error(3 / 450, 10))
    assert found.detail["rows"][0]["fmr_upper_95"] == pytest.approx(3 / 5)
