"""What one fact changes in a machine. Pure; time passing without a fact is in `agenda`."""

from __future__ import annotations

from dataclasses import replace

from session_tracker.events import (
    Challenged,
    Check,
    CheckCause,
    Closed,
    Decision,
    Fact,
    Identity,
    Looking,
    Opened,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    Settled,
    Supervised,
    Suspended,
    SystemFault,
)
from session_tracker.machine import LIVE_STATES, AskCheck, Machine, State, Suspicion
from session_tracker.policy import Policy
from session_tracker.sampling import Draw, next_random_check_ms

RESUMED_BY_SAMPLE = frozenset(
    {PauseReason.ABSENT, PauseReason.NO_EVIDENCE, PauseReason.IDLE, PauseReason.LOOKING_AWAY}
)
"""Pauses that an identity sample may end; the others need a check."""
STRUCK = {
    Outcome.MISMATCH: PauseReason.MISMATCH,
    Outcome.SPOOF: PauseReason.SPOOF,
    Outcome.UNANSWERED: PauseReason.CHALLENGE,
}
CLOCK_OF_RANDOM = frozenset({CheckCause.START, CheckCause.RANDOM})
"""Causes of silent checks from which the bounds of the next random check count. A press of pause
calls for an end check: if that moved them, a script that presses it often would meet none."""
LIVELY = frozenset({State.RUNNING, State.CHALLENGED})
"""States in which the lesson goes on, or would."""


def absorb(machine: Machine, fact: Fact, policy: Policy, draw: Draw) -> Machine:
    """Give the machine after this fact. What came after the end changes nothing."""
    if machine.state not in LIVE_STATES:
        return _outside(machine, fact)
    m = _heard(machine, fact)
    match fact:
        case Presence():
            m = _frame(m, fact.t, fact.end, fact.track, policy)
        case Identity():
            m = _identity(_frame(m, fact.t, fact.t, fact.track, policy), fact, policy, draw)
        case Check():
            m = _check(m, fact, policy, draw)
        case Challenged():
            m = _challenged(m, fact)
        case Looking():
            m = _looking(m, fact)
        case Playback():
            m = _playback(m, fact, policy)
        case Paused():
            m = _paused(m, fact)
        case Resumed():
            m = _resumed(m, fact, policy, draw)
        case SystemFault():
            m = _fault(m, fact)
        case Supervised() if fact.end > m.now:
            until = max(fact.end, m.supervised_until or 0)
            m = replace(m, supervised_until=until, may_resume=m.state is not State.RUNNING)
            m = replace(m, challenged_at=None, challenged_by=None)
        case Suspended() | Closed():
            m = _ended(m, fact)
    return m  # what people decided, and the rest, changes nothing of what is done


def _heard(m: Machine, fact: Fact) -> Machine:
    """Note that it is as late as this fact; what a decision is about says nothing of that."""
    if fact.t <= m.now or isinstance(fact, Decision):
        return m
    return replace(m, now=fact.t)


def _outside(m: Machine, fact: Fact) -> Machine:
    """Before the beginning only `Opened` counts, after the end only the next step forward."""
    if m.state is State.CREATED and isinstance(fact, Opened):
        now = max(m.now, fact.t)
        return replace(m, state=State.AWAITING_START_CHECK, opened_at=fact.t, now=now)
    if m.state is State.SUSPENDED and isinstance(fact, Closed):
        return replace(m, state=State.CLOSED, closed_by=fact.reason)
    if m.state is State.CLOSED and isinstance(fact, Settled):
        return replace(m, state=State.SETTLED)
    return m


def _ended(m: Machine, fact: Suspended | Closed) -> Machine:
    if isinstance(fact, Suspended):
        return replace(m, state=State.SUSPENDED, pause_reason=fact.reason)
    return replace(m, state=State.CLOSED, closed_by=fact.reason)


