"""Decide: a verdict from the evidence of one person's frames. Pure; the only place that decides.

In this order: without a usable frame there is *no evidence*; an attack is *spoof*, whoever it
shows, since the likeness of a picture says nothing about who sits there; another person is a
*mismatch*; undecided liveness is *no evidence*; what remains is a *match*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from verifier.errors import TemplateOfAnotherModel
from verifier.pipeline import liveness
from verifier.types import Decision, Evidence, LivenessDecision, LivenessResult, Reason, Verdict

if TYPE_CHECKING:
    from verifier.pipeline.profile import ThresholdProfile
    from verifier.types import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a decision needs to know beside the evidence."""

    embedder: str
    """Name of the embedding network in the profile."""
    profile: ThresholdProfile
    models: Mapping[str, str]
    """Role -> ``id@sha256``."""


def decide(
    evidence: Sequence[Evidence],
    reference: Vector,
    rules: Rules,
    *,
    require_liveness: bool = True,
    timings_ms: Mapping[str, float] | None = None,
) -> Verdict:
    """Judge the frames of one burst against a reference (d,) float32, L2-normalised.

    Frames with the same digest count once. Without `require_liveness` (a comparison of
    photographs) liveness is told but does not decide. Raises TemplateOfAnotherModel where the
    reference has another length than the embeddings.
    """
    thresholds = rules.profile.for_embedder(rules.embedder)
    distinct = list({one.digest: one for one in reversed(evidence)}.values())[::-1]
    usable = [one for one in distinct if one.usable]
    similarity = _similarity(usable, reference)
    scores = [one.liveness_score for one in usable if one.liveness_score is not None]
    live = liveness.judge(scores, rules.profile.liveness)
    decision, reasons = _decision(
        similarity, thresholds.threshold, live, require_liveness=require_liveness
    )
    if similarity is None:
        reasons = [*_why_unusable(distinct), *reasons]
    best = _best(usable or distinct)
    return Verdict(
        decision=decision,
        reasons=tuple(dict.fromkeys([*reasons, *_flags(evidence, distinct, usable)])),
        similarity=similarity,
        threshold=thresholds.threshold,
        fmr_at_threshold=thresholds.fmr_at(thresholds.threshold),
        liveness=live,
        quality=best.quality if best else None,
        face=best.faces[0] if best and best.faces else None,
        frames_judged=len(usable),
        frame_digests=tuple(one.digest for one in evidence),
        models=rules.models,
        profile_version=rules.profile.version,
        timings_ms=dict(timings_ms or {}),
    )


def _decision(
    similarity: float | None, threshold: float, live: LivenessResult, *, require_liveness: bool
) -> tuple[Decision, list[Reason]]:
    """Apply the order of this module's first lines; a value that is not finite never matches."""
    if similarity is None or not math.isfinite(similarity):
        return Decision.NO_EVIDENCE, []
    different = [] if similarity >= threshold else [Reason.NOT_THE_SAME_PERSON]
    if require_liveness and live.decision is LivenessDecision.SPOOF:
        return Decision.SPOOF, [Reason.NOT_LIVE, *different]
    if different:
        return Decision.MISMATCH, different
    if require_liveness and live.decision is not LivenessDecision.LIVE:
        return Decision.NO_EVIDENCE, [Reason.LIVENESS_UNDECIDED]
    return Decision.MATCH, []


def _similarity(usable: Sequence[Evidence], reference: Vector) -> float | None:
    """Give the median cosine over the usable frames; None without one, or where it is not finite.

    One frame whose value is not finite spoils the whole: it says that something is broken.
    """
    cosines = []
    for one in usable:
        if one.embedding is None:
            continue
        if one.embedding.shape != reference.shape:
            raise TemplateOfAnotherModel(
                f"The template has {reference.size} numbers; this model gives"
                f" {one.embedding.size}.",
                remedy="Enrol the person again with the current model.",
            )
        cosines.append(float(np.dot(one.embedding, reference)))
    if not cosines or not all(math.isfinite(value) for value in cosines):
        return None
    return min(max(median(cosines), -1.0), 1.0)


def _why_unusable(distinct: Sequence[Evidence]) -> list[Reason]:
    """List the reasons of all frames, the most frequent first."""
    counts: dict[Reason, int] = {}
    for one in distinct:
        for reason in one.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    if not counts:
        return [Reason.TOO_FEW_FRAMES]
    return sorted(counts, key=lambda reason: -counts[reason])


def _flags(
    evidence: Sequence[Evidence], distinct: Sequence[Evidence], usable: Sequence[Evidence]
) -> list[Reason]:
    """List what a reader should know although it did not decide."""
    flags = []
    if any(len(one.faces) > 1 for one in usable or distinct):
        flags.append(Reason.SEVERAL_FACES)
    if len(distinct) < len(evidence):
        flags.append(Reason.DUPLICATE_FRAME)
    return flags


def _best(candidates: Sequence[Evidence]) -> Evidence | None:
    """Pick the frame of the best unified quality; the first of equals."""
    with_face = [one for one in candidates if one.quality is not None]
    return max(
        with_face,
        key=lambda one: one.quality.unified_quality_score if one.quality else -1.0,
        default=None,
    )
