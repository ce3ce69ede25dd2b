"""What a device is told: one message for all transports, which gives no look away."""

from __future__ import annotations

import dataclasses
import json

from verifier.clock import ManualClock
from verifier.streaming.advice import Advice, FrameReceipt
from verifier.streaming.cues import CHALLENGE_PERIOD_MS, Cue, CueBoard, Prompt, Turn


def prompt(clock: ManualClock, *, step: int = 1, ends_in_ms: int = 8_000) -> Prompt:
    """One step of a challenge of three."""
    ends_ms = clock.stamp().monotonic_ms + ends_in_ms
    return Prompt(id="ch-1", step=step, steps=3, turn=Turn.LEFT, ends_ms=ends_ms)


def test_a_cue_is_a_closed_list_without_a_score(clock: ManualClock) -> None:
    """Five fields; whoever adds one has to think about what it tells."""
    assert [one.name for one in dataclasses.fields(Cue)] == [
        "seq",
        "accepted",
        "advice",
        "period_ms",
        "challenge",
    ]
    board = CueBoard(clock, 5_000)
    cue = board.answer(FrameReceipt(seq=17, accepted=True, advice=Advice.OK))
    assert cue.as_json() == {
        "seq": 17,
        "accepted": True,
        "advice": "ok",
        "period_ms": 5_000,
        "challenge": None,
    }


def test_a_cue_survives_its_json(clock: ManualClock) -> None:
    """What the client reads is what the verifier said, with and without a challenge."""
    board = CueBoard(clock, 5_000)
    assert Cue.from_json(json.loads(json.dumps(board.now().as_json()))) == board.now()
    board.show(prompt(clock))
    assert Cue.from_json(json.loads(json.dumps(board.now().as_json()))) == board.now()


def test_a_shown_challenge_asks_for_more_frames_and_counts_down(clock: ManualClock) -> None:
    """The wished rate rises only while the learner sees why; the time left counts down."""
    board = CueBoard(clock, 5_000)
    board.show(prompt(clock))
    clock.advance(3_000)
    cue = board.now()
    assert cue.period_ms == CHALLENGE_PERIOD_MS
    assert cue.challenge is not None
    assert cue.challenge.remaining_ms == 5_000
    clock.advance(6_000)
    later = board.now().challenge
    assert later is not None
    assert later.remaining_ms == 0
    board.show(None)
    assert board.now().period_ms == 5_000


def test_listeners_hear_of_changes_only(clock: ManualClock) -> None:
    """A step is pushed once; advice only to who asked for it; who left hears nothing."""
    board, quiet, curious = CueBoard(clock, 5_000), list[Cue](), list[Cue]()
    board.listen(quiet.append)
    board.listen(curious.append, advice=True)
    for step in (1, 1, 2):
        board.show(prompt(clock, step=step))
    board.advise(Advice.OK)
    board.advise(Advice.MORE_LIGHT)
    board.advise(Advice.MORE_LIGHT)
    assert [cue.challenge.step for cue in quiet if cue.challenge is not None] == [1, 2]
    assert [cue.advice for cue in curious] == [Advice.OK, Advice.OK, Advice.MORE_LIGHT]
    assert all(cue.seq is None and cue.accepted is None for cue in curious)
    board.forget(curious.append)
    board.show(None)
    assert len(quiet) == 3
    assert len(curious) == 3
