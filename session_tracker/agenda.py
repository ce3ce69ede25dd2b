"""What a session will want done, and when, if no further fact comes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from session_tracker.events import CheckCause, CloseReason, PauseReason
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

Entry: TypeAlias = tuple[int, Action]
"""(instant in UTC ms from which on it is due, what)."""

ENDED_BY_CHALLENGE = frozenset({PauseReason.CHALLENGE, PauseReason.SPOOF, PauseReason.MISMATCH})
"""Pauses that only a passed challenge ends, where the programme has challenges."""
MOST_TURNS = 12
"""Of a challenge's first attempt: a guess is worth nothing any more, and nobody counts further."""
_HARDER = 2
"""A challenge has two attempts, the second one turn longer; the next challenge goes on from there.
So whoever guesses for ever succeeds in at most 4/3 of 4^-turns."""
WAIT_FOR_A_TOUCH = frozenset({PauseReason.IDLE, PauseReason.LEARNER})
"""Pauses that only the learner's own hand can end."""


def agenda(m: Machine, policy: Policy) -> Iterator[Entry]:
    """Everything planned, the weightier first; of what is due, the first is to be done."""
    if m.state not in LIVE_STATES:
        return
    yield from _endings(m, policy)
    if m.may_resume:
        yield m.now, Resume()
        return
    yield from _pauses(m, policy)
    if m.challenged_at is not None:
        yield from _challenge(m, m.challenged_at, policy)
        return
    for at, ask in _checks(m, policy):
        if m.asked_at is None:
            yield at, ask
        else:
            yield max(at, m.asked_at + policy.checks.ask_again_after_s * 1_000), ask


def _endings(m: Machine, policy: Policy) -> Iterator[Entry]:
    rules = policy.consequences
    limits = {
        PauseReason.MISMATCH: rules.mismatch_suspends_after,
        PauseReason.SPOOF: rules.spoof_suspends_after,
    }
    if m.struck_by is not None and m.strikes >= limits[m.struck_by]:
        yield m.now, Suspend(reason=m.struck_by)
    if m.last_frame is not None and not m.supervised:
        closes = m.last_frame + policy.network.closed_after_s * 1_000
        yield closes, Close(reason=CloseReason.NETWORK_GAP)
    elif m.supervised_until is not None and m.last_frame is None:
        # There is no camera: once staff do not answer for the learner, nothing can be earned.
        closes = m.supervised_until + policy.network.closed_after_s * 1_000
        yield closes, Close(reason=CloseReason.EXPIRED)
    if m.state is State.AWAITING_START_CHECK and m.opened_at is not None:
        yield m.opened_at + policy.checks.start_limit_s * 1_000, Close(reason=CloseReason.EXPIRED)


def _pauses(m: Machine, policy: Policy) -> Iterator[Entry]:
    if m.state not in (State.RUNNING, State.CHALLENGED):
        return
    if m.stop is not None:
        yield m.now, Pause(reason=m.stop)
    if m.state is State.CHALLENGED:
        return
    if m.last_activity is not None:
        yield m.last_activity + policy.playback.idle_s * 1_000, Pause(reason=PauseReason.IDLE)
    if m.supervised:
        return
    if policy.looking_away.enabled and m.away_since is not None and m.last_frame is not None:
        away = policy.looking_away.after_s * 1_000
        if m.last_frame - m.away_since >= away:
            yield m.now, Pause(reason=PauseReason.LOOKING_AWAY)
    if m.last_frame is not None:
        gap = m.last_frame + policy.network.tolerated_s * 1_000
        yield gap, Pause(reason=PauseReason.NETWORK_GAP)
        # Frames that *arrived* and showed nobody; a missing frame is a gap of the network.
        absent = policy.brackets.absent_s * 1_000
        if m.no_face_since is not None and m.last_frame - m.no_face_since >= absent:
            yield m.now, Pause(reason=PauseReason.ABSENT)
    if m.answer_since is not None:
        windows = 1 + policy.checks.answer_retries
        given_up = m.answer_since + windows * policy.checks.answer_window_s * 1_000
        yield given_up, Pause(reason=PauseReason.NO_EVIDENCE)


def _checks(m: Machine, policy: Policy) -> Iterator[Entry]:
    if m.supervised:
        return
    if m.state is State.RUNNING:
        yield from _running_checks(m, policy)
    elif m.state is State.AWAITING_START_CHECK:
        yield from _attempt(m, CheckCause.START, policy)
    elif m.state is State.PAUSED and (m.touched or m.pause_reason not in WAIT_FOR_A_TOUCH):
        yield from _attempt(m, CheckCause.RESUME, policy)


def _challenge(m: Machine, challenged_at: int, policy: Policy) -> Iterator[Entry]:
    """Wait for the answer to the challenge that is shown; show another one where it was lost."""
    if m.supervised or m.challenged_by is None:
        return
    rules = policy.checks
    attempt_s = rules.challenge_window_s(_turns(m.challenges - 1, policy))
    answered = (1 + rules.answer_retries) * attempt_s + rules.ask_again_after_s
    at = m.now if m.asked_at is None else challenged_at + answered * 1_000
    yield at, _ask(m, m.challenged_by, None, policy, active=True)


