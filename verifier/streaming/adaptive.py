"""A picture of the learner as he looks today, beside the enrolled one: it excuses, it never admits.

ID photos are old and well lit, cameras are not: a learner whose similarity lies well above the
threshold in most frames falls below it in some. From frames that passed with a wide margin *against
the template itself* a mean face of this session is learned. Where a verdict against the template
is a near mismatch, it is asked again against the mean of both.

It cannot drift: what is learned from lies within `MARGIN` of the template, not of what was learned
before; at most `MOST` frames count; and nobody below `FLOOR` of the template ever passes. So mixing
another face in little by little moves nothing, and a swap is caught as before. In memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.types import Decision, Evidence, Verdict

if TYPE_CHECKING:
    from verifier.types import Vector

Judge = Callable[[Sequence[Evidence], "Vector"], Verdict]
"""Decides over evidence against a reference."""

MARGIN: Final = 0.08
"""A frame teaches where its similarity to the template exceeds the threshold by so much."""
MOST: Final = 12
"""Frames that are learned from: a session's first good ones."""
LEAST: Final = 3
"""Frames before what was learned says anything."""
FLOOR: Final = 0.08
"""A similarity to the template that lies further below the threshold is never excused."""


class AdaptiveReference:
    """What one stream knows of its learner's face: the template, and what it has seen today."""

    def __init__(self, template: Vector) -> None:
        self.template = template
        self._sum = np.zeros_like(template, dtype=np.float64)
        self._frames = 0

    @property
    def frames(self) -> int:
        """How many frames were learned from."""
        return self._frames

    def judge(self, evidence: Sequence[Evidence], judge: Judge) -> Verdict:
        """Decide against the template, and where that just fails, against the mean of both.

        A verdict that was excused keeps its threshold; its similarity is the one that decided.
        """
        strict = judge(evidence, self.template)
        if not self._may_excuse(strict):
            return strict
        second = judge(evidence, self._blended())
        return second if second.decision is Decision.MATCH else strict

    def learn(self, verdict: Verdict, evidence: Sequence[Evidence]) -> None:
        """Learn from frames of a verdict that matched, each by its own similarity."""
        if verdict.decision is not Decision.MATCH:
            return
        for one in evidence:
            if self._frames >= MOST:
                return
            if one.usable and one.embedding is not None:
                similarity = float(np.dot(one.embedding, self.template))
                if similarity >= verdict.threshold + MARGIN:
                    self._sum += one.embedding
                    self._frames += 1

    def _may_excuse(self, verdict: Verdict) -> bool:
        return (
            verdict.decision is Decision.MISMATCH
            and self._frames >= LEAST
            and verdict.similarity is not None
            and verdict.similarity >= verdict.threshold - FLOOR
        )

    def _blended(self) -> Vector:
        """Give the mean of the template and of today's face, L2-normalised."""
        today = self._sum / np.linalg.norm(self._sum)
        both = self.template + today
        return np.asarray(both / np.linalg.norm(both), np.float32)


def without_passive(judge: Callable[..., Verdict]) -> Judge:
    """Decide by identity alone."""

    def decide(evidence: Sequence[Evidence], reference: Vector) -> Verdict:
        return judge(evidence, reference, require_liveness=False)

    return decide
