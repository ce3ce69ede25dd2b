"""Reckoning learners from rates of work."""

from __future__ import annotations

import pytest

from benchmarks.capacity import credited_learners, simple_learners


def test_the_simple_rate_is_ten_seconds_of_work() -> None:
    """50 checks a second serve 500 learners who are checked every ten seconds."""
    assert simple_learners({"whole": 50.0}) == 500


def test_a_learner_costs_the_sum_of_his_kinds() -> None:
    """Only presence: 5 s of it. With identity and checks there are fewer."""
    endless = {"presence": 100.0, "tracked": 100.0, "identity": 1e12, "check": 1e12}
    assert credited_learners(endless) == pytest.approx(500)
    real = {"presence": 100.0, "tracked": 200.0, "identity": 100.0, "check": 20.0}
    samples = 1 / 6 / 5 / 100 + 5 / 6 / 5 / 200
    expected = 1 / (samples + 1 / 30 / 100 + 1 / 360 / 20)
    assert credited_learners(real) == pytest.approx(expected)
    assert credited_learners(real) > credited_learners(real | {"tracked": 100.0})
