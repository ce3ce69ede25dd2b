"""The session as a machine: what it asks for, when it stops, and that it forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.eyes import Who
from benchmarks.lesson import Actor, play
from benchmarks.sessions import Fetched, swapping
from session_tracker import states
from session_tracker.events import (
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Disputed,
    Fact,
    Granted,
    Identity,
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
    Upheld,
)
from session_tracker.machine import (
    LIVE_STATES,
    AskCheck,
    Close,
    Machine,
    Pause,
    Resume,
    State,
    Suspend,
)
from session_tracker.policy import Policy, load_policy

FINAL = (State.SUSPENDED, State.CLOSED, State.SETTLED)
ORDER = (*FINAL,)
FOSHAN = load_policy("foshan-2021")


class Driver:
    """Drives a machine second by second, and answers its checks as told."""

    def __init__(self, policy: Policy, *, draw: float = 0.999) -> None:
        self.policy = policy
        self.draw = draw
        self.machine = Machine()
        self.facts: list[Fact] = []
        self.done: list[tuple[float, states.Action]] = []
        self.outcome = Outcome.PASS
        """What checks find."""
        self.track = 1
        self.run: Presence | None = None
        self.tell(Opened(key="opened", t=0))

    def key(self) -> str:
        """Give the next key."""
        return f"{len(self.facts):05d}"

    def tell(self, fact: Fact) -> None:
        """Step, and do what follows."""
        self.facts = [f for f in self.facts if f.key != fact.key] + [fact]
        self.machine, actions = states.step(self.machine, fact, self.policy, lambda: self.draw)
        self.carry_out(actions)

    def carry_out(self, actions: Iterable[states.Action]) -> None:
        """Turn actions into facts, and note them."""
        for action in actions:
            t = self.machine.now
            self.done.append((t / 1_000, action))
            match action:
                case AskCheck(cause=cause, not_before=since):
                    fact: Fact = Check(
                        key=self.key(),
                        t=t,
                        since=since or max(0, t - 20_000),
                        cause=cause,
                        track=self.track,
                        outcome=self.outcome,
                    )
                case Pause(reason=reason):
                    fact = Paused(key=self.key(), t=t, reason=reason)
                case Resume():
                    fact = Resumed(key=self.key(), t=t)
                case Suspend(reason=reason):
                    fact = Suspended(key=self.key(), t=t, reason=reason)
                case Close(reason=ended):
                    fact = Closed(key=self.key(), t=t, reason=ended)
            self.tell(fact)

    def wait(self, until: int, *, frames: bool = True, face: bool = True) -> None:
        """Let time pass to second `until`, with a frame every 5 s."""
        for s in range(self.machine.now // 1_000 + 1, until + 1):
            if frames and s % 5 == 0:
                self.frame(s, face=face)
            self.machine, actions = states.due(self.machine, s * 1_000, self.policy)
            self.carry_out(actions)

    def frame(self, s: int, *, face: bool) -> None:
        """A frame arrives."""
        track = self.track if face else 0
        run = self.run
        if run is not None and run.track == track and s * 1_000 - run.end <= 12_000:
            run = replace(run, end=s * 1_000, samples=run.samples + 1)
        else:
            t = s * 1_000
            run = Presence(key=self.key(), t=t, end=t, track=track, faces_max=1, samples=1)
        self.run = run
        self.tell(run)

    def sample(self, outcome: Outcome) -> None:
        """The newest frame was an identity sample."""
        t = self.machine.now
        self.tell(Identity(key=self.key(), t=t, track=self.track, outcome=outcome))

    def report(self, *, playing: bool = True, media_s: float = 0, touch: bool = False) -> None:
        """The player says where it is."""
        self.tell(
            Playback(
                key=self.key(),
                t=self.machine.now,
                media_id="m",
                media_ms=round(media_s * 1_000),
                playing=playing,
                interaction=touch,
            )
        )

    def since(self, s: float) -> list[states.Action]:
        """What was done from second `s` on."""
        return [action for at, action in self.done if at >= s]

    def causes(self, s: float = 0) -> list[CheckCause]:
        """Why checks were asked for from second `s` on."""
        return [a.cause for a in self.since(s) if isinstance(a, AskCheck)]


@pytest.fixture
def lesson() -> Driver:
    """A lesson that runs and plays, 20 s old, with a pass at 10 s."""
    driver = Driver(FOSHAN)
    driver.wait(20)
    assert driver.machine.state is State.RUNNING
    driver.report()
    return driver


def test_the_start_check_waits_for_a_few_frames_and_starts_the_lesson() -> None:
    """Opened, it stands still; three frames of one face, a check, a pass, and it runs."""
    driver = Driver(FOSHAN)
    assert driver.machine.state is State.AWAITING_START_CHECK
    assert driver.machine.cue is PauseReason.START_CHECK
    driver.wait(14)
    assert driver.done == []
    driver.wait(15)
    assert driver.causes() == [CheckCause.START]
    assert driver.machine.state is State.RUNNING
    assert driver.machine.cue is None


def test_a_sample_does_not_start_a_lesson() -> None:
    """The start check is a check: a single frame is not enough."""
    driver = Driver(FOSHAN)
    driver.wait(5)
    driver.sample(Outcome.PASS)
    assert driver.machine.state is State.AWAITING_START_CHECK


def test_the_start_check_is_tried_again_ever_more_slowly() -> None:
    """Without evidence nothing is held against the learner; after a quarter of an hour it ends."""
    driver = Driver(FOSHAN)
    driver.outcome = Outcome.NO_EVIDENCE
    driver.wait(1_000)
    starts = [at for at, a in driver.done if isinstance(a, AskCheck)]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[0] <= 30
    assert max(gaps) <= 70
    assert driver.done[-1] == (900, Close(reason=CloseReason.EXPIRED))


def test_somebody_else_at_the_start_is_suspended_after_two_failures() -> None:
    """The second counts only when the answer window of the first is over."""
    driver = Driver(FOSHAN)
    driver.outcome = Outcome.MISMATCH
    driver.wait(300)
    at, last = driver.done[-1]
    assert last == Suspend(reason=PauseReason.MISMATCH)
    assert 75 <= at <= 150


def test_without_a_pass_a_check_is_forced_at_ninety_seconds(lesson: Driver) -> None:
    """30 s before the bracket would break; counted from the oldest frame of the last check."""
    passed = lesson.machine.last_pass
    assert passed is not None
    lesson.wait(passed // 1_000 + 89)
    assert lesson.causes(20) == []
    lesson.wait(passed // 1_000 + 90)
    assert lesson.causes(20) == [CheckCause.MAX_GAP]


def test_random_checks_come_when_drawn() -> None:
    """Drawn early, a random check comes 20 s after the last one; nobody is told."""
    driver = Driver(FOSHAN, draw=0.0)
    driver.wait(20)
    driver.report()
    driver.wait(36)
    assert driver.causes(20) == [CheckCause.RANDOM]
    assert driver.machine.cue is None
    assert not any(isinstance(a, Pause) for a in driver.since(0))


def test_no_check_while_the_player_stands_still() -> None:
    """What is not played earns nothing and needs no evidence."""
    driver = Driver(FOSHAN, draw=0.0)
    driver.wait(200)
    assert driver.causes(20) == []


@pytest.mark.parametrize("outcome", [Outcome.MISMATCH, Outcome.SPOOF])
def test_a_failed_sample_calls_a_check_on_frames_from_it_on(
    lesson: Driver, outcome: Outcome
) -> None:
    """After two more frames, and never on older ones; passed, the lesson goes on in silence."""
    lesson.wait(25)
    lesson.sample(outcome)
    lesson.wait(34)
    assert lesson.causes(21) == []
    lesson.wait(35)
    assert lesson.since(21) == [AskCheck(cause=CheckCause.SUSPICION, not_before=25_000)]
    assert lesson.machine.suspicion is None
    assert lesson.machine.state is State.RUNNING


def test_a_suspicion_waits_at_most_twelve_seconds(lesson: Driver) -> None:
    """Where frames are late the check is asked for all the same."""
    lesson.wait(25)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(37, frames=False)
    assert lesson.causes(21) == [CheckCause.SUSPICION]


def test_a_sample_that_passes_does_not_clear_a_suspicion(lesson: Driver) -> None:
    """Samples suspect, checks decide."""
    lesson.wait(25)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(30)
    lesson.sample(Outcome.PASS)
    lesson.wait(40)
    assert lesson.causes(21) == [CheckCause.SUSPICION]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Outcome.MISMATCH, PauseReason.MISMATCH), (Outcome.SPOOF, PauseReason.SPOOF)],
)
def test_a_confirmed_failure_pauses_and_a_second_one_suspends(
    lesson: Driver, outcome: Outcome, reason: PauseReason
) -> None:
    """Paused until a check passes; failing on, it is suspended, and nobody is banned by machine."""
    lesson.wait(25)
    lesson.sample(outcome)
    lesson.outcome = outcome
    lesson.wait(35)
    assert lesson.machine.state is State.PAUSED
    assert lesson.machine.cue is reason
    lesson.wait(200)
    assert lesson.done[-1][1] == Suspend(reason=reason)
    assert CheckCause.RESUME in lesson.causes(36)
    lesson.outcome = Outcome.PASS
    before = len(lesson.done)
    lesson.wait(400)
    assert len(lesson.done) == before


def test_the_learner_who_comes_back_resumes_with_a_check(lesson: Driver) -> None:
    """A sample does not end a pause for a mismatch, a check on later frames does."""
    lesson.outcome = Outcome.MISMATCH
    lesson.wait(25)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(35)
    lesson.outcome = Outcome.PASS
    lesson.wait(40)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.state is State.PAUSED
    lesson.wait(50)
    assert lesson.machine.state is State.RUNNING
    assert lesson.machine.strikes == 1


def test_only_a_pass_nobody_was_asked_for_ends_a_row_of_failures(lesson: Driver) -> None:
    """The learner who is fetched for the check after a pause does not wipe out the failure."""
    lesson.outcome = Outcome.MISMATCH
    lesson.wait(25)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(35)
    lesson.outcome = Outcome.PASS
    lesson.wait(50)
    lesson.report()
    lesson.outcome = Outcome.MISMATCH
    lesson.wait(55)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(70)
    assert lesson.machine.state is State.SUSPENDED


def test_a_pass_in_between_ends_the_row(lesson: Driver) -> None:
    """A pass more than a minute after the pause: nobody can have been fetched for it."""
    lesson.outcome = Outcome.MISMATCH
    lesson.wait(25)
    lesson.sample(Outcome.MISMATCH)
    lesson.wait(35)
    lesson.outcome = Outcome.PASS
    lesson.wait(50)
    lesson.report()
    lesson.wait(100)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.strikes == 1
    lesson.wait(110)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.strikes == 0


def test_without_evidence_the_learner_is_told_late_and_paused_later(lesson: Driver) -> None:
    """Looked at again in silence; told after 30 s; paused after the window and its retry."""
    lesson.outcome = Outcome.NO_EVIDENCE
    lesson.wait(25)
    lesson.sample(Outcome.NO_EVIDENCE)
    lesson.wait(35)
    assert lesson.causes(21) == [CheckCause.RETRY]
    lesson.wait(55)
    assert lesson.machine.cue is None
    lesson.wait(60)
    assert lesson.machine.cue is PauseReason.NO_EVIDENCE
    lesson.wait(154)
    assert lesson.machine.state is State.RUNNING
    lesson.wait(155)
    assert lesson.machine.pause_reason is PauseReason.NO_EVIDENCE
    assert set(lesson.causes(21)) == {CheckCause.RETRY}
    lesson.wait(160)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.state is State.RUNNING


def test_evidence_ends_the_answer_window(lesson: Driver) -> None:
    """A pass, asked for or not, and the learner is left in peace."""
    lesson.outcome = Outcome.NO_EVIDENCE
    lesson.wait(25)
    lesson.sample(Outcome.NO_EVIDENCE)
    lesson.wait(36)
    lesson.sample(Outcome.PASS)
    lesson.outcome = Outcome.PASS
    assert lesson.machine.answer_since is None
    lesson.wait(150)
    assert not any(isinstance(a, Pause) for a in lesson.since(21))


def test_frames_without_a_face_for_fifteen_seconds_pause(lesson: Driver) -> None:
    """Absent at the frame that makes it 15 s; the first pass afterwards lets it go on."""
    lesson.wait(39, face=False)
    assert lesson.machine.state is State.RUNNING
    lesson.wait(40, face=False)
    assert lesson.done[-1][1] == Pause(reason=PauseReason.ABSENT)
    lesson.track = 2
    lesson.wait(45)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.state is State.RUNNING


def test_a_passer_by_at_an_empty_chair_is_no_strike(lesson: Driver) -> None:
    """Nothing runs, nothing is claimed: mismatches during an absence suspend nobody."""
    lesson.wait(40, face=False)
    lesson.outcome = Outcome.MISMATCH
    lesson.track = 2
    lesson.wait(400)
    assert lesson.machine.state is State.PAUSED
    assert lesson.machine.strikes == 0


def test_a_gap_of_the_network_pauses_and_then_closes(lesson: Driver) -> None:
    """30 s without a frame pause, 120 s close; missing frames are never an absence."""
    lesson.wait(49, frames=False)
    assert lesson.machine.state is State.RUNNING
    lesson.wait(50, frames=False)
    assert lesson.done[-1][1] == Pause(reason=PauseReason.NETWORK_GAP)
    lesson.wait(140, frames=False)
    assert lesson.done[-1] == (140, Close(reason=CloseReason.NETWORK_GAP))


def test_after_a_gap_a_check_is_needed(lesson: Driver) -> None:
    """A sample does not end the pause of a gap."""
    lesson.wait(60, frames=False)
    lesson.track = 2
    lesson.wait(65)
    lesson.sample(Outcome.PASS)
    assert lesson.machine.state is State.PAUSED
    lesson.wait(75)
    assert lesson.causes(60) == [CheckCause.RESUME]
    assert lesson.machine.state is State.RUNNING


def test_idle(lesson: Driver) -> None:
    """300 s without progress or touch: stopped, and only a touch and a pass go on from there."""
    lesson.report(media_s=1)
    lesson.wait(319)
    assert lesson.machine.state is State.RUNNING
    lesson.wait(320)
    assert lesson.done[-1][1] == Pause(reason=PauseReason.IDLE)
    lesson.wait(360)
    assert lesson.machine.state is State.PAUSED
    lesson.report(media_s=1, touch=True)
    lesson.wait(370)
    assert lesson.machine.state is State.RUNNING


def test_watching_quietly_is_activity(lesson: Driver) -> None:
    """Progress of the medium is enough."""
    for s in range(30, 700, 15):
        lesson.wait(s)
        lesson.report(media_s=s)
    assert not any(isinstance(a, Pause) for a in lesson.since(20))


def test_the_learners_own_pause_closes_a_bracket_and_opens_another(lesson: Driver) -> None:
    """Pressing pause asks for a check at once; pressing play after a while, too."""
    lesson.wait(60)
    lesson.report(playing=False, media_s=30)
    assert lesson.causes(60) == [CheckCause.END]
    lesson.wait(120)
    lesson.report(playing=True, media_s=30)
    lesson.wait(125)
    assert lesson.causes(61) == [CheckCause.RESUME]


def test_a_fault_of_the_service_pauses(lesson: Driver) -> None:
    """The learner is told, and goes on after a check."""
    lesson.tell(SystemFault(key="fault", t=21_000, end=22_000))
    assert lesson.machine.cue is PauseReason.SYSTEM_ERROR
    lesson.wait(40)
    assert lesson.machine.state is State.RUNNING


def test_staff_answer_for_the_learner() -> None:
    """Supervised, a lesson starts and runs without a face; afterwards a face is needed again."""
    driver = Driver(FOSHAN)
    driver.tell(Supervised(key="staff", t=1_000, end=200_000))
    assert driver.machine.state is State.RUNNING
    driver.report()
    driver.wait(199, face=False)
    assert driver.causes() == []
    driver.wait(230, face=False)
    assert driver.machine.pause_reason is PauseReason.ABSENT


def test_a_touch_ends_a_rest_while_staff_answer() -> None:
    """Idle it pauses; no check would come, so that the learner's own hand lets it go on."""
    driver = Driver(FOSHAN)
    driver.tell(Supervised(key="staff", t=0, end=3_000_000))
    driver.report()
    driver.wait(400, frames=False)
    assert driver.machine.pause_reason is PauseReason.IDLE
    driver.report(playing=False)
    assert driver.machine.state is State.PAUSED
    driver.report(playing=False, touch=True)
    assert driver.machine.state is State.RUNNING
    assert driver.causes() == []


