"""What the tracker knows of a running session, and what it may want done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from session_tracker.events import CheckCause, CloseReason, PauseReason


class State(StrEnum):
    """Where a session stands; the last three are never left for an earlier one."""

    CREATED = "created"
    AWAITING_START_CHECK = "awaiting_start_check"
    RUNNING = "running"
    CHALLENGED = "challenged"
    """An active challenge is shown, and the player that ran stands still."""
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CLOSED = "closed"
    SETTLED = "settled"


LIVE_STATES = frozenset({State.AWAITING_START_CHECK, State.RUNNING, State.CHALLENGED, State.PAUSED})
"""States in which something may still be earned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskCheck:
    """Have the verifier judge the frames that are there; append the answer as a `Check`."""

    cause: CheckCause
    not_before: int | None
    """Judge only frames from this instant (UTC ms) on; None: all of the window."""
    active: bool = False
    """Show a challenge instead: append `Challenged` at once, its answer as an active `Check`."""
    turns: int = 0
    """Of a challenge's first attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Stop the player, tell the learner why, append `Paused`."""

    reason: PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Let the player go (on), append `Resumed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Stop until a person has looked at it, open a review, append `Suspended`."""

    reason: PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """End the session, append `Closed`."""

    reason: CloseReason


Action: TypeAlias = AskCheck | Pause | Resume | Suspend | Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Identity samples that failed and that no check has cleared yet."""

    first: int
    newest: int
    track: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A session as the fold of its facts; instants are UTC ms. Made by `states`, read by all."""

    state: State = State.CREATED
    now: int = 0
    """The newest instant heard of."""
    opened_at: int | None = None
    pause_reason: PauseReason | None = None
    """Why it is paused; None where it is not."""
    paused_at: int | None = None
    resumed_at: int | None = None

    last_frame: int | None = None
    track: int = 0
    fresh_since: int | None = None
    """Since when frames of the present track have come without a gap; None without a face."""
    no_face_since: int | None = None

    away_since: int | None = None
    """Since when he has looked away; None where he does not, or nobody asked."""

    last_pass: int | None = None
    last_check: int | None = None
    """The newest frame that a check has judged."""
    random_from: int | None = None
    """The last start check, random check or answered challenge: from it on the bounds of the next
    random check count. No other check moves them: the learner's hand can call for those."""
    checked_at: int | None = None
    """When the last check was answered."""
    random_at: int | None = None
    """When the next random check comes; once the moment is there it stands until it is asked."""
    random_active: bool = False
    """Whether it will be a challenge."""
    challenged_at: int | None = None
    """Since when a challenge is shown; None where there is none..."""
    challenged_by: CheckCause | None = None
    """...and why."""
    challenges: int = 0
    """Challenges shown since the last one that was passed: each is longer than the one before."""
    suspicion: Suspicion | None = None
    doubt: int | None = None
    """The first sample or check without evidence since the last pass."""
    answer_since: int | None = None
    """A check without evidence opened the answer window then; None where none is open."""
    tell_from: int | None = None
    """From when on the learner is told that he cannot be seen: when the stretch without evidence
    has become too long to be credited. Told earlier, he could be fetched to save it."""
    owed: AskCheck | None = None
    """A silent check that the learner's pressing of pause or play calls for."""

    attempts: int = 0
    """Checks in vain since the start, the pause or the opening of the answer window."""
    attempt_from: int | None = None
    """The next attempt is judged on frames from here on."""
    strikes: int = 0
    """Confirmed mismatches and spoofs in a row."""
    struck_at: int | None = None
    struck_by: PauseReason | None = None
    stop: PauseReason | None = None
    """A decided reason to pause that has not been carried out yet."""
    may_resume: bool = False
    """A pass has come that lets the player go, not carried out yet."""

    player_runs: bool = False
    media: tuple[str, int] | None = None
    """Medium and position of the last report."""
    last_activity: int | None = None
    touched: bool = False
    """Whether the learner has touched something since the pause."""
    supervised_until: int | None = None

    closed_by: CloseReason | None = None
    """Why it ended; None where it has not."""
    asked_at: int | None = None
    """A check was asked for then and has not been answered. The only thing that is no fact: after
    a crash it is None, and the check is asked for again."""
    next_deadline: int | None = None
    """When `states.due` wants to be called, at the latest."""

    @property
    def supervised(self) -> bool:
        """Whether staff answer for the learner now, so that no face is asked for."""
        return self.supervised_until is not None and self.now < self.supervised_until

    @property
    def cue(self) -> PauseReason | None:
        """What the learner may be told: the reason of a pause, or that he cannot be seen well.

        Nothing else may reach the client; above all no check, asked for or due.
        """
        if self.challenged_at is not None and self.state in LIVE_STATES:
            return PauseReason.CHALLENGE
        if self.state is State.PAUSED:
            return self.pause_reason
        if self.state is State.AWAITING_START_CHECK:
            return PauseReason.START_CHECK
        told = self.tell_from is not None and self.now >= self.tell_from
        return PauseReason.NO_EVIDENCE if told else None
