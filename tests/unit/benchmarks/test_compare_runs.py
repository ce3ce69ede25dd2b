"""Comparing runs: what counts as worse, what is noise, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare_runs import Change, compare, read_run
from verifier.errors import BadRequest


def _metric(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "ms",
        "better": "lower",
        "about": "words",
        "rounds": [value] * 5,
        "error": 0.0,
        "relative": False,
    } | more


def _run(*metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "pack": "open",
        "provider": "cpu",
        "quick": False,
        "machine": {"cpu": "a", "granted_processors": 2, "isa": ["avx2"]},
        "sections": {"one": {"metrics": list(metrics)}},
    } | more


def _change(before: dict[str, Any], after: dict[str, Any]) -> Change:
    (row,) = compare(_run(before), _run(after)).rows
    return row.change


def test_slower_beyond_the_threshold_is_a_regression() -> None:
    """6 % slower is one at a threshold of 5 %, 4 % is not."""
    assert _change(_metric("a", 100), _metric("a", 106)) is Change.REGRESSION
    assert _change(_metric("a", 100), _metric("a", 104)) is Change.SAME
    assert _change(_metric("a", 100), _metric("a", 90)) is Change.IMPROVEMENT


def test_for_throughput_less_is_worse() -> None:
    """The direction belongs to the metric."""
    fast, slow = _metric("a", 100, better="higher"), _metric("a", 80, better="higher")
    assert _change(fast, slow) is Change.REGRESSION
    assert _change(slow, fast) is Change.IMPROVEMENT


def test_what_lies_within_the_noise_of_the_rounds_is_no_regression() -> None:
    """20 % slower between rounds that differ by a half says nothing; between steady ones, much."""
    wild, steady = [60.0, 100.0, 140.0, 100.0, 60.0], [99.5, 100.0, 100.5, 100.0, 99.5]
    after = [value * 1.2 for value in wild]
    assert _change(_metric("a", 100, rounds=wild), _metric("a", 120, rounds=after)) is Change.SAME
    after = [value * 1.2 for value in steady]
    assert (
        _change(_metric("a", 100, rounds=steady), _metric("a", 120, rounds=after))
        is Change.REGRESSION
    )


@pytest.mark.parametrize("rounds", [[], [100.0], [99.0, 101.0], [99.9, 100.0, 101.0]])
def test_where_the_noise_is_unknown_nothing_is_compared(rounds: list[float]) -> None:
    """A quick run with two rounds, or a value without an error: 50 % slower proves nothing."""
    slow = _metric("a", 150, rounds=[value * 1.5 for value in rounds])
    fast = _metric("a", 100, rounds=rounds)
    assert _change(fast, slow) is Change.NOT_COMPARED
    assert _change(_metric("a", 100), slow) is Change.NOT_COMPARED


def test_a_count_needs_no_rounds() -> None:
    """The same code gives the same count: every change beyond the threshold is one."""
    before = _metric("flops", 100, rounds=[], exact=True)
    assert _change(before, _metric("flops", 106, rounds=[], exact=True)) is Change.REGRESSION


def test_a_section_that_failed_later_is_told() -> None:
    """Its metrics are gone, and the comparison says why."""
    after = _run(failed={"one": "One: killed for memory"})
    after["sections"] = {}
    comparison = compare(_run(_metric("a", 1)), after)
    assert [row.change for row in comparison.rows] == [Change.GONE]
    assert comparison.to_json()["failed"] == {"one": "One: killed for memory"}


def test_the_error_of_a_rate_is_noise_too() -> None:
    """One more false rejection among a hundred pairs is chance."""
    before, after = _metric("fnmr", 0.01, error=0.015), _metric("fnmr", 0.02, error=0.018)
    assert _change(before, after) is Change.SAME


def test_an_error_rate_that_was_zero_and_is_no_more() -> None:
    """Worse by any measure, and JSON without infinity."""
    comparison = compare(_run(_metric("fmr", 0.0)), _run(_metric("fmr", 0.01)))
    assert [row.change for row in comparison.rows] == [Change.REGRESSION]
    assert "Infinity" not in json.dumps(comparison.to_json())


def test_metrics_that_come_and_go_are_told_and_do_not_fail() -> None:
    """A section that did not run is no regression, and is not passed over either."""
    comparison = compare(_run(_metric("a", 1)), _run(_metric("b", 1)))
    assert {row.name: row.change for row in comparison.rows} == {"a": Change.GONE, "b": Change.NEW}
    assert comparison.regressions == []


def test_another_machine_is_compared_by_ratios_only() -> None:
    """Milliseconds of two machines say nothing about the code; a speed-up over a peer does."""
    ratio = {"better": "higher", "relative": True}
    before = _run(_metric("ms", 10), _metric("ratio", 4.0, **ratio))
    after = _run(
        _metric("ms", 20),
        _metric("ratio", 3.0, **ratio),
        machine={"cpu": "b", "granted_processors": 2, "isa": ["avx2"]},
    )
    comparison = compare(before, after)
    assert comparison.differences == ["cpu: a before, b after"]
    changes = {row.name: row.change for row in comparison.rows}
    assert changes == {"ms": Change.NOT_COMPARED, "ratio": Change.REGRESSION}


def test_what_has_no_better_direction_is_not_judged() -> None:
    """The peak of a core is a fact, no achievement."""
    before, after = _metric("peak", 100, better="neither"), _metric("peak", 50, better="neither")
    assert _change(before, after) is Change.NOT_COMPARED


def test_a_negative_threshold_is_refused() -> None:
    """The message shows what is meant."""
    with pytest.raises(BadRequest, match=r"0\.05"):
        compare(_run(), _run(), threshold=-1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', "\x00"])
def test_files_that_are_no_run_are_refused(tmp_path: Path, text: str) -> None:
    """A clear message, no traceback."""
    path = tmp_path / "bench.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=r"bench\.json"):
        read_run(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(BadRequest, match="nowhere"):
        read_run(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("after", "error", "expected"),
    [(0.5, 0.4, Change.SAME), (0.5, 0.01, Change.REGRESSION), (-0.5, 0.01, Change.IMPROVEMENT)],
)
def test_of_nothing_only_what_is_beyond_its_error_is_a_change(
    after: float, error: float, expected: Change
) -> None:
    """A slope of memory of exactly 0 and one of half a kilobyte, plus or minus as much."""
    assert _change(_metric("slope", 0.0), _metric("slope", after, error=error)) is expected