def test_a_touch_ends_no_rest_of_a_face(lesson: Driver) -> None:
    """Where nobody answers for the learner, a check has to see him first."""
    lesson.tell(Paused(key="idle", t=30_000, reason=PauseReason.IDLE))
    lesson.report(playing=False, touch=True)
    assert lesson.machine.state is State.PAUSED


def test_a_decision_moves_no_clock(lesson: Driver) -> None:
    """What it is about may lie behind or ahead; when the session stands is another matter."""
    was = lesson.machine.now
    for n, kind in enumerate((Granted, Disputed, Upheld, Supervised)):
        lesson.tell(kind(key=f"ahead:{n}", t=was + 900_000, end=was + 1_800_000))
    assert lesson.machine.now == was
    assert lesson.machine.state is State.RUNNING


def test_a_check_without_an_answer_is_asked_for_again(lesson: Driver) -> None:
    """The verifier was away: after 15 s, not before, the same check is asked for again."""
    machine, actions = states.due(lesson.machine, 100_000, FOSHAN)
    first = [a for a in actions if isinstance(a, AskCheck)]
    machine = replace(machine, last_frame=100_000)
    asked = 100_000
    while not first:
        asked += 1_000
        machine, actions = states.due(replace(machine, last_frame=asked), asked, FOSHAN)
        first = [a for a in actions if isinstance(a, AskCheck)]
    machine, actions = states.due(machine, asked + 14_999, FOSHAN)
    assert actions == ()
    machine, actions = states.due(machine, asked + 15_000, FOSHAN)
    assert actions == tuple(first)


