"""Challenges in the machine and in the credit: when they come, what they stop, what they prove."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import cycle, pairwise
from random import Random

import pytest

from session_tracker import states
from session_tracker.agenda import MOST_TURNS
from session_tracker.brackets import verify
from session_tracker.events import (
    Challenged,
    Check,
    CheckCause,
    Closed,
    CloseReason,
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
    VoidReason,
)
from session_tracker.machine import AskCheck, Close, Machine, Pause, Resume, State, Suspend
from session_tracker.playback import standing
from session_tracker.policy import Policy, load_policy
from session_tracker.sampling import Draw
from session_tracker.transitions import absorb

FOSHAN = load_policy("foshan-2021")


def only(share: float, *, start: bool = True) -> Policy:
    """The rules with another share of challenges."""
    update = {"challenge_share": share, "challenge_at_start": start}
    return FOSHAN.model_copy(update={"checks": FOSHAN.checks.model_copy(update=update)})


class Driver:
    """Drives a machine second by second; challenges are answered as told, checks pass."""

    def __init__(self, policy: Policy = FOSHAN, *, draw: float = 0.5) -> None:
        self.policy = policy
        self.lots: Draw = lambda: draw
        self.machine = Machine()
        self.facts: list[Fact] = []
        self.asked: list[AskCheck] = []
        self.silent = Outcome.PASS
        self.answer: Outcome | None = Outcome.PASS
        """What a challenge comes to; None: nothing comes."""
        self.before = True
        self.arrows = True
        """Whether a challenge is shown to whoever sits there."""
        self.takes_s = 15
        self.shown: tuple[AskCheck, int] | None = None
        self.track = 1
        self.tell(Opened(key="opened", t=0))

    def tell_with(self, lots: Draw) -> None:
        """Draw otherwise from now on: a moment, then whether it is a challenge, and so on."""
        self.lots = lots

    @property
    def second(self) -> int:
        """Now."""
        return self.machine.now // 1_000

    def tell(self, fact: Fact) -> None:
        """Step, and do what follows."""
        self.facts = [f for f in self.facts if f.key != fact.key] + [fact]
        self.machine, actions = states.step(self.machine, fact, self.policy, self.lots)
        self.carry_out(actions)

    def key(self) -> str:
        """Give the next key."""
        return f"{len(self.facts):05d}"

    def carry_out(self, actions: tuple[states.Action, ...]) -> None:
        """Turn actions into facts."""
        for action in actions:
            t = self.machine.now
            match action:
                case AskCheck(active=True):
                    self.asked.append(action)
                    self.shown = (action, t)
                    self.tell(Challenged(key=self.key(), t=t, cause=action.cause))
                case AskCheck():
                    self.asked.append(action)
                    since = action.not_before or max(0, t - 20_000)
                    self.tell(self.check(action, t, since, self.silent))
                case Pause():
                    self.tell(Paused(key=self.key(), t=t, reason=action.reason))
                case Resume():
                    self.tell(Resumed(key=self.key(), t=t))
                    self.play(t, playing=True)
                case Suspend():
                    self.tell(Suspended(key=self.key(), t=t, reason=action.reason))
                case Close():
                    self.tell(Closed(key=self.key(), t=t, reason=action.reason))

    def check(self, ask: AskCheck, t: int, since: int, outcome: Outcome) -> Check:
        """The fact of an answer."""
        return Check(
            key=self.key(), t=t, since=since, cause=ask.cause, track=self.track, outcome=outcome
        )

    def play(self, t: int, *, playing: bool) -> None:
        """Report that the player runs, or stands."""
        self.tell(Playback(key=self.key(), t=t, media_id="m", media_ms=t, playing=playing))

    def wait(self, seconds: int, *, face: bool = True, frames: bool = True) -> None:
        """Let time pass: a frame every 5 s, and the answer of a challenge when it is due."""
        for s in range(self.second + 1, self.second + seconds + 1):
            t = s * 1_000
            if frames and s % 5 == 0:
                track = self.track if face else 0
                run = Presence(key=self.key(), t=t, end=t, track=track, faces_max=1, samples=1)
                self.tell(run)
            if s % 15 == 0 and self.machine.state is State.RUNNING:
                self.play(t, playing=True)
            if self.shown and self.answer and t - self.shown[1] >= self.takes_s * 1_000:
                ask, began = self.shown
                self.shown = None
                answer = self.check(ask, t, began + 1, self.answer)
                before = began - 2_000 if self.before else 0
                answer = replace(answer, active=True, asked=began, before=before, heard=t)
                self.tell(replace(answer, shown=self.arrows))
            self.machine, actions = states.due(self.machine, t, self.policy)
            self.carry_out(actions)

    def started(self) -> Driver:
        """Pass the start check."""
        self.wait(40)
        assert self.machine.state is State.RUNNING
        self.asked.clear()
        return self

    def of(self, kind: type[Fact]) -> list[Fact]:
        """Facts of one kind."""
        return [f for f in self.facts if isinstance(f, kind)]


def test_the_start_check_is_a_challenge() -> None:
    """The player stands until it is passed, and the learner is told to turn his head."""
    driver = Driver()
    driver.wait(20)
    (ask,) = driver.asked
    assert (ask.cause, ask.active, ask.turns) == (CheckCause.START, True, 4)
    assert driver.machine.state is State.AWAITING_START_CHECK
    assert driver.machine.cue is PauseReason.CHALLENGE
    driver.wait(20)
    assert driver.machine.state is State.RUNNING
    assert driver.machine.cue is None


def test_without_challenges_nothing_is_shown() -> None:
    """A programme that has none goes by silent checks alone."""
    driver = Driver(only(0.0, start=False), draw=0.1).started()
    driver.wait(900)
    assert driver.asked
    assert not any(ask.active for ask in driver.asked)


@pytest.mark.parametrize(("draw", "active"), [(0.1, True), (0.24, True), (0.26, False)])
def test_one_random_check_in_four(draw: float, active: bool) -> None:
    """Whether a random check is a challenge is drawn with its moment."""
    driver = Driver()
    lots = cycle((0.1, draw))
    driver.tell_with(lambda: next(lots))
    driver.started().wait(400)
    random = [ask for ask in driver.asked if ask.cause is CheckCause.RANDOM]
    assert random
    assert {ask.active for ask in random} == {active}


def test_pressing_pause_keeps_no_random_check_away() -> None:
    """Whoever does it every few seconds is checked, and challenged, as often as everybody else."""
    driver = Driver(only(0.5))
    driver.tell_with(Random(7).random)
    driver.started()
    for _ in range(3_000):
        driver.wait(1)
        if driver.machine.state is State.RUNNING and driver.second % 15 in (13, 14):
            driver.play(driver.machine.now, playing=driver.second % 15 == 14)
    ended = [ask for ask in driver.asked if ask.cause is CheckCause.END]
    drawn = [ask for ask in driver.asked if ask.cause is CheckCause.RANDOM]
    assert len(ended) > 100
    assert len(drawn) >= 5  # the mean is 263 s
    assert {ask.active for ask in drawn} == {True, False}


def due(**changes: object) -> Machine:
    """A lesson in which the moment of a random check came five seconds ago."""
    known: dict[str, object] = {
        "state": State.RUNNING,
        "now": 125_000,
        "track": 5,
        "last_frame": 124_000,
        "fresh_since": 124_000,
        "last_pass": 124_000,
        "last_check": 124_000,
        "random_from": 20_000,
        "random_at": 120_000,
        "last_activity": 124_000,
        "player_runs": True,
    }
    return Machine(**{**known, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"random_active": True}, True),  # on a new track, on a frame that was judged already
        ({"random_active": True, "player_runs": False}, False),
        ({"random_active": True, "fresh_since": None}, False),
        ({"random_active": True, "fresh_since": None, "random_at": 65_000}, True),
        ({"last_check": 123_000}, False),  # the track is new
        ({"last_check": 123_000, "random_at": 65_000}, True),  # nor does any last
        ({"random_at": 65_000}, False),  # nothing new to see
    ],
)
def test_a_random_check_waits_for_a_good_moment_but_not_for_ever(
    changes: dict[str, object], asked: bool
) -> None:
    """Else a face that comes and goes every few seconds would never be challenged."""
    _, actions = states.due(due(**changes), 125_000, FOSHAN)
    assert [a.cause for a in actions if isinstance(a, AskCheck)] == [CheckCause.RANDOM] * asked


def test_a_challenge_that_is_due_stays_due() -> None:
    """Until it was asked for: neither a pass nor a pause draws another one in its place."""
    machine = due(random_active=True, player_runs=False)
    sample = Identity(key="1", t=126_000, track=5, outcome=Outcome.PASS)
    end = Check(
        key="2", t=127_000, since=126_000, cause=CheckCause.END, track=5, outcome=Outcome.PASS
    )
    pause = Paused(key="3", t=128_000, reason=PauseReason.ABSENT)
    resumed = Resumed(key="4", t=140_000)
    for fact in (sample, end, pause, resumed):
        machine = absorb(machine, fact, FOSHAN, lambda: 0.9)
        assert (machine.random_at, machine.random_active) == (120_000, True)
    answer = replace(end, key="5", t=160_000, since=150_000, cause=CheckCause.RANDOM, active=True)
    machine = absorb(machine, answer, FOSHAN, lambda: 0.9)
    assert machine.random_from == 160_000
    assert (machine.random_at or 0) >= 180_000


def test_a_silent_check_that_is_due_is_made_by_any_that_passes() -> None:
    """The next is drawn then; one of the learner's calling moves no bound."""
    machine = due(player_runs=False)
    sample = Identity(key="1", t=126_000, track=5, outcome=Outcome.PASS)
    assert absorb(machine, sample, FOSHAN, lambda: 0.9).random_at == 120_000
    end = Check(
        key="2", t=127_000, since=126_000, cause=CheckCause.END, track=5, outcome=Outcome.PASS
    )
    after = absorb(machine, end, FOSHAN, lambda: 0.0)
    assert (after.random_from, after.random_at) == (20_000, 127_000)


