"""Tests of the decision: its order, its reasons, and that nothing broken ever matches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import ConfigurationError, TemplateOfAnotherModel
from verifier.pipeline.decide import Rules, decide
from verifier.pipeline.profile import load_profile
from verifier.types import (
    Decision,
    Evidence,
    Face,
    LivenessDecision,
    Quality,
    Reason,
    Verdict,
)

PROFILE = load_profile()
RULES = Rules(embedder="edgeface_xs", profile=PROFILE, models={"embedder": "edgeface_xs@00"})
THRESHOLD = PROFILE.embedders["edgeface_xs"].threshold
REFERENCE = np.array([1.0, 0.0], dtype=np.float32)
FACE = Face(box=(0, 0, 10, 10), score=0.9, landmarks=np.zeros((5, 2), np.float32))
numbers = iter(range(10**9))


def quality(score: float = 0.5) -> Quality:
    """A quality of which only the unified score matters."""
    return Quality(
        sharpness=10, illumination_mean=100, illumination_uniformity=0.5, head_pose_yaw_deg=0,
        head_pose_pitch_deg=0, head_pose_roll_deg=0, inter_eye_distance_px=50,
        unified_quality_score=score,
    )  # fmt: skip


def seen(
    cosine: float = 0.9,
    live: float | None = 0.99,
    *reasons: Reason,
    faces: int = 1,
    digest: str | None = None,
    score: float = 0.5,
) -> Evidence:
    """Evidence of one frame with the given cosine to the reference."""
    sine = math.sqrt(max(1 - cosine**2, 0)) if math.isfinite(cosine) else 0.0
    return Evidence(
        digest=digest or f"{next(numbers):064x}",
        faces=(FACE,) * faces,
        quality=quality(score),
        reasons=reasons,
        embedding=np.array([cosine, sine], dtype=np.float32),
        liveness_score=live,
    )


NOBODY = Evidence(digest="0" * 64, faces=(), reasons=(Reason.NO_FACE,))


def of(*evidence: Evidence, require_liveness: bool = True) -> Verdict:
    """Decide against the reference."""
    return decide(evidence, REFERENCE, RULES, require_liveness=require_liveness)


def test_a_similar_live_face_matches() -> None:
    """The plain case, with everything that the verdict must carry."""
    verdict = of(seen(0.8))
    assert verdict.decision is Decision.MATCH
    assert verdict.reasons == ()
    assert verdict.similarity == pytest.approx(0.8)
    claimed = PROFILE.embedders["edgeface_xs"].fmr_at(THRESHOLD)
    assert (verdict.threshold, verdict.fmr_at_threshold) == (THRESHOLD, claimed)
    assert verdict.liveness.decision is LivenessDecision.LIVE
    assert verdict.frames_judged == 1
    assert verdict.models == {"embedder": "edgeface_xs@00"}
    assert verdict.profile_version == PROFILE.version


@pytest.mark.parametrize(
    ("evidence", "decision", "reasons"),
    [
        ((NOBODY,), Decision.NO_EVIDENCE, (Reason.NO_FACE,)),
        ((), Decision.NO_EVIDENCE, (Reason.TOO_FEW_FRAMES,)),
        ((seen(0.9, 0.99, Reason.BLURRED),), Decision.NO_EVIDENCE, (Reason.BLURRED,)),
        ((seen(0.0, 0.99, Reason.OCCLUDED),), Decision.NO_EVIDENCE, (Reason.OCCLUDED,)),
        ((seen(0.0, 0.01, Reason.TOO_DARK),), Decision.NO_EVIDENCE, (Reason.TOO_DARK,)),
        ((seen(0.1),), Decision.MISMATCH, (Reason.NOT_THE_SAME_PERSON,)),
        ((seen(0.9, 0.01),), Decision.SPOOF, (Reason.NOT_LIVE,)),
        (
            (seen(0.1, 0.01),),
            Decision.SPOOF,
            (Reason.NOT_LIVE, Reason.NOT_THE_SAME_PERSON),
        ),
        ((seen(0.9, 0.6),), Decision.NO_EVIDENCE, (Reason.LIVENESS_UNDECIDED,)),
        ((seen(0.9, None),), Decision.NO_EVIDENCE, (Reason.LIVENESS_UNDECIDED,)),
        ((seen(0.1, 0.6),), Decision.MISMATCH, (Reason.NOT_THE_SAME_PERSON,)),
    ],
)
def test_the_order_of_decisions(
    evidence: tuple[Evidence, ...], decision: Decision, reasons: tuple[Reason, ...]
) -> None:
    """No evidence, then spoof, then mismatch, then undecided, then match."""
    verdict = of(*evidence)
    assert (verdict.decision, verdict.reasons) == (decision, reasons)


def test_photographs_are_compared_without_liveness() -> None:
    """Then liveness is told but does not decide."""
    verdict = of(seen(0.9, 0.01), require_liveness=False)
    assert verdict.decision is Decision.MATCH
    assert verdict.liveness.decision is LivenessDecision.SPOOF
    assert of(seen(0.1, 0.01), require_liveness=False).decision is Decision.MISMATCH


def test_exactly_at_the_threshold_is_a_match() -> None:
    """`at or above`, as the profile says; just below is not."""
    at = np.float32(THRESHOLD)
    exact = replace(seen(), embedding=np.array([at, 0], dtype=np.float32))
    below = replace(
        seen(), embedding=np.array([np.nextafter(at, np.float32(-1)) - 1e-4, 0], dtype=np.float32)
    )
    assert of(exact).decision is (Decision.MATCH if float(at) >= THRESHOLD else Decision.MISMATCH)
    assert of(below).decision is Decision.MISMATCH


def test_the_median_over_usable_frames_decides() -> None:
    """Unusable frames do not count, however similar; one odd frame of three does not turn it."""
    verdict = of(seen(0.7), seen(0.5), seen(-0.5), seen(0.99, 0.99, Reason.BLURRED), NOBODY)
    assert verdict.decision is Decision.MATCH
    assert verdict.similarity == pytest.approx(0.5)
    assert verdict.frames_judged == 3
    assert len(verdict.frame_digests) == 5


def test_liveness_of_unusable_frames_does_not_count() -> None:
    """Blur looks like a print to the networks: quality comes first."""
    verdict = of(seen(0.9, 0.95), *(seen(0.9, 0.01, Reason.BLURRED) for _ in range(4)))
    assert verdict.decision is Decision.MATCH
    assert verdict.liveness.score == pytest.approx(0.95)


def test_a_frame_sent_twice_counts_once_and_is_flagged() -> None:
    """Repeating the best frame does not outvote the others."""
    again = seen(0.9, digest="ab" * 32)
    verdict = of(again, again, again, seen(0.1), seen(0.1))
    assert verdict.decision is Decision.MISMATCH
    assert Reason.DUPLICATE_FRAME in verdict.reasons
    assert verdict.frames_judged == 3
    assert len(verdict.frame_digests) == 5


def test_several_faces_are_a_flag_on_a_match() -> None:
    """Somebody beside the learner does not undo the learner."""
    verdict = of(seen(0.9, faces=2))
    assert (verdict.decision, verdict.reasons) == (Decision.MATCH, (Reason.SEVERAL_FACES,))


def test_reasons_of_unusable_frames_come_the_most_frequent_first() -> None:
    """The learner mends what spoils most frames."""
    verdict = of(
        seen(0.9, 0.9, Reason.TOO_DARK),
        seen(0.9, 0.9, Reason.BLURRED),
        seen(0.9, 0.9, Reason.BLURRED, Reason.TURNED_AWAY),
    )
    assert verdict.reasons == (Reason.BLURRED, Reason.TOO_DARK, Reason.TURNED_AWAY)


def test_quality_and_face_are_those_of_the_best_usable_frame() -> None:
    """A better frame that is not usable does not count, unless there is no other."""
    best = of(seen(score=0.3), seen(score=0.7), seen(0.9, 0.9, Reason.OCCLUDED, score=0.9)).quality
    assert best is not None
    assert best.unified_quality_score == 0.7
    only = of(seen(0.9, 0.9, Reason.OCCLUDED, score=0.9)).quality
    assert only is not None
    assert only.unified_quality_score == 0.9
    assert of(NOBODY).quality is None


def test_a_reference_of_another_length_is_an_error_not_a_mismatch() -> None:
    """A template of another model must not look like another person."""
    with pytest.raises(TemplateOfAnotherModel, match="512"):
        decide([seen()], np.ones(512, dtype=np.float32), RULES)


def test_an_embedder_without_thresholds_is_a_configuration_error() -> None:
    """Nothing is judged by a threshold that was never measured."""
    with pytest.raises(ConfigurationError, match="w600k_mbf"):
        decide([seen()], REFERENCE, replace(RULES, embedder="w600k_mbf"))


ODD = st.sampled_from([math.nan, math.inf, -math.inf])


@given(odd=ODD, others=st.lists(st.floats(-1, 1), max_size=4), require=st.booleans())
def test_a_value_that_is_not_finite_never_matches(
    odd: float, others: list[float], require: bool
) -> None:
    """NaN or infinity among the similarities or in the reference gives no match."""
    broken = replace(seen(), embedding=np.array([odd, 0], dtype=np.float32))
    evidence = [broken, *(seen(cosine) for cosine in others)]
    assert of(*evidence, require_liveness=require).decision is not Decision.MATCH
    spoilt = np.array([odd, 0], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        verdict = decide([seen(1.0)], spoilt, RULES, require_liveness=require)
    assert verdict.decision is not Decision.MATCH
    assert verdict.similarity is None


@given(odd=ODD)
def test_a_liveness_score_that_is_not_finite_is_none(odd: float) -> None:
    """It proves no life; other frames' scores still count."""
    assert of(seen(0.9, odd)).decision is Decision.NO_EVIDENCE
    assert of(seen(0.9, odd), seen(0.9, 0.9)).decision is Decision.MATCH


