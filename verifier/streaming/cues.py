"""Everything a learner's device is told over its stream: one message on every transport.

A cue holds advice from a closed list, the wished time between two frames, and the challenge that
is *shown*, if any: never a score, never that a silent sample or check is due. The wished time is
the policy's, except while a challenge is shown, which the learner sees anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from verifier.clock import Clock
from verifier.streaming.advice import Advice, FrameReceipt

CHALLENGE_PERIOD_MS: Final = 250
"""Wished time between two frames while a challenge is shown: a turn takes a second or two."""


class Turn(StrEnum):
    """Where a learner is asked to turn; left and right are the learner's own."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    CENTRE = "centre"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a running challenge shows at this moment."""

    id: str
    """Opaque, single-use."""
    step: int
    """Counts from 1."""
    steps: int
    turn: Turn
    ends_ms: int
    """Monotonic instant of this process at which the challenge is over."""
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownChallenge:
    """A prompt as the device hears of it."""

    id: str
    step: int
    steps: int
    turn: Turn
    remaining_ms: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One message to the device."""

    seq: int | None
    """The frame that this answers; None where it was pushed."""
    accepted: bool | None
    """Whether that frame became a sample."""
    advice: Advice
    period_ms: int
    """Wished time between two frames; the device adds jitter."""
    challenge: ShownChallenge | None

    def as_json(self) -> dict[str, Any]:
        """Give the JSON object; `from_json` is its inverse."""
        shown = self.challenge
        return {
            "seq": self.seq,
            "accepted": self.accepted,
            "advice": self.advice.value,
            "period_ms": self.period_ms,
            "challenge": None
            if shown is None
            else {
                "id": shown.id,
                "step": shown.step,
                "steps": shown.steps,
                "turn": shown.turn.value,
                "remaining_ms": shown.remaining_ms,
                "attempt": shown.attempt,
            },
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Cue:
        """Read what `as_json` wrote. Raises KeyError, TypeError, ValueError."""
        shown = body["challenge"]
        return cls(
            seq=None if body["seq"] is None else int(body["seq"]),
            accepted=None if body["accepted"] is None else bool(body["accepted"]),
            advice=Advice(body["advice"]),
            period_ms=int(body["period_ms"]),
            challenge=None
            if shown is None
            else ShownChallenge(
                id=str(shown["id"]),
                step=int(shown["step"]),
                steps=int(shown["steps"]),
                turn=Turn(shown["turn"]),
                remaining_ms=int(shown["remaining_ms"]),
                attempt=int(shown["attempt"]),
            ),
        )


CueListener = Callable[[Cue], None]
"""Takes a pushed cue; must neither block nor raise."""


class CueBoard:
    """What the device of one stream is told now, and who listens for changes."""

    def __init__(self, clock: Clock, period_ms: int) -> None:
        self._clock = clock
        self._period_ms = period_ms
        self._advice = Advice.OK
        self._prompt: Prompt | None = None
        self._listeners: dict[CueListener, bool] = {}
        """Whether a listener hears of advice too."""

    @property
    def period_ms(self) -> int:
        """The wished time between two frames, now."""
        if self._prompt is None:
            return self._period_ms
        return min(CHALLENGE_PERIOD_MS, self._period_ms)

    @property
    def prompt(self) -> Prompt | None:
        """The prompt that is shown."""
        return self._prompt

    def show(self, prompt: Prompt | None) -> None:
        """Show a step of a challenge, or nothing any more; pushed where it is news."""
        if prompt == self._prompt:
            return
        self._prompt = prompt
        self._push(advice_only=False)

    def advise(self, advice: Advice) -> None:
        """Note the advice on the newest sample; pushed, where it is news, to who asked for it."""
        if advice is self._advice:
            return
        self._advice = advice
        self._push(advice_only=True)

    def answer(self, receipt: FrameReceipt) -> Cue:
        """Give the answer to one frame."""
        return self._cue(receipt.seq, receipt.accepted, receipt.advice)

    def now(self) -> Cue:
        """Give what a device that has just come back should know."""
        return self._cue(None, None, self._advice)

    def listen(self, listener: CueListener, *, advice: bool = False) -> None:
        """Push changes of the challenge to `listener`, and with `advice` those of advice too."""
        self._listeners[listener] = advice

    def forget(self, listener: CueListener) -> None:
        """Push nothing more to `listener`; forgetting twice is fine."""
        self._listeners.pop(listener, None)

    def _cue(self, seq: int | None, accepted: bool | None, advice: Advice) -> Cue:
        prompt = self._prompt
        shown = None
        if prompt is not None:
            shown = ShownChallenge(
                id=prompt.id,
                step=prompt.step,
                steps=prompt.steps,
                turn=prompt.turn,
                remaining_ms=max(prompt.ends_ms - self._clock.stamp().monotonic_ms, 0),
                attempt=prompt.attempt,
            )
        return Cue(
            seq=seq,
            accepted=accepted,
            advice=advice,
            period_ms=self._period_ms
            if shown is None
            else min(CHALLENGE_PERIOD_MS, self._period_ms),
            challenge=shown,
        )

    def _push(self, *, advice_only: bool) -> None:
        for listener, wants_advice in [*self._listeners.items()]:
            if wants_advice or not advice_only:
                listener(self.now())
