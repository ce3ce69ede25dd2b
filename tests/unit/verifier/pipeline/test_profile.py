"""Tests of the threshold profile and its loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.errors import ConfigurationError
from verifier.pipeline import profile as profiles
from verifier.pipeline.profile import DEFAULT_PROFILE, built_in_profiles, load_profile

PROVISIONAL = "provisional-2026-11"
"""Written by hand, so that its text can be changed by replacing words."""
SOURCE = (Path(profiles.__file__).parent / "profiles" / f"{PROVISIONAL}.toml").read_text("utf-8")


def written(folder: Path, text: str) -> Path:
    """Write a profile file."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_built_in_profile_is_sound_and_named_as_its_file() -> None:
    """What ships can be loaded; the default is among it."""
    assert DEFAULT_PROFILE in built_in_profiles()
    for name in built_in_profiles():
        assert load_profile(name).version == name
    assert load_profile() is load_profile(DEFAULT_PROFILE)


def test_the_first_profile_stays_as_it_was() -> None:
    """Verdicts name a profile by its version, so its numbers never change."""
    thresholds = {n: e.threshold for n, e in load_profile(PROVISIONAL).embedders.items()}
    assert thresholds == {
        "face_reidentification_retail_0095": 0.393,
        "edgeface_xs": 0.300,
        "edgeface_xxs": 0.334,
        "mobilefacenet_512": 0.306,
    }


@pytest.mark.parametrize(
    ("similarity", "fmr"), [(0.5, 1e-4), (0.300, 1e-4), (0.299, 1e-3), (0.240, 1e-3), (0.2, 1.0)]
)
def test_no_smaller_fmr_is_claimed_than_was_measured(similarity: float, fmr: float) -> None:
    """Above the last point the claim stays that of the last point; below the first it is 1."""
    assert load_profile(PROVISIONAL).for_embedder("edgeface_xs").fmr_at(similarity) == fmr


def test_the_default_was_tuned_and_carries_its_evidence() -> None:
    """Threshold, claim and measured rates of each pack's network, with what they stand on."""
    profile = load_profile()
    assert profile.provenance is not None
    assert profile.provenance.based_on == PROVISIONAL
    assert set(profile.embedders) == set(load_profile(PROVISIONAL).embedders)
    for name in ("face_reidentification_retail_0095", "edgeface_xs"):
        own = profile.for_embedder(name)
        assert own.evidence is not None
        assert own.evidence.choice == "located"
        assert own.evidence.fmr.high <= own.evidence.target_fmr
        claimed = own.evidence.fmr_claimed
        assert own.fmr_at(own.threshold) == claimed >= 3 / (own.evidence.report_persons // 2)


def test_evidence_does_not_decide() -> None:
    """Quality limits and liveness thresholds are those of the first profile."""
    tuned, first = load_profile(), load_profile(PROVISIONAL)
    assert tuned.quality == first.quality
    assert tuned.liveness.live_from == first.liveness.live_from
    assert tuned.liveness.spoof_below == first.liveness.spoof_below


def test_an_unknown_embedder_is_refused_with_a_remedy() -> None:
    """The message names the network, what is known, and how to measure."""
    with pytest.raises(ConfigurationError, match="w600k_r50") as caught:
        load_profile().for_embedder("w600k_r50")
    assert "edgeface_xs" in caught.value.detail
    assert "tune" in caught.value.remedy


def test_a_profile_can_come_from_a_file(tmp_path: Path) -> None:
    """A path that ends in .toml is read, as text or as Path."""
    path = written(tmp_path, SOURCE.replace(PROVISIONAL, "school-7").replace("0.300", "0.310"))
    for given in (path, str(path)):
        profile = load_profile(given)
        assert profile.version == "school-7"
        assert profile.embedders["edgeface_xs"].threshold == 0.31


WRONG = {
    "unknown key": SOURCE + "\nstrictness = 3\n",
    "not toml": "version = ",
    "threshold below every point": SOURCE.replace("threshold = 0.300", "threshold = 0.1"),
    "threshold above 1": SOURCE.replace("threshold = 0.300", "threshold = 1.1"),
    "threshold not a number": SOURCE.replace("threshold = 0.300", "threshold = nan"),
    "points out of order": SOURCE.replace("similarity = 0.240", "similarity = 0.340"),
    "band upside down": SOURCE.replace("spoof_below = 0.45", "spoof_below = 0.9"),
    "light upside down": SOURCE.replace("min_illumination = 25.0", "min_illumination = 230.0"),
    "missing table": SOURCE[: SOURCE.index("[liveness]")],
    "odd version": SOURCE.replace(PROVISIONAL, "Über alles"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_with_its_path_and_a_remedy(what: str, tmp_path: Path) -> None:
    """Unknown keys, impossible numbers and missing tables never become thresholds."""
    assert WRONG[what] != SOURCE
    path = written(tmp_path, WRONG[what])
    with pytest.raises(ConfigurationError) as caught:
        load_profile(path)
    assert str(path) in caught.value.detail
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["nonesuch", "", "../profiles/provisional-2026-11"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    """Names are looked up, never joined to a path."""
    with pytest.raises(ConfigurationError) as caught:
        load_profile(name)
    assert DEFAULT_PROFILE in caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load_profile(tmp_path / "none.toml")


def test_a_profile_cannot_be_changed() -> None:
    """Thresholds are frozen once loaded."""
    with pytest.raises(ValueError, match="frozen"):
        load_profile().liveness.live_from = 0.1
