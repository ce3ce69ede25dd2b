"""One active challenge of one stream: frames in, prompts out, and whose face it was.

The machine (`challenge`) says what to show and when a turn is done; here the frames that it keeps
are looked at, and the end becomes a verdict. Bounded: two networks' pose per frame, identity on at
most `BASELINE_FRAMES + 2 x turns` frames of an attempt.

Before anything is shown, the frames that are there already are compared with the reference: a
stranger who sat there until the cue is a mismatch, whoever is fetched then. Passive liveness is one
vote, over the frames that look straight: *spoof* outweighs any answer, *undecided* does not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from verifier.clock import Stamp
from verifier.streaming import challenge as machine
from verifier.streaming.challenge import Challenge, End, Keep, Sight, draw_plans
from verifier.streaming.cues import Prompt
from verifier.types import (
    ChallengeRequest,
    Decision,
    Evidence,
    LivenessDecision,
    Reason,
    Verdict,
)

if TYPE_CHECKING:
    from verifier.types import Vector

SAME_SLACK: Final = 0.1
"""A turned face may be so much less like the baseline than the threshold between pictures."""
_REASONS: Final = {
    End.WRONG_TURN: Reason.WRONG_TURN,
    End.TOO_SLOW: Reason.TOO_SLOW,
    End.FACE_LOST: Reason.FACE_LOST,
}
_RANDBELOW: Final = secrets.SystemRandom().randrange


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a challenge came to."""

    decision: Decision | None
    """None: not answered as asked."""
    reasons: tuple[Reason, ...]
    verdict: Verdict | None
    """Over the frames that look straight; None where there were none."""
    digests: tuple[str, ...]
    """Of every frame judged."""


class ActiveCheck:
    """A challenge that is being shown."""

    def __init__(
        self,
        request: ChallengeRequest,
        *,
        began: Stamp,
        judge: Callable[[Sequence[Evidence]], Verdict],
        passive_vote: bool,
        randbelow: Callable[[int], int] = _RANDBELOW,
    ) -> None:
        """`judge` decides by identity alone; liveness is told in its verdicts."""
        self.request = request
        self.began = began
        self.since: Stamp | None = None
        """When the first judged frame of the present attempt arrived."""
        self._judge = judge
        self._passive_vote = passive_vote
        self._id = secrets.token_urlsafe(12)
        plans = draw_plans(randbelow, turns=request.turns, attempts=request.attempts)
        self.state = machine.begin(plans, window_ms=request.window_ms, now_ms=began.monotonic_ms)
        self._straight: list[Evidence] = []
        self._turned: list[Evidence] = []
        self._stranger: Verdict | None = None
        self.shown = True
        """Whether its arrows were shown: not where a stranger sat there already."""
        self.before: Stamp | None = None
        """Arrival of the oldest frame from before it was shown, where those are the learner's."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state.over or self._stranger is not None

    @property
    def deadline_ms(self) -> int:
        """When something happens without a frame, monotonic."""
        return machine.deadline(self.state)

    @property
    def prompt(self) -> Prompt:
        """What the device shows now."""
        plan = self.state.plan
        return Prompt(
            id=f"{self._id}-{self.state.attempt + 1}",
            step=min(self.state.step + 1, len(plan.turns)),
            steps=len(plan.turns),
            turn=self.state.shown,
            ends_ms=self.deadline_ms,
            attempt=self.state.attempt + 1,
        )

    def foresee(self, verdict: Verdict, since: Stamp) -> None:
        """Take in what the frames before the challenge say of the identity."""
        self.before = since if verdict.decision is Decision.MATCH else None
        if verdict.decision is Decision.MISMATCH:
            self._stranger = verdict
            self.shown = False

    def expire(self, now_ms: int) -> None:
        """Let time pass."""
        self._move(machine.expire(self.state, now_ms))

    def look(self, seen: Sight) -> Keep:
        """Take in a frame; tells what it is worth."""
        state, keep = machine.look(self.state, seen)
        self._move(state)
        return keep

    def hear(self, keep: Keep, evidence: Evidence, at: Stamp) -> None:
        """Take in what was found on a frame that was kept; a stranger ends the challenge."""
        if self._stranger is not None:
            return
        if self.since is None:
            self.since = at
        (self._turned if keep is Keep.TURNED else self._straight).append(evidence)
        if len(self._straight) >= machine.BASELINE_FRAMES:
            verdict = self._judge(self._straight)
            if verdict.decision is Decision.MISMATCH:
                self._stranger = verdict

    def outcome(self) -> Outcome:
        """Say what it came to, at the end."""
        verdict = self._stranger
        if verdict is None and self._straight:
            verdict = self._judge(self._straight)
        decision, reasons = self._decided(verdict)
        judged = [*self._straight, *self._turned]
        digests = tuple(one.digest for one in judged)
        if not judged and verdict is not None:
            digests = verdict.frame_digests
        return Outcome(
            decision=decision,
            reasons=tuple(dict.fromkeys(reasons)),
            verdict=verdict,
            digests=digests,
        )

    def _decided(self, verdict: Verdict | None) -> tuple[Decision | None, list[Reason]]:
        state = self.state
        how = [] if state.end in (None, End.DONE) else [_REASONS[state.end]]
        if verdict is not None and verdict.decision is Decision.MISMATCH:
            return Decision.MISMATCH, [*verdict.reasons, *how]
        passive = verdict.liveness.decision if verdict is not None else None
        if self._passive_vote and passive is LivenessDecision.SPOOF:
            return Decision.SPOOF, [Reason.NOT_LIVE, *how]
        if state.end is not End.DONE:
            unseen = Reason.NO_FACE if not state.faces else None
            return (Decision.NO_EVIDENCE, [unseen, *how]) if unseen else (None, how)
        if verdict is None or verdict.decision is not Decision.MATCH:
            return Decision.NO_EVIDENCE, list(verdict.reasons) if verdict is not None else []
        if not self._one_person(verdict.threshold):
            return Decision.MISMATCH, [Reason.NOT_THE_SAME_PERSON]
        return Decision.MATCH, [r for r in verdict.reasons if r is Reason.SEVERAL_FACES]

    def _one_person(self, threshold: float) -> bool:
        """Tell whether every judged frame shows the person of the first ones."""
        straight = [one.embedding for one in self._straight if one.embedding is not None]
        turned = [one.embedding for one in self._turned if one.embedding is not None]
        base = _mean(straight[: machine.BASELINE_FRAMES])
        return all(float(np.dot(v, base)) >= threshold for v in straight) and all(
            float(np.dot(v, base)) >= threshold - SAME_SLACK for v in turned
        )

    def _move(self, state: Challenge) -> None:
        anew = state.base is None and self.state.base is not None
        if anew or state.attempt != self.state.attempt:
            self._straight, self._turned, self.since = [], [], None
        self.state = state


def _mean(vectors: Sequence[Vector]) -> Vector:
    total = np.sum(vectors, axis=0)
    return np.asarray(total / np.linalg.norm(total), np.float32)