def test_the_deadline_is_when_something_is_due(lesson: Driver) -> None:
    """Before it nothing is due; at it something is."""
    deadline = lesson.machine.next_deadline
    assert deadline is not None
    assert states.due(lesson.machine, deadline - 1, FOSHAN)[1] == ()
    assert states.due(lesson.machine, deadline, FOSHAN)[1] != ()


def test_ending_asks_for_the_newest_frames_first(lesson: Driver) -> None:
    """The end check, then the end; without a running lesson only the end."""
    ask, close = states.wind_up(lesson.machine, FOSHAN)
    assert ask == AskCheck(cause=CheckCause.END, not_before=12_000)
    assert close == Close(reason=CloseReason.LEARNER)
    assert states.wind_up(Driver(FOSHAN).machine, FOSHAN) == (close,)
    assert states.wind_up(Machine(), FOSHAN) == ()


def test_a_closed_session_can_only_be_settled(lesson: Driver) -> None:
    """Whatever else comes is too late."""
    lesson.tell(Closed(key="closed", t=30_000, reason=CloseReason.LEARNER))
    for fact in (
        Resumed(key="x1", t=31_000),
        Paused(key="x2", t=32_000, reason=PauseReason.IDLE),
        Opened(key="x3", t=33_000),
    ):
        lesson.tell(fact)
        assert lesson.machine.state is State.CLOSED
    assert lesson.machine.next_deadline is None
    lesson.tell(Settled(key="settled", t=40_000))
    assert lesson.machine.state is State.SETTLED


