"""The session as a machine: facts in, actions out. Pure, and the same after a crash.

The machine is the fold of the session's facts (:func:`fold`). :func:`step` takes one more fact,
:func:`due` lets time pass; both name at most one action. Whoever drives it carries the action out,
appends the fact that results (`Check`, `Paused`, `Resumed`, `Suspended`, `Closed`), steps with it,
and goes on until no action is left; then sleeps until `machine.next_deadline` or the next fact.
An action that was lost in a crash comes again, because only its fact changes the machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from session_tracker.agenda import agenda
from session_tracker.events import (
    Challenged,
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Disputed,
    Fact,
    Granted,
    Identity,
    Looking,
    Opened,
    Paused,
    Playback,
    Presence,
    Resumed,
    Settled,
    Supervised,
    Suspended,
    SystemFault,
    Upheld,
)
from session_tracker.machine import (
    LIVE_STATES,
    Action,
    AskCheck,
    Close,
    Machine,
    Pause,
    Resume,
    State,
    Suspend,
)
from session_tracker.policy import Policy
from session_tracker.sampling import Draw
from session_tracker.transitions import absorb, draw_random

__all__ = [
    "Action",
    "AskCheck",
    "Close",
    "Machine",
    "Pause",
    "Resume",
    "State",
    "Suspend",
    "due",
    "fold",
    "step",
    "wind_up",
]


CAUSAL_ORDER: tuple[type[Fact], ...] = (
    Opened,
    Presence,
    Identity,
    Check,
    Challenged,
    Looking,
    SystemFault,
    Granted,
    Disputed,
    Upheld,
    Supervised,
    Resumed,
    Paused,
    Suspended,
    Playback,
    Closed,
    Settled,
)
"""Which of two facts of one millisecond came first: frames, verdicts, what followed from them, and
the player that obeyed."""


_OF_RUNS = 2 * CAUSAL_ORDER.index(Presence)


def step(
    machine: Machine, fact: Fact, policy: Policy, draw: Draw
) -> tuple[Machine, tuple[Action, ...]]:
    """Take in one fact; give the machine after it and what is to be done now, if anything."""
    after = absorb(machine, fact, policy, draw)
    return due(after, after.now, policy)


def due(machine: Machine, now: int, policy: Policy) -> tuple[Machine, tuple[Action, ...]]:
    """Let the time be `now` (UTC ms); give the machine and what is to be done, if anything.

    A check is named once and again only when `checks.ask_again_after_s` have passed without its
    `Check`, a challenge so long after the end of its time; everything else is named until its fact
    arrives.
    """
    m = machine if now <= machine.now else replace(machine, now=now)
    entries = tuple(agenda(m, policy))
    action = next((what for at, what in entries if at <= m.now), None)
    if isinstance(action, AskCheck):
        m = replace(m, asked_at=m.now)
        entries = tuple(agenda(m, policy))
    deadline = min((at for at, _ in entries), default=None)
    if deadline != m.next_deadline:
        m = replace(m, next_deadline=deadline)
    return m, () if action is None else (action,)


def fold(facts: Iterable[Fact], policy: Policy, draw: Draw) -> Machine:
    """Rebuild the machine from stored facts, in any order; repeats do not matter.

    The moment of the next random check is drawn anew, and checks that were asked for or owed are
    not remembered as answered; `due` asks for what is missing, at worst once more than needed.
    """
    machine = Machine()
    seen: set[tuple[str, int]] = set()
    for at, _, _, fact in sorted(_moments(facts), key=lambda moment: moment[:3]):
        if (fact.key, at) not in seen:
            seen.add((fact.key, at))
            machine = absorb(machine, fact, policy, draw)
    if machine.random_at is not None:
        # What was drawn on the way may long be over: in the life that is read here it never was.
        machine = draw_random(machine, machine.now, policy, draw)
    deadline = min((at for at, _ in agenda(machine, policy)), default=None)
    return replace(machine, next_deadline=deadline)


def wind_up(machine: Machine, policy: Policy) -> tuple[Action, ...]:
    """Name what to do when the learner ends the session, in this order: end check, end."""
    close = Close(reason=CloseReason.LEARNER)
    if machine.state not in LIVE_STATES:
        return ()
    asks = policy.checks.at_end and machine.state is State.RUNNING and not machine.supervised
    if asks and machine.fresh_since is not None and machine.last_frame is not None:
        # Only the newest frames: a pass counts at the oldest that was judged.
        latest = machine.last_frame - policy.checks.frames_needed_s * 1_000
        return (AskCheck(cause=CheckCause.END, not_before=latest), close)
    return (close,)


def _moments(facts: Iterable[Fact]) -> Iterable[tuple[int, int, str, Fact]]:
    """Tell when each was heard of (instant, causal rank, key).

    A run is heard of at its ends and at each identity sample in it, as it grew when it was lived.
    """
    known = list(facts)
    runs = sorted((f for f in known if isinstance(f, Presence)), key=lambda f: f.t)
    starts = [run.t for run in runs]
    for fact in known:
        rank = 2 * CAUSAL_ORDER.index(type(fact))
        if isinstance(fact, Presence):
            yield fact.t, rank, fact.key, replace(fact, end=fact.t)
            yield fact.end, rank, fact.key, fact
            continue
        heard = max(fact.t, fact.heard) if isinstance(fact, Check) else fact.t
        if isinstance(fact, Check) and fact.active:
            rank = 2 * CAUSAL_ORDER.index(Challenged) + 1  # it answers one of the same millisecond
        yield heard, rank, fact.key, fact
        i = bisect_right(starts, fact.t) - 1
        if isinstance(fact, Identity) and i >= 0 and fact.t <= runs[i].end:
            yield fact.t, _OF_RUNS, runs[i].key, replace(runs[i], end=fact.t)