def test_the_player_stands_still_while_a_challenge_is_shown() -> None:
    """State, cue and credit say so, and afterwards the lesson goes on."""
    driver = Driver(only(1.0), draw=0.1).started()
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    assert driver.machine.state is State.CHALLENGED
    assert driver.machine.cue is PauseReason.CHALLENGE
    began = driver.machine.challenged_at
    driver.wait(20)
    assert driver.machine.state is State.RUNNING
    still = standing(driver.facts, (0, driver.machine.now))
    assert (began, VoidReason.NOT_PLAYING) in [(start, why) for start, _, why in still]


@pytest.mark.parametrize("outcome", [Outcome.UNANSWERED, Outcome.NO_EVIDENCE])
def test_an_unanswered_challenge_is_the_stop_rule(outcome: Outcome) -> None:
    """Paused, nothing credited back to the last pass, and only a challenge ends the pause."""
    driver = Driver(only(1.0), draw=0.1).started()
    driver.answer = outcome
    while driver.machine.state in (State.RUNNING, State.CHALLENGED):
        driver.wait(1)
    assert driver.machine.state is State.PAUSED
    assert driver.machine.pause_reason is PauseReason.CHALLENGE
    assert driver.machine.strikes == 0
    shown = [f.t for f in driver.of(Challenged)][-1]
    found = verify(driver.facts, FOSHAN, wall=(0, driver.machine.now), closed=False)
    assert all(end < shown for _, end in found.verified)
    # A sample that passes ends no such pause.
    t = driver.machine.now + 1_000
    driver.tell(Identity(key="i", t=t, track=1, outcome=Outcome.PASS))
    assert driver.machine.state is State.PAUSED
    driver.answer = Outcome.PASS
    driver.asked.clear()
    driver.wait(120)
    assert [ask.active for ask in driver.asked][:1] == [True]
    assert driver.machine.state is State.RUNNING


