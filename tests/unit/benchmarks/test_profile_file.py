"""A tuning becomes a profile that the services load, and the file says the same as the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dataset import DatasetUnusable
from benchmarks.matching import Choice
from benchmarks.metrics import claim
from benchmarks.profile_file import profile_of, rate, said, to_toml, write_profile
from benchmarks.sources import load_dataset
from benchmarks.testing import PaintedEngine, paint, save, save_identities
from benchmarks.tune import Candidate, Options, Tuning, tune
from verifier.pipeline.profile import (
    ThresholdProfile,
    built_in_profiles,
    load_profile,
    parse_profile,
)

BASE = load_profile("provisional-2026-11")


def run(root: Path, *, persons: int, target_fmr: float, embedder: str = "painted") -> Tuning:
    """Tune on painted people whose pictures differ enough to be confused at times."""
    save_identities(root, persons, spread=60.0)
    save(paint(1, 5, live=0.9), root / "bonafide/a.png")
    save(paint(2, 5, live=0.1), root / "attack/print/b.png")
    options = Options(
        version="ours-2026-11",
        base=BASE,
        command="benren tune data -o ours-2026-11.toml",
        made_on="2026-11-24",
        target_fmr=target_fmr,
        replicates=50,
        note='Words of the operator: "quoted", \\ and 中文.',
    )
    candidate = Candidate(pack="open", engine=PaintedEngine(embedder=embedder))
    return tune(load_dataset(root), [candidate], options)


def test_a_located_threshold_brings_its_own_points(tmp_path: Path) -> None:
    """Threshold, points and evidence of the network are those that were measured."""
    tuning = run(tmp_path, persons=120, target_fmr=0.02)
    profile = profile_of(tuning)
    found = tuning.packs[0].matching
    assert found is not None
    own = profile.embedders["painted"]
    assert own.threshold == found.threshold
    assert own.evidence is not None
    assert own.evidence.choice == "located"
    assert own.evidence.fmr_claimed == found.at.claim.claimed
    assert own.fmr_at(own.threshold) == found.at.claim.claimed
    assert own.evidence.report_persons + own.evidence.tuning_persons == 120
    assert all(point.fmr >= 3 / (own.evidence.report_persons // 2) for point in own.points)


def test_what_was_not_measured_stays_as_it_was(tmp_path: Path) -> None:
    """Other networks and the quality limits come from the profile that the run started from."""
    profile = profile_of(run(tmp_path, persons=120, target_fmr=0.02))
    assert profile.quality == BASE.quality
    assert profile.embedders["edgeface_xs"] == BASE.embedders["edgeface_xs"]
    assert profile.provenance is not None
    assert profile.provenance.based_on == BASE.version
    assert profile.provenance.provider == "paper", "the profile says what ran the networks"
    assert (profile.liveness.live_from, profile.liveness.spoof_below) == (0.75, 0.45)
    assert profile.liveness.evidence is not None
    assert "kept" in profile.liveness.evidence.choice


def test_a_kept_threshold_keeps_its_points(tmp_path: Path) -> None:
    """The claims before stand on other data; these persons only add what they saw."""
    tuning = run(tmp_path, persons=24, target_fmr=1e-4, embedder="edgeface_xs")
    found = tuning.packs[0].matching
    assert found is not None
    assert found.choice in {Choice.KEPT, Choice.RAISED}
    own = profile_of(tuning).embedders["edgeface_xs"]
    assert own.points == BASE.embedders["edgeface_xs"].points
    assert own.threshold >= BASE.embedders["edgeface_xs"].threshold
    assert own.evidence is not None


def test_the_refusal_says_what_is_claimed_instead(tmp_path: Path) -> None:
    """A target beyond the data is refused in words, with the claim that they carry."""
    tuning = run(tmp_path, persons=120, target_fmr=0.02)
    found = tuning.packs[0].matching
    assert found is not None
    words = said(found)
    assert "cannot be claimed" in words
    assert rate(found.at.claim.claimed) in words
    assert words.replace("\u00a0", " ") in profile_of(tuning).evidence


def test_a_profile_without_a_claim_is_not_written(tmp_path: Path) -> None:
    """Where the report side carries no claim at all, the threshold has no error rate to name."""
    tuning = run(tmp_path, persons=120, target_fmr=0.02)
    found = tuning.packs[0].matching
    assert found is not None
    nothing = replace(found.at, claim=claim(0.0, None, 2))
    study = replace(tuning.packs[0], matching=replace(found, levels=(), at=nothing))
    with pytest.raises(DatasetUnusable, match="without a claim"):
        profile_of(replace(tuning, packs=(study,)))


def test_the_file_reads_back_as_the_same_profile(tmp_path: Path) -> None:
    """Written, and loaded as the services load it, nothing is lost, not even quotes and 中文."""
    profile = profile_of(run(tmp_path / "data", persons=120, target_fmr=0.02))
    path = tmp_path / "ours-2026-11.toml"
    write_profile(profile, path)
    assert load_profile(path) == profile
    assert "中文" in profile.evidence


@pytest.mark.parametrize("name", built_in_profiles())
def test_every_built_in_profile_survives_being_written(name: str) -> None:
    """The writer knows everything that a profile may hold."""
    profile = load_profile(name)
    assert parse_profile(to_toml(profile), name) == profile


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=20))
def test_any_words_survive_being_written(words: str, key: str) -> None:
    """No quote, control character or foreign script breaks the file."""
    embedders = {**BASE.embedders, key: BASE.embedders["edgeface_xs"]}
    profile = ThresholdProfile.model_validate(
        BASE.model_dump() | {"evidence": words, "embedders": embedders}
    )
    assert parse_profile(to_toml(profile), "test") == profile


def test_rates_for_people() -> None:
    """Per cent with three digits; nothing measured is a dash; tiny rates keep their exponent."""
    assert rate(0.0022) == "0.22\u00a0%"
    assert rate(0.00086) == "0.086\u00a0%"
    assert rate(1e-7) == "1e-07"
    assert rate(0.0) == "0"
    assert rate(None) == "–"
