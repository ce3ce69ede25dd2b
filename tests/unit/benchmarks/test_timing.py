"""Taking time: medians, percentiles, noise, turns."""

from __future__ import annotations

import pytest

from benchmarks.timing import (
    FEW,
    Metric,
    clocked,
    interleaved,
    noise,
    percentiles,
    quantile,
    told_on_stderr,
    until,
)


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
    few, many = [9.0, 10.0, 11.0, 10.0, 9.0], [9.0, 10.0, 11.0] * 12
    assert noise([10.0] * 5) == 0.0
    assert noise(few) == pytest.approx(1.253 * 1.4826 / 5**0.5)
    assert 0 < (noise(many) or 0) < (noise(few) or 0)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_of_too_few_rounds_the_noise_is_unknown(rounds: int) -> None:
    """Two say nothing, and of three the smaller gap would pass for the noise."""
    assert noise([10.0, 10.1, 30.0][:rounds]) is None


def test_one_wild_round_is_not_noise() -> None:
    """A single disturbed round does not make the others look uncertain."""
    assert noise([10.0, 10.1, 9.9, 10.0, 90.0]) == pytest.approx(0.083, abs=0.001)


def test_the_99th_percentile_of_few_values_is_the_greatest() -> None:
    """Up to `FEW`, whose report says so; of more it is not."""
    for count, expected in ((51, 50), (FEW, FEW - 1), (FEW + 1, FEW - 1)):
        assert percentiles([float(n) for n in range(count)])["p99"] == expected


def test_progress_is_one_line_of_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """It is written over, ends with the work, and leaves stdout alone."""
    with told_on_stderr() as tell:
        tell(0.0, "loading")
        tell(0.5, "looking")
    said = capsys.readouterr()
    assert said.out == ""
    assert " 50% looking" in said.err
    assert said.err.count("\n") == 1


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
        "exact": False,
        "relative": False,
    }