def test_every_challenge_that_is_not_passed_makes_the_next_one_longer() -> None:
    """So that guessing for ever is worth next to nothing; a pass begins anew."""
    driver = Driver()
    driver.answer = Outcome.UNANSWERED
    driver.wait(600)
    turns = [ask.turns for ask in driver.asked]
    assert turns[:4] == [4, 6, 8, 10]
    assert max(turns) <= MOST_TURNS
    driver.answer = Outcome.PASS
    driver.wait(120)
    assert driver.machine.state is State.RUNNING
    assert driver.machine.challenges == 0


def test_longer_challenges_have_more_time() -> None:
    """As much for each turn as the first one has: whoever failed before can still pass."""
    rules = FOSHAN.checks
    windows = [rules.challenge_window_s(turns) for turns in (3, 4, 6, 12)]
    assert windows == [60, 60, 90, 180]
    driver = Driver()
    driver.answer = Outcome.UNANSWERED
    driver.wait(30)
    driver.answer = None
    driver.wait(200)
    assert [ask.turns for ask in driver.asked] == [4, 6]
    driver.wait(60)
    assert [ask.turns for ask in driver.asked] == [4, 6, 8]


def test_a_challenge_that_was_not_shown_makes_none_longer() -> None:
    """While somebody else sits there nothing is shown, and nobody can guess at it."""
    driver = Driver()
    driver.answer, driver.arrows = Outcome.MISMATCH, False
    driver.wait(70)
    assert [ask.turns for ask in driver.asked] == [4, 4]
    driver = Driver()
    driver.answer = Outcome.MISMATCH
    driver.wait(70)
    assert [ask.turns for ask in driver.asked] == [4, 6]


