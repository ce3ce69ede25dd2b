"""Taking time: medians, percentiles, noise, turns."""

from __future__ import annotations

import pytest

from benchmarks.timing import Metric, clocked, interleaved, noise, percentiles, quantile, until


def test_every_round_runs_everybody_once_and_begins_elsewhere() -> None:
    """Systems take turns, and none is always the first."""
    runs = {name: (lambda: None) for name in ("a", "b", "c")}
    order = [name for name, _ in interleaved(runs, 4)]
    assert [order[i : i + 3] for i in range(0, 12, 3)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_work_is_done_and_clocked() -> None:
    """The clock runs while work is done, and the work is really done."""
    done: list[int] = []
    took = clocked(lambda: done.append(sum(range(20_000))))
    assert len(done) == 1
    assert took.wall_ms > 0
    assert took.cpu_ms >= 0


def test_repeating_ends_and_happens_at_least_once() -> None:
    """Even no time at all is one repetition."""
    assert len(until(0.0, lambda: None)) >= 1


def test_percentiles_are_values_that_occurred() -> None:
    """p99 of a hundred values is the largest, p50 the middle."""
    values = [float(n) for n in range(1, 101)]
    assert percentiles(values) == {"p50": 50.5, "p95": 96.0, "p99": 100.0, "n": 100}
    assert quantile([3.0], 0.99) == 3.0


def test_noise_grows_with_spread_and_shrinks_with_rounds() -> None:
    """The standard error of a median: none without spread, less with more rounds."""
    few, many = [9.0, 10.0, 11.0], [9.0, 10.0, 11.0] * 12
    assert noise([10.0] * 5) == 0.0
    assert noise([1.0, 2.0]) == 0.0
    assert noise(few) == pytest.approx(1.253 * 1.4826 / 3**0.5)
    assert 0 < noise(many) < noise(few)


def test_one_wild_round_is_not_noise() -> None:
    """A single disturbed round does not make the others look uncertain."""
    assert noise([10.0, 10.1, 9.9, 10.0, 90.0]) < 0.1


def test_a_metric_is_plain_json() -> None:
    """What is compared later is all there."""
    metric = Metric(
        name="a.b", value=1.5, unit="ms", better="lower", about="it", rounds=(1.0, 2.0), error=0.1
    )
    assert metric.to_json() == {
        "name": "a.b",
        "value": 1.5,
        "unit": "ms",
        "better": "lower",
        "about": "it",
        "rounds": [1.0, 2.0],
        "error": 0.1,
        "relative": False,
    }
