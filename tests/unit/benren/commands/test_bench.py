"""`benren bench`: every name leads to a benchmark that takes its own options."""

from __future__ import annotations

import importlib
import json

import pytest
from typer.testing import CliRunner

from benren.cli import app
from benren.commands.bench import BENCHMARKS


@pytest.mark.parametrize("what", sorted(BENCHMARKS))
def test_every_benchmark_can_be_called(what: str) -> None:
    """Each name has a module with a `main`."""
    assert callable(importlib.import_module(f"benchmarks.{BENCHMARKS[what][0]}").main)


def test_unknown_benchmark_is_wrong_usage() -> None:
    """An unknown name ends with 2 and lists the known ones."""
    result = CliRunner().invoke(app, ["bench", "nonsense"])
    assert result.exit_code == 2
    assert "latency" in result.stderr


@pytest.mark.models
@pytest.mark.slow
def test_latency_measures_every_stage(pack_dir: object) -> None:
    """One JSON line per stage, batch and number of workers, with sane values."""
    result = CliRunner().invoke(app, ["bench", "latency", "--rounds", "2", "--json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["what"] for row in rows} == {"decode", "presence", "identity"}
    for row in rows:
        assert 0 < row["median_ms"] <= row["p95_ms"] * 1.001 + 0.01
        assert row["frames_per_s"] > 0
