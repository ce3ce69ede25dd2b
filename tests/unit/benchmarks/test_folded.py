"""What normalising inside the graphs is worth: one row per network and batch size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import folded
from verifier.models.manifest import bundled_manifest


@pytest.mark.models
def test_every_network_is_measured_both_ways(
    pack_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the pack, in both batch sizes, with times of one row and their ratio."""
    monkeypatch.setenv("BENREN_MODELS", str(pack_dir))
    monkeypatch.setattr(folded, "pin_to_one_core", lambda: None)
    assert folded.main(["--pack", "edgeface", "--rounds", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    members = bundled_manifest().pack("edgeface").members
    assert [(row["network"], row["batch"]) for row in rows] == [
        (name, batch) for name in members for batch in folded.BATCHES
    ]
    assert all(row["numbers_ms"] > 0 and row["bytes_ms"] > 0 and row["ratio"] > 0 for row in rows)