def _ask(
    m: Machine, cause: CheckCause, not_before: int | None, policy: Policy, *, active: bool
) -> AskCheck:
    """Ask for a check, or for a challenge: each is longer than the last that was not passed."""
    if not active:
        return AskCheck(cause=cause, not_before=not_before)
    turns = _turns(m.challenges, policy)
    return AskCheck(cause=cause, not_before=not_before, active=True, turns=turns)


def _turns(in_vain: int, policy: Policy) -> int:
    """Give the turns of a challenge after so many that were not passed."""
    return min(policy.checks.challenge_turns + _HARDER * max(in_vain, 0), MOST_TURNS)


def _attempt(m: Machine, cause: CheckCause, policy: Policy) -> Iterator[Entry]:
    """Plan a check the learner waits for: once fresh frames span enough time, then ever rarer."""
    if m.fresh_since is None or m.last_frame is None:
        return
    span = policy.checks.frames_needed_s * 1_000
    if m.attempts:
        span = max(span, _spacing_ms(m, policy))
    since = max(m.fresh_since, m.attempt_from or 0)
    if m.last_frame - since >= span:
        active = _by_challenge(m, cause, policy)
        yield m.now, _ask(m, cause, since, policy, active=active)


def _by_challenge(m: Machine, cause: CheckCause, policy: Policy) -> bool:
    """Tell whether a check the learner waits for is a challenge."""
    if cause is CheckCause.START:
        return policy.checks.challenge_at_start
    return policy.checks.challenges and m.pause_reason in ENDED_BY_CHALLENGE


def _spacing_ms(m: Machine, policy: Policy) -> int:
    """Between two attempts: doubled each time, up to one answer window."""
    rules = policy.checks
    return 1_000 * min(rules.retry_after_s << min(m.attempts, 16), rules.answer_window_s)


def _running_checks(m: Machine, policy: Policy) -> Iterator[Entry]:
    """Plan silent checks. None is asked for without a face in view: nobody there is an absence."""
    if m.fresh_since is None:
        if m.answer_since is None:
            yield from _random_check(m, policy)
        return
    if m.answer_since is not None:
        yield _retry(m, m.answer_since, policy)
        return
    if m.suspicion is not None:
        at = _after_more_frames(m, m.suspicion.first, policy)
        yield at, AskCheck(cause=CheckCause.SUSPICION, not_before=m.suspicion.newest)
    if m.doubt is not None:
        at = _after_more_frames(m, m.doubt, policy)
        yield at, AskCheck(cause=CheckCause.RETRY, not_before=m.doubt)
    if m.player_runs and m.last_pass is not None and _shows_more(m):
        forced = m.last_pass + policy.checks.force_after_s * 1_000
        at = max(forced, _settled(m.fresh_since, policy))
        yield at, AskCheck(cause=CheckCause.MAX_GAP, not_before=None)
    yield from _random_check(m, policy)
    # Last: who presses pause over and over keeps no other check away.
    if m.owed is not None and (m.last_frame or 0) >= (m.owed.not_before or 0):
        yield m.now, m.owed


def _settled(fresh_since: int, policy: Policy) -> int:
    """When a silent check may judge a track: it had an identity sample of its own already."""
    return fresh_since + policy.checks.frames_needed_s * 1_000


def _random_check(m: Machine, policy: Policy) -> Iterator[Entry]:
    """Plan the random check. It waits for a good moment, and no longer than an answer window.

    Else whoever shows a face for a frame or two at a time would never be challenged.
    """
    if m.random_at is None or not m.player_runs:
        return
    latest = m.random_at + policy.checks.answer_window_s * 1_000
    if m.random_active:
        at = latest if m.fresh_since is None else m.random_at
        # It is a cue: the frame just before it has to match.
        yield at, _ask(m, CheckCause.RANDOM, m.last_frame, policy, active=True)
    elif m.fresh_since is not None and _shows_more(m):
        at = max(m.random_at, min(_settled(m.fresh_since, policy), latest))
        yield at, AskCheck(cause=CheckCause.RANDOM, not_before=None)


def _shows_more(m: Machine) -> bool:
    """Tell whether a frame has come since the last check, which may have judged older ones."""
    if m.last_frame is None:
        return False
    return all(at is None or m.last_frame > at for at in (m.last_check, m.checked_at))


def _retry(m: Machine, answer_since: int, policy: Policy) -> Entry:
    """Plan the next look within an answer window, at frames that came after the last one."""
    since = answer_since if m.attempt_from is None else m.attempt_from
    fresh = since if m.suspicion is None else max(since, m.suspicion.newest)
    at = since + _spacing_ms(m, policy)
    return at, AskCheck(cause=CheckCause.RETRY, not_before=fresh)


def _after_more_frames(m: Machine, since: int, policy: Policy) -> int:
    """When a doubtful sample is looked into: at its second further frame or after a fixed wait.

    Frames come every `period_s`, jittered; one and a half periods after the sample the second
    further one is the next to come.
    """
    second_frame = since + policy.sampling.period_s * 1_500
    if m.last_frame is not None and m.last_frame >= second_frame:
        return m.now
    return since + policy.checks.suspicion_wait_s * 1_000
