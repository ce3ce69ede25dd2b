"""The challenge as a machine: what passes, what fails, what a guess is worth."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.streaming import challenge as machine
from verifier.streaming.challenge import (
    BASELINE_FRAMES,
    BLINK_MS,
    DIRECTIONS,
    RESTARTS,
    Challenge,
    End,
    Keep,
    Phase,
    Plan,
    Sight,
    begin,
    draw_plans,
    look,
)
from verifier.streaming.cues import Turn
from verifier.types import HeadPose

FRAME_MS = 250
ANGLES = {
    Turn.CENTRE: (0.0, 0.0),
    Turn.LEFT: (20.0, 0.0),
    Turn.RIGHT: (-20.0, 0.0),
    Turn.UP: (0.0, 15.0),
    Turn.DOWN: (0.0, -15.0),
}
BASE = (4.0, -8.0)
"""Where this person looks when looking straight: a baseline is never zero."""


def facing(turn: Turn, at_ms: int, *, track: int = 1, clear: bool = True) -> Sight:
    """A frame of somebody who is turned so."""
    yaw, pitch = ANGLES[turn]
    pose = HeadPose(yaw_deg=BASE[0] + yaw, pitch_deg=BASE[1] + pitch, roll_deg=0.0)
    return Sight(at_ms=at_ms, track=track, pose=pose, clear=clear)


def plans(*turns: Turn, attempts: int = 1, wait_ms: int = 600) -> tuple[Plan, ...]:
    """The same plan for every attempt."""
    return (Plan(turns=turns, waits_ms=(wait_ms,) * len(turns)),) * attempts


class Player:
    """Somebody before the camera, frame by frame."""

    def __init__(
        self, chosen: tuple[Plan, ...], *, window_ms: int = 60_000, frame_ms: int = FRAME_MS
    ) -> None:
        self.now = 1_000
        self._frame_ms = frame_ms
        self.state = begin(chosen, window_ms=window_ms, now_ms=self.now)
        self.kept: list[Keep] = []

    def show(self, turn: Turn, frames: int = 1, *, track: int = 1) -> Challenge:
        """Hold a pose for some frames."""
        for _ in range(frames):
            self.now += self._frame_ms
            self.state, keep = look(self.state, facing(turn, self.now, track=track))
            self.kept.append(keep)
        return self.state

    def vanish(self, frames: int) -> Challenge:
        """Be out of sight."""
        for _ in range(frames):
            self.now += self._frame_ms
            unseen = Sight(at_ms=self.now, track=0, pose=None, clear=False)
            self.state, _ = look(self.state, unseen)
        return self.state

    def obey(self, *, blinks: bool = False) -> Challenge:
        """Obey each answer with the next frame; `blinks`: the first of a turn shows no face."""
        while not self.state.over:
            if blinks and self.state.phase is Phase.TURN and not self.state.held:
                self.vanish(1)
            self.show(self.state.shown)
        return self.state

    def follow(self) -> Challenge:
        """Obey until it is over: two frames of reaction, then the turn, then straight again."""
        while not self.state.over:
            self.show(Turn.CENTRE, 2)
            if self.state.phase is Phase.TURN:
                self.show(self.state.shown, 3)
        return self.state


@pytest.mark.parametrize("turns", [*itertools.product(DIRECTIONS, repeat=3)])
def test_whoever_follows_passes(turns: tuple[Turn, ...]) -> None:
    """Every sequence of three can be answered, repeats included."""
    player = Player(plans(*turns))
    assert player.follow().end is End.DONE
    assert player.kept.count(Keep.TURNED) == 3
    assert player.kept.count(Keep.STRAIGHT) == BASELINE_FRAMES + 3


@pytest.mark.parametrize("turns", [*itertools.product(DIRECTIONS, repeat=3)])
def test_only_the_asked_sequence_passes(turns: tuple[Turn, ...]) -> None:
    """Somebody with perfect timing who turns his own way passes for his own sequence only."""
    own = (Turn.LEFT, Turn.UP, Turn.LEFT)
    player = Player(plans(*turns))
    answers = iter(own)
    while not player.state.over:
        player.show(Turn.CENTRE, 2)
        if player.state.phase is Phase.TURN:
            player.show(next(answers), 3)
    assert (player.state.end is End.DONE) == (turns == own)


def test_a_turn_during_a_wait_ends_the_attempt() -> None:
    """Even the right turn is wrong before it was asked for."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    player.show(Turn.LEFT, 2)
    assert player.show(Turn.CENTRE).phase is Phase.WAIT
    assert player.show(Turn.UP, 2).end is End.WRONG_TURN