def _fault(m: Machine, fact: SystemFault) -> Machine:
    """Note that the service failed; a challenge that it was to show is shown no more.

    That one makes none longer, and the next waits for frames of after the fault: whoever waits
    for it may have to come back by another stream first.
    """
    m = replace(m, stop=PauseReason.SYSTEM_ERROR if m.state in LIVELY else m.stop)
    if m.challenged_at is None:
        return m
    return replace(
        m,
        challenged_at=None,
        challenged_by=None,
        challenges=max(0, m.challenges - 1),
        attempt_from=max(fact.t, fact.end) + 1,
    )


def _frame(m: Machine, t: int, end: int, track: int, policy: Policy) -> Machine:
    """Note frames that arrived from `t` to `end` on one track (0: no face)."""
    if m.last_frame is not None and end <= m.last_frame:
        return m
    begins = (
        m.last_frame is None or track != m.track or t - m.last_frame > policy.sampling.gap_s * 1_000
    )
    fresh = m.fresh_since if track and not begins else (t if track else None)
    no_face = None if track else (t if begins else m.no_face_since)
    return replace(
        m,
        now=max(m.now, end),
        last_frame=end,
        track=track,
        fresh_since=fresh,
        no_face_since=no_face,
        away_since=None if begins or not track else m.away_since,
    )


def _looking(m: Machine, fact: Looking) -> Machine:
    """Note where he looks; whoever was stopped for looking away goes on by looking back."""
    if fact.away:
        return replace(m, away_since=fact.t if m.away_since is None else m.away_since)
    stopped = m.state is State.PAUSED and m.pause_reason is PauseReason.LOOKING_AWAY
    return replace(m, away_since=None, may_resume=m.may_resume or stopped)


def _passed(m: Machine, t: int, policy: Policy, draw: Draw, *, of_check: bool) -> Machine:
    """Note a pass and draw the next random check anew, unless its moment is there.

    A silent one that is due has been made where a check passed; a challenge stays due.
    """
    if not _struck(m) or (of_check and not m.random_active):
        m = draw_random(m, m.now, policy, draw)
    return replace(m, last_pass=max(t, m.last_pass or t), doubt=None, tell_from=None)


def _struck(m: Machine) -> bool:
    """Tell whether the moment of a random check is there, and it was not asked for yet."""
    return m.random_at is not None and m.random_at <= m.now


def draw_random(m: Machine, t: int, policy: Policy, draw: Draw) -> Machine:
    """Draw at `t` the moment of the next random check, and whether it is a challenge."""
    rules = policy.checks
    at = next_random_check_ms(
        draw,
        now_ms=t,
        last_check_ms=t if m.random_from is None else m.random_from,
        mean_ms=rules.random_mean_s * 1_000,
        min_ms=rules.random_min_s * 1_000,
        max_ms=rules.random_max_s * 1_000,
    )
    return replace(m, random_at=at, random_active=_draw_active(policy, draw))


def _draw_active(policy: Policy, draw: Draw) -> bool:
    share = policy.checks.challenge_share
    return share > 0 and draw() < share


def _challenged(m: Machine, fact: Challenged) -> Machine:
    """Note that a challenge is shown: a player that ran stands still until it is answered."""
    return replace(
        m,
        state=State.CHALLENGED if m.state is State.RUNNING else m.state,
        challenged_at=fact.t,
        challenged_by=fact.cause,
        challenges=m.challenges + 1,
        owed=None,
    )


def _identity(m: Machine, fact: Identity, policy: Policy, draw: Draw) -> Machine:
    if fact.outcome is Outcome.PASS:
        cued = _cued(m, fact.t, policy)
        passed = _passed(m, fact.t, policy, draw, of_check=False)
        return _sample_passed(passed, fact, cued=cued)
    if m.state is not State.RUNNING:
        return m
    if fact.outcome is Outcome.NO_EVIDENCE:
        return replace(m, doubt=fact.t if m.doubt is None else m.doubt)
    suspicion = Suspicion(first=fact.t, newest=fact.t, track=fact.track)
    if m.suspicion is not None and m.suspicion.track == fact.track:
        suspicion = replace(m.suspicion, newest=max(fact.t, m.suspicion.newest))
    return replace(m, suspicion=suspicion)


