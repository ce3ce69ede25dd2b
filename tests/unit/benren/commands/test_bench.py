"""`benren bench`: what it passes on, what it prints, how it ends."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from benchmarks import stages
from benren.cli import app
from benren.commands.bench import PARTS
from verifier.errors import ProviderUnavailable
from verifier.models.backend import GPU, Provider


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_can_be_called(part: str) -> None:
    """Each name has a module with a `main`, and stands in the help."""
    assert callable(importlib.import_module(f"benchmarks.{PARTS[part][0]}").main)
    assert part in CliRunner().invoke(app, ["bench", "--help"]).stdout


def test_unknown_part_is_wrong_usage() -> None:
    """An unknown name ends with 2 and is named."""
    result = CliRunner().invoke(app, ["bench", "nonsense"])
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


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


@pytest.mark.parametrize("provider", get_args(Provider))
def test_latency_takes_every_provider_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """With one thread for each worker on a CPU, whatever computes there."""
    asked: list[tuple[str, int | None]] = []

    def runtime(name: str, *, threads: int | None) -> None:
        asked.append((name, threads))
        raise ProviderUnavailable("not here")

    monkeypatch.setattr(stages, "Runtime", runtime)
    with pytest.raises(ProviderUnavailable):
        stages.main(["--provider", provider])
    assert asked == [(provider, None if provider in GPU else 1)]


def _run(path: Path, value: float) -> Path:
    metric: dict[str, Any] = {
        "name": "check.ms",
        "value": value,
        "unit": "ms",
        "better": "lower",
        "about": "a whole check",
        "rounds": [value] * 4,
        "error": 0.0,
        "relative": False,
    }
    record = {
        "schema": 1,
        "pack": "open",
        "provider": "cpu",
        "quick": False,
        "machine": {"cpu": "x", "granted_processors": 2, "isa": []},
        "sections": {"stages": {"metrics": [metric]}},
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def test_a_regression_ends_with_1_and_is_named(tmp_path: Path) -> None:
    """Slower by half: named, with both values; the other way round all is well."""
    fast, slow = _run(tmp_path / "a.json", 10.0), _run(tmp_path / "b.json", 15.0)
    worse = CliRunner().invoke(app, ["bench", "compare", str(fast), str(slow)])
    assert worse.exit_code == 1
    assert "regression   check.ms: 10 -> 15 ms, worse by 50.0%" in worse.stdout
    better = CliRunner().invoke(app, ["bench", "compare", str(slow), str(fast)])
    assert better.exit_code == 0
    assert "improvement" in better.stdout


def test_the_threshold_is_the_operators(tmp_path: Path) -> None:
    """A change of a half within a threshold of 60 % is none; --all shows it all the same."""
    fast, slow = _run(tmp_path / "a.json", 10.0), _run(tmp_path / "b.json", 15.0)
    call = ["bench", "compare", str(fast), str(slow), "--threshold", "0.6"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0
    assert "check.ms" not in result.stdout
    assert "same         check.ms" in CliRunner().invoke(app, [*call, "--all"]).stdout


def test_a_comparison_prints_json_lines(tmp_path: Path) -> None:
    """One object per metric, the last one for the whole."""
    fast, slow = _run(tmp_path / "a.json", 10.0), _run(tmp_path / "b.json", 15.0)
    result = CliRunner().invoke(app, ["bench", "compare", str(fast), str(slow), "--json"])
    assert result.exit_code == 1
    row, whole = (json.loads(line) for line in result.stdout.splitlines())
    assert row["change"] == "regression"
    assert row["worse_by"] == 0.5
    assert whole == {"differences": [], "regressions": 1, "failed": {}}


def test_a_section_that_failed_later_ends_with_1(tmp_path: Path) -> None:
    """Its numbers are gone, which is no good news."""
    before, after = _run(tmp_path / "a.json", 10.0), _run(tmp_path / "b.json", 10.0)
    record = json.loads(after.read_text(encoding="utf-8"))
    after.write_text(json.dumps(record | {"failed": {"service": "Service: it died"}}))
    result = CliRunner().invoke(app, ["bench", "compare", str(before), str(after)])
    assert result.exit_code == 1
    assert "Service: it died" in result.stdout


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_one_section_runs_from_the_command_line(
    tmp_path: Path, faces_dir: Path, pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing in a process of its own: files written, targets told, exit code 0."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    call = ["bench", "--quick", "--section", "stages", "-o", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, [*call, "--faces", str(faces_dir)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["failed"] == {}
    record = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    stages = [row["stage"] for row in record["sections"]["stages"]["detail"]["stages"]]
    assert stages[0] == "decode"
    assert stages[-2:] == ["decide", "rest"]
    assert "Where the time goes" in (tmp_path / "bench.html").read_text(encoding="utf-8")