def test_a_turn_before_anything_was_shown_is_another_baseline() -> None:
    """Whoever looked elsewhere when it began may still look straight; a few times only."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    player.show(Turn.DOWN, BASELINE_FRAMES)
    assert player.show(Turn.CENTRE, 2).phase is Phase.BASELINE
    assert player.follow().end is End.DONE
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    for _ in range(RESTARTS):
        player.show(Turn.CENTRE, BASELINE_FRAMES)
        assert player.show(Turn.LEFT, 2).phase is Phase.BASELINE
    player.show(Turn.CENTRE, BASELINE_FRAMES)
    assert player.show(Turn.LEFT, 2).end is End.WRONG_TURN


@pytest.mark.parametrize("late", [4, 5])
def test_whoever_reads_late_passes_the_second_attempt(late: int) -> None:
    """The first one is over while the page of a slow telephone still shows its arrow."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT, attempts=2))
    player.show(Turn.CENTRE, 8)
    player.show(Turn.RIGHT, 2)
    assert player.state.attempt == 1
    player.show(Turn.RIGHT, late)
    assert player.follow().end is End.DONE
    assert player.state.attempt == 1


def test_a_turn_has_to_be_held() -> None:
    """A single frame is no turn."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    assert player.state.phase is Phase.TURN
    player.show(Turn.LEFT)
    assert player.show(Turn.CENTRE, 2).phase is Phase.TURN
    assert player.show(Turn.LEFT, 2).phase is Phase.RETURN


def test_from_one_turn_straight_into_another_fails() -> None:
    """The head has to come back to straight between two turns."""
    player = Player(plans(Turn.LEFT, Turn.RIGHT, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    player.show(Turn.LEFT, 3)
    assert player.show(Turn.RIGHT, 2).end is End.WRONG_TURN


def test_another_track_ends_the_attempt() -> None:
    """The face stays one and the same."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    assert player.show(Turn.LEFT, track=2).end is End.FACE_LOST