def test_a_confirmed_spoof_calls_a_challenge_and_the_second_one_suspends() -> None:
    """The first alarm stops the lesson until a challenge is passed."""
    driver = Driver(draw=0.9).started()
    driver.wait(60)
    driver.silent = Outcome.SPOOF
    t = driver.machine.now
    driver.tell(Identity(key="i", t=t, track=1, outcome=Outcome.SPOOF))
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    assert driver.machine.pause_reason is PauseReason.SPOOF
    driver.answer = Outcome.SPOOF
    driver.wait(60)
    assert driver.asked[-1].active
    assert driver.machine.state is State.SUSPENDED


def test_a_passed_challenge_after_an_alarm_lets_the_lesson_go_on() -> None:
    """The person was alive: the alarm cost him the bracket and the challenge."""
    driver = Driver(draw=0.9).started()
    driver.wait(60)
    driver.silent = Outcome.SPOOF
    driver.tell(Identity(key="i", t=driver.machine.now, track=1, outcome=Outcome.SPOOF))
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    driver.silent = Outcome.PASS
    driver.wait(60)
    assert driver.machine.state is State.RUNNING


def test_what_was_before_a_challenge_is_proven_by_frames_from_before() -> None:
    """Whoever is fetched by the arrows proves nothing about who sat there until then."""
    spans = []
    for before in (True, False):
        driver = Driver(only(1.0), draw=0.1).started()
        driver.before = before
        driver.wait(100)
        shown = [f.t for f in driver.of(Challenged)][1]
        found = verify(driver.facts, FOSHAN, wall=(0, driver.machine.now), closed=False)
        spans.append([(a, b) for a, b in found.verified if b <= shown + 1])
        assert not any(a < shown - 2_000 < b and b > shown - 2_000 for a, b in found.verified)
    proven, unproven = (sum(b - a for a, b in part) for part in spans)
    assert proven > unproven


def test_a_challenge_that_was_lost_is_shown_again() -> None:
    """Nothing comes: after both windows, and some seconds, another one is shown."""
    driver = Driver()
    driver.answer = None
    driver.wait(20)
    driver.wait(100)
    assert len(driver.asked) == 1
    driver.wait(60)
    assert [ask.turns for ask in driver.asked] == [4, 6]