frames = st.lists(
    st.tuples(
        st.floats(-1, 1), st.none() | st.floats(0, 1), st.sets(st.sampled_from(Reason), max_size=2)
    ),
    max_size=8,
)


@given(frames)
def test_a_match_needs_similarity_life_and_a_usable_frame(
    given_frames: list[tuple[float, float | None, set[Reason]]],
) -> None:
    """Whatever frames come: what a verdict says follows from what it shows."""
    verdict = of(*(seen(cosine, live, *reasons) for cosine, live, reasons in given_frames))
    usable = [one for one in given_frames if not one[2]]
    assert verdict.frames_judged == len(usable)
    assert (verdict.similarity is None) == (not usable)
    if verdict.decision is Decision.MATCH:
        assert verdict.similarity is not None
        assert verdict.similarity >= verdict.threshold
        assert verdict.liveness.decision is LivenessDecision.LIVE
        assert set(verdict.reasons) <= {Reason.SEVERAL_FACES, Reason.DUPLICATE_FRAME}
    else:
        assert verdict.reasons
    if not usable:
        assert verdict.decision is Decision.NO_EVIDENCE


@given(frames, st.randoms())
def test_the_order_of_frames_does_not_change_the_decision(
    given_frames: list[tuple[float, float | None, set[Reason]]], random: object
) -> None:
    """A burst is a set."""
    evidence = [seen(cosine, live, *sorted(reasons)) for cosine, live, reasons in given_frames]
    shuffled = list(evidence)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = of(*evidence), of(*shuffled)
    assert (one.decision, one.similarity) == (other.decision, other.similarity)
    assert set(one.reasons) == set(other.reasons)
