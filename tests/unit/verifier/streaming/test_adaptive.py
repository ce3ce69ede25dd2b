"""The adaptive picture helps the learner and never drifts to somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from verifier.streaming.adaptive import FLOOR, LEAST, MARGIN, MOST, AdaptiveReference
from verifier.streaming.testing import THRESHOLD, ScriptedEngine, embedding_of
from verifier.types import Decision, Evidence, Face

if TYPE_CHECKING:
    from verifier.types import Vector

TEMPLATE = embedding_of("li")
OTHER = embedding_of("wei")


def towards(similarity: float, other: Vector) -> Vector:
    """A face so similar to the template; what is different of it points to `other`."""
    across = other - float(other @ TEMPLATE) * TEMPLATE
    across /= np.linalg.norm(across)
    vector = similarity * TEMPLATE + np.sqrt(1 - similarity**2) * across
    return np.asarray(vector, np.float32)


def frame(vector: Vector, n: int = 0) -> Evidence:
    """A usable, live frame with that face."""
    face = Face(box=(0, 0, 1, 1), score=0.9, landmarks=np.zeros((5, 2), np.float32))
    return Evidence(digest=str(n), faces=(face,), embedding=vector, liveness_score=0.9)


def shown(reference: AdaptiveReference, vector: Vector) -> Decision:
    """Judge one frame and learn from it, as a stream does."""
    evidence = [frame(vector)]
    verdict = reference.judge(evidence, ScriptedEngine().judge)
    reference.learn(verdict, evidence)
    return verdict.decision


def test_a_learner_who_looks_different_today_is_excused() -> None:
    """After good frames of today, a frame just below the threshold is seen to be his."""
    today = embedding_of("today")
    reference = AdaptiveReference(TEMPLATE)
    near = towards(THRESHOLD - 0.04, today)
    assert shown(reference, near) is Decision.MISMATCH
    for _ in range(LEAST):
        assert shown(reference, towards(THRESHOLD + MARGIN + 0.05, today)) is Decision.MATCH
    assert shown(reference, near) is Decision.MATCH


def test_nobody_below_the_floor_is_excused() -> None:
    """However like today's face somebody is: the template has the last word."""
    today = embedding_of("today")
    reference = AdaptiveReference(TEMPLATE)
    for _ in range(MOST):
        shown(reference, towards(THRESHOLD + MARGIN + 0.01, today))
    assert shown(reference, towards(THRESHOLD - FLOOR - 0.01, today)) is Decision.MISMATCH


def test_a_swap_is_seen_at_once() -> None:
    """Somebody else takes the seat of a learner who was learned well."""
    reference = AdaptiveReference(TEMPLATE)
    for _ in range(MOST):
        assert shown(reference, TEMPLATE) is Decision.MATCH
    assert shown(reference, OTHER) is Decision.MISMATCH


@pytest.mark.parametrize("steps", [20, 200, 2_000])
def test_gradual_mixing_moves_nothing(steps: int) -> None:
    """A face that changes little by little into another is refused where it always was."""
    reference = AdaptiveReference(TEMPLATE)
    mixed = [float(s) for s in np.linspace(1.0, float(OTHER @ TEMPLATE), steps)]
    passed = [s for s in mixed if shown(reference, towards(s, OTHER)) is Decision.MATCH]
    assert min(passed) >= THRESHOLD - FLOOR
    assert shown(reference, OTHER) is Decision.MISMATCH
    assert shown(reference, TEMPLATE) is Decision.MATCH


def test_what_is_learned_is_bounded() -> None:
    """Only good frames teach, and only so many."""
    reference = AdaptiveReference(TEMPLATE)
    shown(reference, towards(THRESHOLD + MARGIN / 2, OTHER))
    assert reference.frames == 0
    for _ in range(3 * MOST):
        shown(reference, TEMPLATE)
    assert reference.frames == MOST