def test_a_fault_of_ours_ends_the_challenge() -> None:
    """The verifier could not show it: paused as a system error, and asked again."""
    driver = Driver(only(1.0), draw=0.1).started()
    driver.answer = None
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    shown = driver.machine.challenged_at
    assert shown is not None
    driver.wait(3)
    t = driver.machine.now
    driver.tell(SystemFault(key="f", t=t, end=t))
    assert driver.machine.state is State.PAUSED
    assert driver.machine.pause_reason is PauseReason.SYSTEM_ERROR
    assert driver.machine.challenged_at is None
    assert driver.machine.challenges == 0
    driver.answer, driver.shown = Outcome.PASS, None
    driver.wait(60)
    assert driver.machine.state is State.RUNNING
    wall = (0, driver.machine.now)
    found = verify(driver.facts, FOSHAN, wall=wall, closed=False)
    (why,) = [reason for a, b, reason in found.unverified if a < shown < b]
    assert why is VoidReason.SYSTEM_ERROR
    (stood,) = [reason for a, b, reason in standing(driver.facts, wall) if a <= shown < b]
    assert stood is VoidReason.SYSTEM_ERROR


def test_a_fault_excuses_no_challenge_that_was_let_go_by() -> None:
    """Before it or after it: of several in one bracket the one that was not answered counts."""
    driver = Driver(only(1.0), draw=0.1).started()
    driver.answer = None
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    t = driver.machine.now
    driver.tell(SystemFault(key="f", t=t, end=t))
    driver.tell(Challenged(key="c", t=t + 1_000, cause=CheckCause.RESUME))
    driver.tell(Closed(key="z", t=t + 2_000, reason=CloseReason.LEARNER))
    found = verify(driver.facts, FOSHAN, wall=(0, t + 2_000), closed=True)
    assert found.unverified[-1][2] is VoidReason.UNANSWERED


def test_leaving_at_a_challenge_forfeits_the_bracket() -> None:
    """Closed while it is shown: what came after the last pass before it is not credited."""
    driver = Driver(only(1.0), draw=0.1).started()
    driver.answer = None
    while driver.machine.state is State.RUNNING:
        driver.wait(1)
    now = driver.machine.now
    driver.tell(Closed(key="c", t=now, reason=CloseReason.LEARNER))
    found = verify(driver.facts, FOSHAN, wall=(0, now), closed=True)
    shown = [f.t for f in driver.of(Challenged)][-1]
    assert found.unverified[-1][2] is VoidReason.UNANSWERED
    assert found.unverified[-1][1] >= shown


def test_the_fold_with_challenges_is_the_machine_at_every_moment() -> None:
    """After a crash at any fact, also while a challenge is shown; then it is asked for again."""
    driver = Driver(only(1.0), draw=0.1).started()
    driver.answer = Outcome.UNANSWERED
    driver.wait(80)
    driver.answer = Outcome.PASS
    driver.wait(400)
    assert Counter(type(f) for f in driver.facts)[Challenged] >= 3
    lived = Machine()
    for n, fact in enumerate(driver.facts, start=1):
        lived, _ = states.step(lived, fact, driver.policy, lambda: 0.1)
        again = states.fold(driver.facts[:n], driver.policy, lambda: 0.1)
        same = {"random_at": None, "asked_at": None, "next_deadline": None, "now": 0, "owed": None}
        assert replace(again, **same) == replace(lived, **same)  # type: ignore[arg-type]
        if again.challenged_at is not None:
            assert again.next_deadline is not None


def test_states_go_to_and_fro_only_between_the_living() -> None:
    """Running and challenged alternate; nothing comes back from the end."""
    driver = Driver(only(1.0), draw=0.1).started()
    seen = [driver.machine.state]
    for _ in range(300):
        driver.wait(1)
        if driver.machine.state is not seen[-1]:
            seen.append(driver.machine.state)
    assert set(seen) == {State.RUNNING, State.CHALLENGED}
    assert all(a is not b for a, b in pairwise(seen))
