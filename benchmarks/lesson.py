"""A lesson as events: who sits there, what the camera makes of it, and the real rules in the loop.

No pixels. What the networks say of a frame comes from `benchmarks.eyes`: drawn from distributions
that stand for their error rates, or from a bank of real scores; either way with a part that is
tied to the person, because errors are. Everything behind the scores is the tracker's own: the
machine asks, the facts pile up, the credit is derived from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import TypeAlias

from benchmarks.eyes import Drawn, Eyes, Look, Scores, Who
from session_tracker import states
from session_tracker.credit import LearnerCredit, SessionFacts, derive
from session_tracker.events import (
    Challenged,
    Check,
    Closed,
    Fact,
    Identity,
    Opened,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    Suspended,
    SystemFault,
)
from session_tracker.intervals import Intervals, intersect, subtract, total_ms, union
from session_tracker.machine import LIVE_STATES, Machine, State
from session_tracker.playback import standing
from session_tracker.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One frame as the verifier sees it."""

    t: int
    track: int
    look: Look


Hands: TypeAlias = Iterable[tuple[int, bool]]
"""(millisecond of the lesson, play or pause), in order: who presses the player's button when."""


class Actor:
    """Who sits there when; `told` lets him react to what the learner's screen shows."""

    def __init__(self, plan: Sequence[tuple[int, Who]]) -> None:
        """`plan`: (from this millisecond of the lesson on, who), sorted, beginning at 0."""
        self.timeline: list[tuple[int, Who]] = list(plan)

    def at(self, t: int) -> Who:
        """Say who sits there at `t`."""
        now = self.timeline[0][1]
        for since, who in self.timeline:
            if since > t:
                break
            now = who
        return now

    def told(self, t: int, cue: PauseReason | None) -> None:
        """Hear at `t` what the screen shows: the reason of a pause or None."""

    def spans(self, who: Who, origin: int, end: int) -> Intervals:
        """Tell when `who` sat there, on the axis of a lesson from `origin` to `end`."""
        edges = [*self.timeline, (end - origin, Who.NOBODY)]
        return union(
            (origin + a, min(origin + b, end)) for (a, w), (b, _) in pairwise(edges) if w is who
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What came of one lesson."""

    facts: tuple[Fact, ...]
    credit: LearnerCredit
    machine: Machine
    ran_ms: dict[Who, int]
    """How long each sat there while the tracker let the lesson run."""
    credited_ms: dict[Who, int]
    """How much of the credit fell into his time."""
    checks: int
    first_ms: dict[Who, int]
    """When each came first, who came at all; on the axis of the facts."""

    def cut_s(self, who: Who) -> float | None:
        """Tell how long the lesson ran on from when `who` came; None where it did not run then."""
        began = self.first_ms.get(who)
        if began is None:
            return None
        turns = [f for f in self.facts if isinstance(f, Resumed | Paused | Suspended | Closed)]
        turns.sort(key=lambda f: (f.t, f.key))
        before = [f for f in turns if f.t <= began]
        after = [f.t for f in turns if f.t > began and not isinstance(f, Resumed)]
        runs = bool(before) and isinstance(before[-1], Resumed)
        return (min(after) - began) / 1_000 if runs and after else None


ATTEMPT_S = 13
"""How long the learner takes for an attempt: measured on the virtual learner, 14 to 17 s."""
NO_TURN_S = 20
"""A face that does not turn ends an attempt after so long (`verifier.streaming.challenge`)."""


@dataclass
class _Shown:
    """A challenge that is shown, second by second."""

    ask: states.AskCheck
    began: int
    next_at: int
    attempt_from: int
    attempts_left: int
    who: Who | None = None
    """Who has been there in this attempt..."""
    since: int = 0
    """...and since when."""
    seen: bool = False
    before: int = 0


@dataclass
class _Stage:
    """The moving parts of one lesson."""

    policy: Policy
    actor: Actor
    eyes: Eyes
    rng: Random
    origin: int
    facts: dict[str, Fact] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    samples: list[Sample] = field(default_factory=list)
    run: Presence | None = None
    track: int = 0
    visible: int = 0
    owed: bool = True
    hand_frames: int = 0
    away_frames: int = 0
    media_ms: int = 0
    media_at: int | None = None
    """Since when the player runs; None where it stands still."""
    pressed: bool = True
    """Whether the learner wants the player to run."""
    cue: PauseReason | None = None
    shown: _Shown | None = None
    keys: int = 0
    checks: int = 0

    def key(self) -> str:
        """Give the next fact its key."""
        self.keys += 1
        return f"{self.keys:06d}"

    # --- facts and actions -----------------------------------------------------------------

    def tell(self, fact: Fact) -> None:
        """Append a fact, step, and carry out what follows until there is nothing left to do."""
        self.facts[fact.key] = fact
        self.machine, actions = states.step(self.machine, fact, self.policy, self.rng.random)
        self._carry_out(actions)

    def due(self, now: int) -> None:
        """Let time pass."""
        self.machine, actions = states.due(self.machine, now, self.policy)
        self._carry_out(actions)

    def _carry_out(self, actions: tuple[states.Action, ...]) -> None:
        for action in actions:
            now = self.machine.now
            match action:
                case states.AskCheck(active=True):
                    self.checks += 1
                    self.tell(Challenged(key=self.key(), t=now, cause=action.cause))
                    self._stop_player(now)
                    self._show(action, now)
                case states.AskCheck():
                    self.tell(self._check(action, now))
                case states.Pause():
                    self.tell(Paused(key=self.key(), t=now, reason=action.reason))
                    self._stop_player(now)
                case states.Resume():
                    self.owed = True
                    self.tell(Resumed(key=self.key(), t=now))
                    self._start_player(now)
                case states.Suspend():
                    self.tell(Suspended(key=self.key(), t=now, reason=action.reason))
                    self._stop_player(now)
                case states.Close():
                    self.tell(Closed(key=self.key(), t=now, reason=action.reason))
        if self.machine.cue is not self.cue:
            self.cue = self.machine.cue
            self.actor.told(self.machine.now - self.origin, self.cue)

    def restart(self, now: int) -> None:
        """Take the session up again as the tracker does after a crash; the stream is a new one."""
        running = self.machine.state is State.RUNNING
        self.machine = states.fold(self.facts.values(), self.policy, self.rng.random)
        self.visible, self.samples, self.shown = 0, [], None
        if running:
            self.tell(SystemFault(key=self.key(), t=min(self.machine.now, now), end=now))

    def leave(self, now: int) -> None:
        """End the session as the learner does, if it has not ended by itself."""
        if self.machine.state not in LIVE_STATES:
            return
        self.due(now)
        self._stop_player(now)
        for action in states.wind_up(self.machine, self.policy):
            self._carry_out((action,))

    def press(self, now: int, *, play: bool) -> None:
        """Press pause, or play."""
        self.pressed = play
        if play:
            self._start_player(now)
        else:
            self._stop_player(now)

    def _start_player(self, now: int) -> None:
        if self.media_at is None and self.pressed and self.machine.state is State.RUNNING:
            self.media_at = now
            self.report(now)

    def _stop_player(self, now: int) -> None:
        if self.media_at is not None:
            self.media_ms += now - self.media_at
            self.media_at = None
            self.report(now)

    def report(self, now: int) -> None:
        """Tell where the player is."""
        running = 0 if self.media_at is None else now - self.media_at
        self.tell(
            Playback(
                key=self.key(),
                t=now,
                media_id="lesson",
                media_ms=self.media_ms + running,
                playing=self.media_at is not None,
            )
        )

    # --- the camera and the verifier -------------------------------------------------------

    def frame(self, t: int) -> None:
        """One frame arrives."""
        sample = self._look(t)
        self.samples.append(sample)
        if len(self.samples) > 12:
            del self.samples[:4]
        self._extend_run(sample)
        drawn = self.rng.random() * self.policy.sampling.identity_one_in < 1
        if sample.track and self.shown is None and (self.owed or drawn):
            outcome = self._judge([sample])
            self.owed = outcome is Outcome.NO_EVIDENCE
            self.tell(Identity(key=self.key(), t=t, track=sample.track, outcome=outcome))

    def _look(self, t: int) -> Sample:
        who, rng, chances = self.actor.at(t - self.origin), self.rng, self.eyes.chances
        if who is Who.LEARNER and rng.random() < chances.away:
            self.away_frames = rng.choice((1, 2))
        present = who is not Who.NOBODY and self.away_frames == 0
        self.away_frames = max(0, self.away_frames - 1)
        gap = bool(self.samples) and t - self.samples[-1].t > self.policy.sampling.gap_s * 1_000
        if present and (not self.visible or gap):
            self.track += 1
            self.owed = True
        self.visible = self.track if present else 0
        if rng.random() < chances.hand:
            self.hand_frames = 1 + int(rng.expovariate(1 / 2))
        hand, self.hand_frames = self.hand_frames > 0, max(0, self.hand_frames - 1)
        hidden = not present or who is Who.HIDDEN or hand
        return Sample(t=t, track=self.visible, look=self.eyes.look(who, rng, hidden=hidden))

    def _judge(self, samples: Sequence[Sample]) -> Outcome:
        return self.eyes.judge([s.look for s in samples])

    def _check(self, ask: states.AskCheck, now: int) -> Check:
        """Judge at most five frames of the window, spread over it, as the verifier does."""
        self.checks += 1
        rules = self.policy.sampling
        since = max(now - rules.window_s * 1_000, ask.not_before or 0)
        there = [s for s in self.samples if s.track and s.track == self.visible and s.t >= since]
        pool = [s for s in there if s.look.usable] or there
        if len(pool) > rules.check_frames:
            cuts = [round(i * len(pool) / rules.check_frames) for i in range(rules.check_frames)]
            ends = [*cuts[1:], len(pool)]
            pool = [self.rng.choice(pool[a:b]) for a, b in zip(cuts, ends, strict=True)]
        return Check(
            key=self.key(),
            t=pool[-1].t if pool else now,
            since=pool[0].t if pool else now,
            cause=ask.cause,
            track=self.visible,
            outcome=self._judge(pool),
            heard=now,
        )

    # --- challenges ------------------------------------------------------------------------

    def _show(self, ask: states.AskCheck, now: int) -> None:
        """Compare the frames that are there, then show the challenge."""
        windows = 1 + self.policy.checks.answer_retries
        shown = self.shown = _Shown(ask, now, now + 1_000, now, windows)
        before = self._check(ask, now)
        self.checks -= 1
        if before.outcome in (Outcome.PASS, Outcome.SPOOF):
            shown.before = before.since
        if before.outcome is Outcome.MISMATCH:
            self._end_challenge(shown, now, Outcome.MISMATCH)

    def look(self, now: int) -> None:
        """See who sits there while the challenge is shown."""
        shown = self.shown
        if shown is None:
            return
        shown.next_at = now + 1_000
        who = self.actor.at(now - self.origin)
        if who is not shown.who:
            broken = shown.who not in (None, Who.NOBODY) or who is Who.NOBODY
            shown.who, shown.since = who, now
            if broken and shown.seen:
                self._end_attempt(shown, now)
                return
        here = now - shown.since
        shown.seen = shown.seen or who in (Who.LEARNER, Who.IMPOSTOR, Who.PICTURE)
        if who is Who.IMPOSTOR and here >= 2_000:
            self._end_challenge(shown, now, self._impression(now))
        elif who is Who.LEARNER and here >= ATTEMPT_S * 1_000:
            if self.rng.random() < self.eyes.chances.clumsy:
                self._end_attempt(shown, now)
            else:
                self._end_challenge(shown, now, self._impression(now))
        elif who is Who.PICTURE and here >= NO_TURN_S * 1_000 and self._guessed(shown):
            self._end_challenge(shown, now, self._impression(now))
        elif (who is Who.PICTURE and here >= NO_TURN_S * 1_000) or (
            now - shown.attempt_from >= self.policy.checks.answer_window_s * 1_000
        ):
            self._end_attempt(shown, now)

    def _guessed(self, shown: _Shown) -> bool:
        """Tell whether what is held up moved as it was asked to, by chance: the bound of the rules.

        In the trials on the networks (`tests.acceptance.challenge_trials`) none ever did.
        """
        turns = shown.ask.turns + self.policy.checks.answer_retries + 1 - shown.attempts_left
        return self.rng.random() < 4.0**-turns

    def _impression(self, now: int) -> Outcome:
        """Judge frames that look straight: whose face, and whether it looks alive."""
        found = self._judge([self._look(now) for _ in range(5)])
        return Outcome.UNANSWERED if found is Outcome.NO_EVIDENCE else found

    def _end_attempt(self, shown: _Shown, now: int) -> None:
        shown.attempts_left -= 1
        shown.attempt_from, shown.who, shown.since = now, None, now
        if shown.attempts_left:
            return
        if not shown.seen:
            self._end_challenge(shown, now, Outcome.NO_EVIDENCE)
            return
        found = self._impression(now) if self.actor.at(now - self.origin) is Who.PICTURE else None
        spoof = found is Outcome.SPOOF
        self._end_challenge(shown, now, Outcome.SPOOF if spoof else Outcome.UNANSWERED)

    def _end_challenge(self, shown: _Shown, now: int, outcome: Outcome) -> None:
        self.shown = None
        self.machine = replace(self.machine, now=max(now, self.machine.now))
        t = self.samples[-1].t if self.samples else now
        passed = outcome is Outcome.PASS
        self.tell(
            Check(
                key=self.key(),
                t=max(t, shown.began),
                since=shown.attempt_from if passed else shown.began,
                cause=shown.ask.cause,
                track=self.visible or self.track,
                outcome=outcome,
                active=True,
                asked=shown.began,
                before=shown.before,
                heard=now,
            )
        )

    def _extend_run(self, sample: Sample) -> None:
        run = self.run
        gap = self.policy.sampling.gap_s * 1_000
        if run is not None and run.track == sample.track and sample.t - run.end <= gap:
            run = replace(run, end=sample.t, samples=run.samples + 1)
        else:
            run = Presence(
                key=self.key(),
                t=sample.t,
                end=sample.t,
                track=sample.track,
                faces_max=1 if sample.track else 0,
                samples=1,
            )
        self.run = run
        self.tell(run)


def play(
    actor: Actor,
    policy: Policy,
    rng: Random,
    *,
    length_s: int = 1_200,
    eyes: Eyes | None = None,
    origin: int = 1_800_000_000_000,
    dark: Intervals = (),
    restarts: Sequence[int] = (),
    jitter_s: float = 1.0,
    hands: Hands | None = None,
) -> Lesson:
    """Play a lesson to its end.

    `dark`: milliseconds of the lesson in which no frame gets through; `restarts`: when the
    tracker is started anew and takes the session up again; `jitter_s`: frames come uniformly
    within so much of their period; `hands`: who presses pause and play meanwhile.
    """
    stage = _Stage(policy, actor, eyes or Drawn(Scores(), rng), rng, origin)
    end = origin + length_s * 1_000
    stage.tell(Opened(key=stage.key(), t=origin))
    period = policy.sampling.period_s
    frame = origin + 1_000
    report = origin + policy.lease.heartbeat_s * 1_000
    pending = sorted(origin + t for t in restarts)
    presses = iter(hands) if hands is not None else iter(())
    press = next(presses, None)
    while stage.machine.state not in (State.SUSPENDED, State.CLOSED):
        deadline = stage.machine.next_deadline
        if deadline is None:
            deadline = end
        looks = end if stage.shown is None else stage.shown.next_at
        touch = end if press is None else origin + press[0]
        soonest = min(frame, report, looks, touch, *pending[:1], end)
        now = min(soonest, max(deadline, stage.machine.now + 1))
        if now >= end:
            break
        if pending and now >= pending[0]:
            stage.restart(pending.pop(0))
        if now == frame:
            if not any(a <= now - origin < b for a, b in dark):
                stage.frame(now)
            frame += round(1_000 * (period + rng.uniform(-jitter_s, jitter_s)))
        if now == report:
            if stage.media_at is not None:
                stage.report(now)
            report += policy.lease.heartbeat_s * 1_000
        if now == looks:
            stage.look(now)
        if press is not None and now == touch:
            stage.press(now, play=press[1])
            press = next(presses, None)
        stage.due(now)
    stage.leave(end)
    return _tally(stage, end)


def _tally(stage: _Stage, end: int) -> Lesson:
    facts = tuple(stage.facts.values())
    credit = derive([SessionFacts(session_id="one", facts=facts)], stage.policy, now=end)
    (session,) = credit.sessions
    credited = union((i.start, i.end) for i in session.credited)
    still = union((a, b) for a, b, _ in standing(facts, (session.start, session.end)))
    ran = subtract(union([(session.start, session.end)]), still)
    sat = {who: stage.actor.spans(who, stage.origin, end) for who in Who}
    return Lesson(
        facts=facts,
        credit=credit,
        machine=stage.machine,
        ran_ms={who: total_ms(intersect(spans, ran)) for who, spans in sat.items()},
        credited_ms={who: total_ms(intersect(spans, credited)) for who, spans in sat.items()},
        checks=stage.checks,
        first_ms={who: spans[0][0] for who, spans in sat.items() if spans},
    )