def _cued(m: Machine, t: int, policy: Policy) -> bool:
    """Tell whether a pass at `t` was asked for: it says nothing of who sits there otherwise.

    Whoever was fetched to end a pause may stay a while: the answer window after it counts, too.
    """
    window = policy.checks.answer_window_s * 1_000
    return m.cue is not None or (m.resumed_at is not None and t < m.resumed_at + window)


def _sample_passed(m: Machine, fact: Identity, *, cued: bool) -> Machine:
    """End a doubt, or a pause that needs no check; a sample never clears a suspicion."""
    if m.state is State.RUNNING and m.suspicion is None:
        strikes = m.strikes if cued else 0
        return replace(m, answer_since=None, strikes=strikes)
    after = m.paused_at is not None and fact.t > m.paused_at
    if _turned_away(m):
        return m
    if m.state is State.PAUSED and after and m.pause_reason in RESUMED_BY_SAMPLE:
        touched = m.touched or m.pause_reason is not PauseReason.IDLE
        return replace(m, may_resume=m.may_resume or touched)
    return m


def _turned_away(m: Machine) -> bool:
    """Tell whether he was stopped for looking away, and still does."""
    return m.pause_reason is PauseReason.LOOKING_AWAY and m.away_since is not None


def _check(m: Machine, fact: Check, policy: Policy, draw: Draw) -> Machine:
    since, shown = min(fact.since, fact.t), m
    last_check = max(fact.t, m.last_check or fact.t)
    m = replace(m, asked_at=None, last_check=last_check, checked_at=max(fact.t, fact.heard))
    if fact.active:
        # Nobody could guess at what was not shown: the next one is no longer than this one.
        challenges = m.challenges if fact.shown else max(0, m.challenges - 1)
        m = replace(m, challenged_at=None, challenged_by=None, challenges=challenges)
    if fact.active or fact.cause in CLOCK_OF_RANDOM:
        m = replace(m, random_from=max(fact.t, m.random_from or fact.t), random_at=None)
    if m.owed is not None and fact.cause is m.owed.cause:
        m = replace(m, owed=None)
    if fact.outcome is Outcome.PASS:
        cued = _cued(shown, since, policy)
        passed = _passed(m, since, policy, draw, of_check=True)
        return _check_passed(passed, fact, cued=cued)
    if fact.outcome is Outcome.NO_EVIDENCE and not (fact.active and m.state in LIVELY):
        return _check_in_vain(m, fact, policy)
    return _check_failed(m, fact, policy)


def _check_passed(m: Machine, fact: Check, *, cued: bool) -> Machine:
    if fact.active:
        m = replace(m, challenges=0)
    if m.state is State.AWAITING_START_CHECK:
        return replace(m, may_resume=True)
    if m.state is State.PAUSED and _turned_away(m):
        # It closes the bracket, so that nothing is lost; he goes on by looking back.
        return replace(m, attempts=m.attempts + 1, attempt_from=fact.t + 1)
    if m.state is State.PAUSED:
        after = m.paused_at is not None and fact.since >= m.paused_at
        touched = m.touched or m.pause_reason is not PauseReason.IDLE
        return replace(m, may_resume=m.may_resume or (after and touched))
    cleared = m.suspicion is None or fact.since >= m.suspicion.newest
    return replace(
        m,
        may_resume=m.state is State.CHALLENGED,
        suspicion=None if cleared else m.suspicion,
        answer_since=None,
        attempts=0,
        attempt_from=None,
        strikes=0 if cleared and not cued else m.strikes,
    )


def _check_in_vain(m: Machine, fact: Check, policy: Policy) -> Machine:
    """Nothing usable was seen: never held against anybody, asked again, at first in silence."""
    if m.state is State.RUNNING and fact.cause is CheckCause.END:
        return m
    if m.state is State.RUNNING and m.answer_since is None:
        doubt = fact.t if m.doubt is None else m.doubt
        return replace(
            m,
            doubt=doubt,
            answer_since=fact.t,
            tell_from=doubt + policy.brackets.no_evidence_s * 1_000 + 1,
            attempts=0,
            attempt_from=fact.t + 1,
        )
    return replace(m, attempts=m.attempts + 1, attempt_from=fact.t + 1)