def test_a_blink_is_forgiven_an_absence_is_not() -> None:
    """The detector may lose a turned head for a moment."""
    player = Player(plans(Turn.DOWN, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    assert not player.vanish(3).over
    assert player.follow().end is End.DONE
    player = Player(plans(Turn.DOWN, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 8)
    assert player.vanish(BLINK_MS // FRAME_MS + 1).end is End.FACE_LOST


def test_nobody_turns_nothing_happens_time_ends_it() -> None:
    """A still picture looks straight for ever: too slow, in each attempt."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT, attempts=2))
    player.show(Turn.CENTRE, 100)
    assert player.state.attempt == 1
    assert player.show(Turn.CENTRE, 100).end is End.TOO_SLOW


def test_time_ends_it_without_frames() -> None:
    """Attempt after attempt runs out although no frame comes; nobody was seen."""
    state = begin(plans(Turn.LEFT, attempts=2), window_ms=60_000, now_ms=0)
    state = machine.expire(state, 59_999)
    assert state.attempt == 0
    state = machine.expire(state, 60_000)
    assert state.attempt == 1
    state = machine.expire(state, machine.deadline(state))
    assert (state.end, state.faces) == (End.TOO_SLOW, 0)


def test_the_second_attempt_can_be_passed() -> None:
    """A mistake is no end while an attempt is left."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT, attempts=2))
    player.show(Turn.CENTRE, 8)
    assert player.show(Turn.DOWN, 2).attempt == 1
    assert player.follow().end is End.DONE


SLOW_MS = (2_000, 3_000, 4_000, 5_000)
"""Between two frames on the weakest networks."""


@pytest.mark.parametrize("frame_ms", SLOW_MS)
@pytest.mark.parametrize("wait_ms", machine.WAIT_MS)
def test_whoever_follows_passes_on_a_slow_network(frame_ms: int, wait_ms: int) -> None:
    """With a frame every few seconds four turns fit into what all attempts have together."""
    turns = (Turn.LEFT, Turn.UP, Turn.UP, Turn.DOWN)
    player = Player(plans(*turns, attempts=2, wait_ms=wait_ms), frame_ms=frame_ms)
    assert player.obey().end is End.DONE
    assert player.state.attempt == 0
    assert player.now <= 1_000 + 2 * 60_000


@pytest.mark.parametrize("frame_ms", SLOW_MS)
def test_jitter_takes_no_turn_away(frame_ms: int) -> None:
    """Frames come a tenth earlier or later than they should."""
    rng = random.Random(frame_ms)
    for _ in range(50):
        turns = tuple(rng.choice(DIRECTIONS) for _ in range(3))
        player = Player(plans(*turns, attempts=2), frame_ms=frame_ms)
        while not player.state.over:
            player.now += round(frame_ms * rng.uniform(-0.1, 0.1))
            player.show(player.state.shown)
        assert player.state.end is End.DONE


@pytest.mark.parametrize("frame_ms", SLOW_MS)
def test_one_frame_without_a_face_is_a_blink_however_slow(frame_ms: int) -> None:
    """The detector may lose a turned head on one frame; on two in a row the face is lost."""
    turns = (Turn.LEFT, Turn.UP, Turn.LEFT)
    player = Player(plans(*turns), window_ms=150_000, frame_ms=frame_ms)
    assert player.obey(blinks=True).end is End.DONE
    player = Player(plans(*turns), window_ms=150_000, frame_ms=frame_ms)
    player.show(Turn.CENTRE, BASELINE_FRAMES)
    assert not player.vanish(1).over
    assert player.vanish(1).end is End.FACE_LOST


@pytest.mark.parametrize("frame_ms", SLOW_MS)
def test_a_still_picture_gains_nothing_by_being_slow(frame_ms: int) -> None:
    """It is too slow, within the time that all attempts have together."""
    chosen = plans(Turn.LEFT, Turn.UP, Turn.LEFT, attempts=2)
    player = Player(chosen, frame_ms=frame_ms)
    while not player.state.over:
        player.show(Turn.CENTRE)
    assert player.state.end is End.TOO_SLOW
    assert player.now <= 1_000 + 2 * 60_000 + frame_ms


def test_one_frame_that_is_held_up_moves_no_limit() -> None:
    """Somebody whose frames come fast has the time he had, after a pause too."""
    player = Player(plans(Turn.LEFT, Turn.UP, Turn.LEFT))
    player.show(Turn.CENTRE, 6)
    assert player.state.phase is Phase.TURN
    player.now += 5_000
    player.show(Turn.LEFT, 2)
    assert player.state.phase is Phase.RETURN
    assert machine.deadline(player.state) == player.now + machine.TURN_MS


def test_a_stream_that_hardly_moves_gets_no_time_for_ever() -> None:
    """Beyond the slowest network that is meant nothing is prolonged any more."""
    player = Player(plans(Turn.LEFT, attempts=1), window_ms=600_000, frame_ms=30_000)
    player.show(Turn.CENTRE, 4)
    assert player.state.gap_ms == machine.MOST_GAP_MS


def test_a_baseline_needs_a_steady_clear_face() -> None:
    """Somebody who is turning, or half hidden, is asked for nothing yet."""
    state = begin(plans(Turn.LEFT), window_ms=60_000, now_ms=0)
    for n, turn in enumerate(itertools.islice(itertools.cycle((Turn.CENTRE, Turn.LEFT)), 8)):
        state, _ = look(state, facing(turn, n * FRAME_MS))
    for n in range(8, 16):
        state, _ = look(state, facing(Turn.CENTRE, n * FRAME_MS, clear=False))
    assert state.base is None
    for n in range(16, 19):
        state, _ = look(state, facing(Turn.CENTRE, n * FRAME_MS))
    assert state.base == HeadPose(yaw_deg=BASE[0], pitch_deg=BASE[1], roll_deg=0.0)


def test_plans_are_uniform_and_grow() -> None:
    """Every direction is as likely at every place, repeats included; attempts get longer."""
    rng = random.Random(20261124)
    counts: dict[tuple[Turn, ...], int] = {}
    for _ in range(16_000):
        first, second = draw_plans(rng.randrange, turns=3, attempts=2)
        assert len(first.waits_ms) == len(first.turns) == len(second.turns) - 1 == 3
        counts[first.turns] = counts.get(first.turns, 0) + 1
    assert len(counts) == 64
    assert max(counts.values()) < 16_000 / 64 * 1.35


def loop(order: tuple[Turn, ...], turned: int, straight: int) -> Iterator[Turn]:
    """A film that turns to all sides for ever."""
    for turn in itertools.cycle(order):
        yield from (Turn.CENTRE,) * straight
        yield from (turn,) * turned


@given(
    st.permutations(DIRECTIONS),
    st.integers(2, 10),
    st.integers(1, 14),
    st.integers(0, 2**32),
)
def test_a_film_that_turns_to_all_sides_hardly_ever_passes(
    order: list[Turn], turned: int, straight: int, seed: int
) -> None:
    """Of 40 challenges at random phases a film in fixed order passes at most one."""
    rng = random.Random(seed)
    passed = 0
    for _ in range(40):
        player = Player(draw_plans(rng.randrange, turns=4, attempts=2))
        film = loop(tuple(order), turned, straight)
        for _ in range(rng.randrange(4 * (turned + straight))):
            next(film)
        while not player.state.over:
            player.show(next(film))
        passed += player.state.end is End.DONE
    assert passed <= 1


@given(
    st.permutations(DIRECTIONS),
    st.sampled_from(SLOW_MS),
    st.integers(1, 15),
    st.integers(1, 15),
    st.integers(0, 2**32),
)
def test_a_film_in_fixed_order_gains_nothing_on_a_slow_network(
    order: list[Turn], frame_ms: int, turned_s: int, straight_s: int, seed: int
) -> None:
    """Whatever its pace: of 40 challenges at random phases it passes two at most."""
    rng = random.Random(seed)
    passed = 0
    for _ in range(40):
        chosen = draw_plans(rng.randrange, turns=4, attempts=2)
        player = Player(chosen, frame_ms=frame_ms)
        phase_s = rng.uniform(0, 4 * (turned_s + straight_s))
        while not player.state.over:
            number, at_s = divmod(phase_s + player.now / 1_000, turned_s + straight_s)
            straight = at_s < straight_s
            player.show(Turn.CENTRE if straight else order[int(number) % 4])
        passed += player.state.end is End.DONE
    assert passed <= 2