def actors(kind: int, rng: Random) -> Actor:
    """Somebody for every kind of lesson."""
    return (
        lambda: Actor([(0, Who.LEARNER)]),
        lambda: Fetched(Who.IMPOSTOR),
        lambda: Fetched(Who.HIDDEN),
        lambda: Fetched(Who.NOBODY),
        lambda: Fetched(Who.PICTURE),
        lambda: swapping(40, 600)(rng),
    )[kind]()


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(0, 1 << 30))
def test_the_fold_of_the_facts_is_the_machine(kind: int, seed: int) -> None:
    """After a crash the stored facts, in any order and repeated, give the same machine again."""
    rng = Random(seed)
    lesson = play(
        actors(kind, rng), FOSHAN, rng, length_s=600, dark=((200_000, 218_000), (400_000, 440_000))
    )
    stored = [*lesson.facts, *rng.choices(lesson.facts, k=10)]
    rng.shuffle(stored)
    again = states.fold(stored, FOSHAN, rng.random)

    def lasting(m: Machine) -> Machine:
        # What is drawn anew, what is no fact, and the clock of whoever looked last. `owed`: a
        # check's time is that of its newest frame, before the key press that called for it.
        drawn = replace(m, random_at=None, random_active=False, asked_at=None)
        if m.state not in LIVE_STATES:
            # What came in the millisecond of the end may be heard before it: it changes nothing
            # that anybody asks an ended session for.
            drawn = Machine(state=m.state, closed_by=m.closed_by, struck_by=m.struck_by)
        return replace(drawn, now=0, owed=None, next_deadline=None)

    assert lasting(again) == lasting(lesson.machine)


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(0, 1 << 30))
def test_every_prefix_of_a_lesson_can_be_picked_up(kind: int, seed: int) -> None:
    """A crash at any fact: the machine that is rebuilt has something to wait for, or has ended."""
    rng = Random(seed)
    lesson = play(actors(kind, rng), FOSHAN, rng, length_s=300)
    facts = sorted(lesson.facts, key=lambda f: f.key)
    machine = states.fold(facts[: rng.randrange(1, len(facts) + 1)], FOSHAN, rng.random)
    waits = machine.next_deadline is not None
    assert waits or machine.state in FINAL or machine.last_frame is None


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(0, 1 << 30))
def test_states_only_move_forward_from_the_end(kind: int, seed: int) -> None:
    """No fact leads a session back from suspended, closed or settled."""
    rng = Random(seed)
    facts = list(play(actors(kind, rng), FOSHAN, rng, length_s=300).facts)
    facts += [
        Suspended(key="s", t=facts[0].t + 100_000, reason=PauseReason.SPOOF),
        Closed(key="c", t=facts[0].t + 120_000, reason=CloseReason.SUSPENDED),
        Settled(key="z", t=facts[0].t + 130_000),
    ]
    rng.shuffle(facts)
    machine = Machine()
    reached = -1
    for fact in facts:
        machine, _ = states.step(machine, fact, FOSHAN, rng.random)
        rank = ORDER.index(machine.state) if machine.state in ORDER else -1
        assert rank >= reached
        reached = rank
