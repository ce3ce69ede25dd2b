"""What a learner's device may see: where it stands, never why a check comes or how it scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from session_tracker.events import PauseReason
from session_tracker.machine import Machine, State
from session_tracker.policy import Policy
from session_tracker.records import Totals
from session_tracker.settlement import CourseCredit
from session_tracker.shown import growing


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as the learner sees it."""

    session_id: str
    state: str
    """``awaiting_start_check``, ``running``, ``challenged``, ``paused``, ``suspended``, ``closed``,
    ``settled``."""
    reason: str | None
    """Why the player stands still, or that the face cannot be seen well, or how the session ended;
    a plain code."""
    play: bool
    """Whether the player may run."""
    credited_s: int
    """Whole seconds of this session credited so far; while it runs, without the last minutes
    (`shown`)."""
    course_credited_s: int
    """Whole seconds of all sessions of the course, in the same way."""
    target_s: int
    certificate: str | None
    """The number, once it was issued."""
    report_every_s: int
    """How often to report playback."""

    def as_json(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


def totals_of(session_id: str, state: CourseCredit, *, now: int) -> Totals:
    """Take from a course derived at `now` (UTC ms) what a device is shown."""
    return Totals(
        derived_ms=now,
        credit=growing(session_id, state.credit, state.policy),
        target_s=state.target_s,
        certificate=state.certificate_number,
    )


def view_of(
    session_id: str,
    machine: Machine,
    suspended: bool,
    totals: Totals,
    policy: Policy,
    *,
    now: int,
) -> SessionView:
    """Make the view of a session whose machine stands so, at `now` (UTC ms)."""
    credited_s, course_credited_s = totals.credit.at(now, policy)
    known = machine.state
    challenged = machine.cue is PauseReason.CHALLENGE and machine.challenged_at is not None
    shown = State.CHALLENGED if challenged else known
    return SessionView(
        session_id=session_id,
        state=str(State.SUSPENDED if suspended else shown),
        reason=_reason(machine),
        play=known is State.RUNNING,
        credited_s=credited_s,
        course_credited_s=course_credited_s,
        target_s=totals.target_s,
        certificate=totals.certificate,
        report_every_s=policy.lease.heartbeat_s,
    )


def _reason(machine: Machine) -> str | None:
    reason = machine.cue if machine.closed_by is None else machine.closed_by
    return None if reason is None else str(reason)
