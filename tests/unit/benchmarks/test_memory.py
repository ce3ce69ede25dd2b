"""Memory of a worker: the line through the points."""

from __future__ import annotations

import pytest

from benchmarks.memory import resident_mb, slope_of
from verifier.errors import InferenceFailed


def test_growth_is_found_and_told_per_thousand() -> None:
    """One MB per thousand checks is 1024 kB per thousand checks, without doubt on a line."""
    slope = slope_of([(n, 100 + n / 1_000) for n in range(0, 5_000, 100)])
    assert slope.kb_per_1000 == pytest.approx(1_024)
    assert slope.error_kb_per_1000 == pytest.approx(0, abs=1e-6)


def test_a_level_that_wobbles_has_no_slope() -> None:
    """Noise about a level is within its own error."""
    points = [(n, 100 + (0.5 if n % 200 else -0.5)) for n in range(0, 10_000, 100)]
    slope = slope_of(points)
    assert abs(slope.kb_per_1000) < 3 * slope.error_kb_per_1000


def test_two_points_are_no_line() -> None:
    """The remedy is to measure longer."""
    with pytest.raises(InferenceFailed, match="more checks"):
        slope_of([(1, 2.0), (2, 3.0)])


def test_this_process_has_memory() -> None:
    """Python and numpy alone take some megabytes."""
    assert 10 < resident_mb() < 100_000
