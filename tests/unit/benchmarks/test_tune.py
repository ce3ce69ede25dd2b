"""The whole run: options are checked, packs share their liveness networks, suspects are found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.sources import load_dataset
from benchmarks.testing import PaintedEngine, paint, save, save_identities
from benchmarks.tune import Candidate, Options, tune
from verifier.errors import BadRequest, ConfigurationError
from verifier.pipeline.profile import load_profile


def options(**values: object) -> Options:
    """Make options of a small run."""
    given: dict[str, object] = {
        "version": "ours",
        "base": load_profile("provisional-2026-11"),
        "command": "benren tune",
        "made_on": "2026-11-24",
        "replicates": 20,
    }
    return Options(**(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"target_fmr": 0.0},
        {"target_fmr": 0.6},
        {"target_fmr": float("nan")},
        {"target_bpcer": -0.1},
        {"target_bpcer": None},
        {"target_bpcer": 0.05, "target_apcer": 0.05},
    ],
)
def test_targets_that_are_no_rates_are_refused(values: Mapping[str, object]) -> None:
    """A rate of nothing or of more than a half, and two targets for one threshold, mean nothing."""
    with pytest.raises(BadRequest):
        options(**values)


def test_packs_with_different_liveness_networks_are_refused(tmp_path: Path) -> None:
    """One profile has one pair of liveness thresholds."""

    class Other(PaintedEngine):
        @property
        def models(self) -> Mapping[str, str]:
            """Have another liveness network."""
            return {**super().models, "liveness_1": "lacquer@1"}

    save_identities(tmp_path, 4)
    candidates = [Candidate(pack="a", engine=PaintedEngine()), Candidate(pack="b", engine=Other())]
    with pytest.raises(ConfigurationError, match="different liveness networks"):
        tune(load_dataset(tmp_path), candidates, options())


def test_a_picture_under_a_wrong_name_is_the_first_suspect(tmp_path: Path) -> None:
    """A picture of person 3 in the folder of person 5 heads both lists."""
    save_identities(tmp_path, 60, spread=5.0)
    save(paint(3, 9, spread=5.0), tmp_path / "identities/person-0005/stray.png")
    candidate = Candidate(pack="open", engine=PaintedEngine(embedder="edgeface_xs"))
    found = tune(load_dataset(tmp_path), [candidate], options())
    for kind in ("impostor", "genuine"):
        first = next(one for one in found.packs[0].suspects if one.kind == kind)
        assert "identities/person-0005/stray.png" in {first.first, first.second}


def test_presentations_alone_leave_matching_as_it_was(tmp_path: Path) -> None:
    """Without identities there is no matching to study, and none is made up."""
    for n in range(4):
        save(paint(n, live=0.9), tmp_path / f"bonafide/{n}.png")
        save(paint(n, live=0.1), tmp_path / f"attack/print/{n}.png")
    found = tune(
        load_dataset(tmp_path), [Candidate(pack="open", engine=PaintedEngine())], options()
    )
    assert found.packs[0].matching is None
    assert found.packs[0].acquisition == ()
    assert found.liveness is not None
    assert found.liveness.everybody.bpcer.rate == 0.0
