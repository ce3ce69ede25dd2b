"""Whose face the samples of one stream show: evidence, computed once, and verdicts over it.

Looks and checks take turns under a name of their own. Under the session's they would push the next
frame of their session behind those of others, and its answer would tell that a look was due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from verifier.pipeline.ports import Priority
from verifier.streaming.adaptive import AdaptiveReference, without_passive
from verifier.streaming.ports import Inference
from verifier.streaming.replay import ReplayWatch
from verifier.streaming.window import Sample, Window
from verifier.types import Evidence, Frame, StreamSpec, Verdict

if TYPE_CHECKING:
    from verifier.types import Vector


class Judging:
    """Decides over the samples of one stream, and learns from what matched."""

    def __init__(
        self,
        spec: StreamSpec,
        reference: Vector,
        *,
        inference: Inference,
        window: Window,
        replays: ReplayWatch,
    ) -> None:
        """`window` remembers the evidence of its frames, `replays` what was shown before."""
        self.replays = replays
        self._passive_vote = spec.policy.passive_vote
        self._reference = reference
        self._adaptive = AdaptiveReference(reference)
        self._inference = inference
        self._window = window
        self._owner = f"{spec.session_id} looks"

    def forget(self) -> None:
        """Let go of the face and of what was shown, for good."""
        self._reference = np.zeros_like(self._reference)
        self._adaptive = AdaptiveReference(self._reference)
        self.replays = ReplayWatch()

    def verdict(self, evidence: Sequence[Evidence]) -> Verdict:
        """Decide by identity and, unless it has no vote here, passive liveness; learn."""
        if not self._passive_vote:
            return self.replays.judge(self.identify(evidence))
        fresh = self.replays.without_repeats(evidence)
        verdict = self._adaptive.judge(fresh, self._inference.judge)
        self._adaptive.learn(verdict, fresh)
        return self.replays.judge(verdict)

    def identify(self, evidence: Sequence[Evidence]) -> Verdict:
        """Decide by identity alone; frames that were shown before say nothing."""
        fresh = self.replays.without_repeats(evidence)
        return self._adaptive.judge(fresh, without_passive(self._inference.judge))

    async def evidence_of(self, samples: Sequence[Sample], priority: Priority) -> list[Evidence]:
        """Evidence of identity of each sample; computes only what is not there yet."""
        known = {sample.seq: self._window.evidence(sample.seq) for sample in samples}
        missing = [sample for sample in samples if known[sample.seq] is None]
        if missing:
            pictures = [sample.data for sample in missing]
            computed = await self.inspect(missing, pictures, priority)
            for sample, evidence in zip(missing, computed, strict=True):
                known[sample.seq] = evidence
                self._window.remember(sample.seq, evidence)
        return [evidence for evidence in known.values() if evidence is not None]

    async def inspect(
        self, samples: Sequence[Sample], pictures: Sequence[bytes | Frame], priority: Priority
    ) -> list[Evidence]:
        """Compute the evidence of identity of each sample on its picture."""
        return await self._inference.inspect(
            pictures,
            digests=[sample.presence.digest for sample in samples],
            faces=[sample.faces for sample in samples],
            reference=self._reference,
            priority=priority,
            owner=self._owner,
        )
