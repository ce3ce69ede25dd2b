"""The roof, and what is counted under it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.job import Job
from benchmarks.roofline import Call, Counter, Study, peak_flops, recorded, run
from verifier.models.network import Network
from verifier.models.store import Store


def test_the_roof_is_some_billion_operations() -> None:
    """Between a small board and the largest core there is."""
    assert 1e9 < peak_flops(1) < 1e13


@pytest.mark.models
def test_batches_and_layouts_count_the_same_work(model_store: Store) -> None:
    """Four crops are four times one; colours last is the same network."""
    counter = Counter(model_store)
    one = counter.flops(Call(network="edgeface_xs", shape=(1, 3, 112, 112), ms=1.0))
    assert counter.of("edgeface_xs", (4, 3, 112, 112)) == 4 * one
    assert counter.of("edgeface_xs", (1, 112, 112, 3)) == one


def test_savings_are_reckoned_at_equal_rates_and_for_the_same_evidence() -> None:
    """Presence per 5 s, identity per 30 s, five frames per 6 min; what is looked at costs both."""
    flops = {"presence": 30.0, "tracked": 24.0, "identity": 310.0, "check": 1_550.0}
    study = Study(
        whole_ms=[1.0],
        networks=[],
        flops=flops,
        refine_flops=10.0,
        small_look_flops=60.0,
        full_look_flops=400.0,
    )
    looked = 300 / 30 + 5 * 300 / 360
    assert study.learner["full"] == pytest.approx(400 / 5 + looked)
    assert study.learner["small"] == pytest.approx(60 / 5 + looked)
    assert study.learner["spent"] == pytest.approx(25 / 5 + 310 / 30 + 1_550 / 360)


def test_recording_leaves_the_networks_as_they_were() -> None:
    """Also where the work fails."""
    before = Network.run
    with pytest.raises(RuntimeError, match="broke"), recorded():
        raise RuntimeError("broke")
    assert Network.run is before


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.slow
def test_a_whole_check_is_accounted_for(faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of every role show up, and less work is done where less is asked for."""
    monkeypatch.setattr("benchmarks.roofline.pin_to_one_core", lambda: None)
    found = run(Job(pack="open", faces=faces_dir, quick=True), lambda *_: None)
    names = {row["network"] for row in found.detail["networks"]}
    assert len([name for name in names if name.startswith("minifasnet")]) == 3
    assert "face_reidentification_retail_0095" in names
    work = {row["kind"]: row["mflop"] for row in found.detail["kinds"]}
    assert 0 < work["tracked"] < work["presence"] < work["whole"]
    assert 0 < work["no_face"] < work["whole"]
    assert work["check"] > work["identity"]
    values = {metric.name: metric.value for metric in found.metrics}
    assert 0 < values["roofline.check_share"] < values["roofline.networks_share"] < 1.2
    assert 0.3 < values["roofline.saved_by_small_looks"] < 1
    assert 0 < values["roofline.saved_by_skipping"] < 0.4
    learner = found.detail["learner_mflop_per_s"]
    assert learner["spent"] < learner["small"] < learner["full"]
    assert found.detail["small_look_mflop"] < found.detail["full_look_mflop"] / 2
    assert np.isfinite(list(values.values())).all()