def _check_failed(m: Machine, fact: Check, policy: Policy) -> Machine:
    """Note a decided failure. Within one answer window of a pause it is the same failure still.

    Not so what a challenge calls a spoof: that is the second alarm, after the first one asked.
    A challenge for which nobody could be seen was not answered.
    """
    reason = STRUCK.get(fact.outcome, PauseReason.CHALLENGE)
    window = policy.checks.answer_window_s * 1_000
    again = (
        m.state not in LIVELY
        and m.struck_at is not None
        and fact.t - m.struck_at < window
        and not (fact.active and fact.outcome is Outcome.SPOOF)
    )
    # A passer-by in front of the camera of somebody who is away is no second failure of his.
    counts = m.state is not State.PAUSED or m.pause_reason in STRUCK.values()
    m = replace(m, attempts=m.attempts + 1, attempt_from=fact.t + 1)
    if counts and not again and reason is not PauseReason.CHALLENGE:
        m = replace(m, strikes=m.strikes + 1, struck_at=fact.t, struck_by=reason)
    if m.state not in LIVELY:
        return m
    return replace(_without_questions(m), stop=reason)


def _without_questions(m: Machine) -> Machine:
    """Drop what was open about a stretch that has been decided against."""
    return replace(m, suspicion=None, doubt=None, answer_since=None, tell_from=None, owed=None)


def _playback(m: Machine, fact: Playback, policy: Policy) -> Machine:
    moved = m.media is None or m.media[0] != fact.media_id or fact.media_ms > m.media[1]
    active = moved or fact.interaction
    owed = m.owed
    if m.state is State.RUNNING and fact.playing is not m.player_runs:
        owed = _owed(m, fact, policy)
    woken = m.state is State.PAUSED and (fact.playing or fact.interaction)
    return replace(
        m,
        player_runs=fact.playing,
        media=(fact.media_id, fact.media_ms),
        last_activity=max(fact.t, m.last_activity or fact.t) if active else m.last_activity,
        touched=m.touched or woken,
        may_resume=m.may_resume or (woken and _goes_on_by_hand(m)),
        owed=owed,
    )


def _goes_on_by_hand(m: Machine) -> bool:
    """Tell whether the learner's touch alone ends this pause."""
    # While staff answer for him no check would come that could end it.
    idle = m.supervised and m.pause_reason is PauseReason.IDLE
    return idle or m.pause_reason is PauseReason.LEARNER


def _owed(m: Machine, fact: Playback, policy: Policy) -> AskCheck | None:
    """Pressing pause closes the bracket with a check, pressing play after a while opens one."""
    if not fact.playing:
        latest = fact.t - policy.checks.frames_needed_s * 1_000
        return AskCheck(cause=CheckCause.END, not_before=latest)
    if m.last_pass is not None and fact.t - m.last_pass <= policy.brackets.no_evidence_s * 1_000:
        return None
    return AskCheck(cause=CheckCause.RESUME, not_before=fact.t)


def _paused(m: Machine, fact: Paused) -> Machine:
    if m.state is State.AWAITING_START_CHECK:
        return m
    return replace(
        _without_questions(m),
        state=State.PAUSED,
        challenged_at=None,
        challenged_by=None,
        pause_reason=fact.reason,
        paused_at=fact.t,
        stop=None,
        # Nor would one after a fault of ours.
        may_resume=m.supervised and fact.reason is PauseReason.SYSTEM_ERROR,
        touched=False,
        attempts=0,
        attempt_from=fact.t,
        random_at=m.random_at if _struck(m) else None,
    )


def _resumed(m: Machine, fact: Resumed, policy: Policy, draw: Draw) -> Machine:
    if m.state is State.RUNNING:
        return m
    if m.random_from is None:
        m = replace(m, random_from=fact.t)
    if not _struck(m):
        m = draw_random(m, fact.t, policy, draw)
    return replace(
        m,
        state=State.RUNNING,
        challenged_at=None,
        challenged_by=None,
        pause_reason=None,
        paused_at=None,
        resumed_at=fact.t,
        away_since=None,
        may_resume=False,
        attempts=0,
        attempt_from=None,
        stop=None,
        last_activity=fact.t,
        player_runs=False,
    )
