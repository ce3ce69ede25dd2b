"""The active challenge as a machine: poses of frames in, what to show and what to judge out. Pure.

The learner looks straight for a moment (*baseline*), then is shown turns one at a time, each after
a wait of random length, and looks straight again after each. A turn counts when it was reached from
straight within its time and held for two frames; another turn, or one made during a wait, ends the
attempt: a film that turns to all sides in its own order does not get through. So does a face that
is lost or that another one takes the place of.

Two things are no mistakes, or whoever hears of a step late would lose by it: after an attempt has
ended the head may still be where it was, so that the next baseline begins a little later; and who
turns before the first turn was shown had not looked straight yet, and gives another baseline.

Nor is a slow network one. Where frames come seconds apart, a turn has a few of them at the least,
and so has a whole attempt: it then takes of the time of those after it, never more than all had
together.

What guessing brings: `turns` directions of four, each drawn anew, repeats allowed; every further
attempt has one more. Whoever guesses for ever succeeds in at most ``4 ** -turns * 4 / 3`` of all
challenges that are counted on from each other: 1 of 192 for four turns.

Angles are changes against the baseline (`verifier.pipeline.pose`), times are monotonic ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Final

from verifier.streaming.cues import Turn
from verifier.types import HeadPose

DIRECTIONS: Final = (Turn.LEFT, Turn.RIGHT, Turn.UP, Turn.DOWN)
TURNED_YAW_DEG: Final = 13.0
TURNED_PITCH_DEG: Final = 9.5
"""From here on a head is turned. Held frames of people who look straight stray by less than half of
it; people who are asked to turn go well beyond (docs/challenge.md has the measurements)."""
STRAIGHT: Final = 0.6
"""A head is straight below this share of both; between the two it moves."""
DOMINANT: Final = 1.15
"""A direction is one only where it outweighs the other axis by so much."""
DECIDED: Final = 1.35
"""So far beyond a threshold even a single frame to the wrong side is a wrong turn."""
HELD_FRAMES: Final = 2
BASELINE_FRAMES: Final = 3
STEADY_DEG: Final = 7.0
"""Frames of a baseline lie within this of each other: nobody is turning."""
FRONTAL_YAW_DEG: Final = 28.0
FRONTAL_PITCH_DEG: Final = 35.0
"""A baseline beyond these leaves no room to turn to both sides (pitch reads low: see `pose`)."""
WAIT_MS: Final = (400, 2_000)
"""Between looking straight and the next turn: uniform, so that its moment is not known."""
SETTLE_MS: Final = 1_500
"""A further attempt begins where the last one ended, with the head turned to somewhere: its
baseline waits until the learner has read that he is to look straight, on a slow telephone too."""
RESTARTS: Final = 2
"""Of the baseline within an attempt."""
FIRST_TURN_MS: Final = 20_000
"""The learner has to notice that he is asked for something..."""
TURN_MS: Final = 8_000
"""...then he knows."""
TURN_GAPS: Final = 4
"""A turn has the time of so many frames at the least: one until the learner hears of it, as the
answer to a frame, two that hold it, and one for what comes late."""
ATTEMPT_GAPS: Final = 6
"""So many for each turn of an attempt, beside its baseline: to wait, to turn and to come back."""
BLINK_MS: Final = 1_500
"""The face may be out of sight (head down, hand passing) for so long within an attempt..."""
BLINK_GAPS: Final = 1.5
"""...or for one frame, however far apart they come: two in a row and it is lost."""
GAPS_KEPT: Final = 5
"""Their median is how far apart frames come: one that is held up moves no limit."""
MOST_GAP_MS: Final = 6_000
"""Slower streams get no more time: samples come every 5 s, with jitter."""


class Phase(StrEnum):
    """What a challenge waits for."""

    BASELINE = "baseline"
    WAIT = "wait"
    TURN = "turn"
    RETURN = "return"
    OVER = "over"


class End(StrEnum):
    """How a challenge ended, before anybody looked at whose face it was."""

    DONE = "done"
    WRONG_TURN = "wrong_turn"
    TOO_SLOW = "too_slow"
    FACE_LOST = "face_lost"


class Keep(StrEnum):
    """What a frame is worth to the judgement."""

    NOTHING = "nothing"
    STRAIGHT = "straight"
    """Identity and passive liveness are judged on it."""
    TURNED = "turned"
    """It has to be the same person's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One attempt as it was drawn."""

    turns: tuple[Turn, ...]
    waits_ms: tuple[int, ...]
    """Before each turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one frame shows of the followed face."""

    at_ms: int
    track: int
    """0: no face."""
    pose: HeadPose | None
    """None: no face, or none that is whole."""
    clear: bool
    """Whether it could serve as evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Where a challenge stands."""

    plans: tuple[Plan, ...]
    """Attempt by attempt."""
    window_ms: int
    """Time of one attempt."""
    begun_ms: int
    """When the present attempt began."""
    last_ms: int
    """When the last attempt is over at the latest."""
    attempt: int = 0
    """Counts from 0."""
    phase: Phase = Phase.BASELINE
    step: int = 0
    """Turns done in this attempt."""
    since_ms: int = 0
    """When the present phase began."""
    restarts: int = 0
    """How often the baseline was begun anew in this attempt."""
    base: HeadPose | None = None
    steady: tuple[HeadPose, ...] = ()
    """Frames that may become the baseline."""
    track: int = 0
    seen_ms: int | None = None
    """When the face was seen last in this attempt."""
    towards: Turn | None = None
    """Where the last frame was turned..."""
    held: int = 0
    """...and for how many frames in a row."""
    end: End | None = None
    """How it ended; while it goes on, how the last attempt did."""
    faces: int = 0
    """Frames with a face that could have been judged, in all attempts."""
    frame_ms: int | None = None
    """When the last frame came."""
    gaps_ms: tuple[int, ...] = ()
    """Between the last ones."""

    @property
    def plan(self) -> Plan:
        """The present attempt's."""
        return self.plans[self.attempt]

    @property
    def gap_ms(self) -> int:
        """How far apart frames come; 0 while nothing is known of it."""
        return min(round(median(self.gaps_ms)), MOST_GAP_MS) if self.gaps_ms else 0

    @property
    def ends_ms(self) -> int:
        """When the present attempt is over."""
        frames = BASELINE_FRAMES + ATTEMPT_GAPS * len(self.plan.turns)
        return min(self.last_ms, self.begun_ms + max(self.window_ms, frames * self.gap_ms))

    @property
    def blink_ms(self) -> int:
        """For how long the face may be out of sight."""
        return max(BLINK_MS, round(BLINK_GAPS * self.gap_ms))

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase is Phase.OVER

    @property
    def shown(self) -> Turn:
        """What the learner is asked for now."""
        return self.plan.turns[self.step] if self.phase is Phase.TURN else Turn.CENTRE


def draw_plans(randbelow: Callable[[int], int], *, turns: int, attempts: int) -> tuple[Plan, ...]:
    """Draw every attempt, each one turn longer than the one before; `randbelow(n)` is uniform."""
    low, high = WAIT_MS
    return tuple(
        Plan(
            turns=tuple(DIRECTIONS[randbelow(4)] for _ in range(turns + attempt)),
            waits_ms=tuple(low + randbelow(high - low + 1) for _ in range(turns + attempt)),
        )
        for attempt in range(attempts)
    )


def begin(plans: tuple[Plan, ...], *, window_ms: int, now_ms: int) -> Challenge:
    """Begin the first attempt."""
    return Challenge(
        plans=plans,
        window_ms=window_ms,
        begun_ms=now_ms,
        last_ms=now_ms + len(plans) * window_ms,
        since_ms=now_ms,
    )


def expire(challenge: Challenge, now_ms: int) -> Challenge:
    """Let time pass."""
    c = challenge
    if c.over:
        return c
    if now_ms >= deadline(c):
        return _failed(c, End.TOO_SLOW, now_ms)
    if c.phase is Phase.WAIT and now_ms >= c.since_ms + c.plan.waits_ms[c.step]:
        return replace(c, phase=Phase.TURN, since_ms=now_ms, towards=None, held=0)
    return c


def deadline(challenge: Challenge) -> int:
    """Tell when the present phase or attempt runs out."""
    c = challenge
    least_ms = TURN_GAPS * c.gap_ms
    if c.phase is Phase.TURN:
        return min(c.ends_ms, c.since_ms + max(TURN_MS if c.step else FIRST_TURN_MS, least_ms))
    if c.phase is Phase.RETURN:
        return min(c.ends_ms, c.since_ms + max(TURN_MS, least_ms))
    return c.ends_ms


def look(challenge: Challenge, seen: Sight) -> tuple[Challenge, Keep]:
    """Take in one frame; give the challenge after it, and what the frame is worth."""
    c = _paced(challenge, seen.at_ms)
    # A frame that comes at the end of a wait was taken before the turn could be shown.
    c = c if c.phase is Phase.WAIT else expire(c, seen.at_ms)
    if c.over:
        return c, Keep.NOTHING
    c, keep = _looked(c, seen)
    return expire(c, seen.at_ms), keep


def _paced(c: Challenge, at_ms: int) -> Challenge:
    """Note how far apart frames come."""
    if c.frame_ms is None:
        return replace(c, frame_ms=at_ms)
    return replace(c, frame_ms=at_ms, gaps_ms=(*c.gaps_ms, at_ms - c.frame_ms)[-GAPS_KEPT:])


def _looked(c: Challenge, seen: Sight) -> tuple[Challenge, Keep]:
    if seen.pose is None or not seen.track:
        return _out_of_sight(c, seen), Keep.NOTHING
    if c.base is not None and seen.track != c.track:
        return _failed(c, End.FACE_LOST, seen.at_ms), Keep.NOTHING
    c = replace(c, seen_ms=seen.at_ms, faces=c.faces + 1 if seen.clear else c.faces)
    if c.base is None:
        return _baseline(c, seen, seen.pose)
    return _turning(c, seen, _towards(c.base, seen.pose))


def _out_of_sight(c: Challenge, seen: Sight) -> Challenge:
    if c.base is None:
        return replace(c, steady=())
    if c.seen_ms is not None and seen.at_ms - c.seen_ms > c.blink_ms:
        return _failed(c, End.FACE_LOST, seen.at_ms)
    return c


def _baseline(c: Challenge, seen: Sight, pose: HeadPose) -> tuple[Challenge, Keep]:
    """Collect steady frames of one face that looks about straight."""
    if c.attempt and seen.at_ms - c.since_ms < SETTLE_MS:
        return c, Keep.NOTHING
    frontal = abs(pose.yaw_deg) <= FRONTAL_YAW_DEG and abs(pose.pitch_deg) <= FRONTAL_PITCH_DEG
    if not (frontal and seen.clear):
        return replace(c, steady=()), Keep.NOTHING
    kept = c.steady if seen.track == c.track else ()
    steady = (*(p for p in kept if _near(p, pose)), pose)[-BASELINE_FRAMES:]
    c = replace(c, steady=steady, track=seen.track)
    if len(steady) < BASELINE_FRAMES:
        return c, Keep.STRAIGHT
    base = HeadPose(
        yaw_deg=median(p.yaw_deg for p in steady),
        pitch_deg=median(p.pitch_deg for p in steady),
        roll_deg=median(p.roll_deg for p in steady),
    )
    return replace(c, base=base, phase=Phase.WAIT, since_ms=seen.at_ms), Keep.STRAIGHT


def _near(a: HeadPose, b: HeadPose) -> bool:
    return abs(a.yaw_deg - b.yaw_deg) <= STEADY_DEG and abs(a.pitch_deg - b.pitch_deg) <= STEADY_DEG


@dataclass(frozen=True, slots=True)
class _Towards:
    """Where a head is turned, against its baseline."""

    turn: Turn | None
    """None: straight, moving, or between two directions."""
    extent: float
    """In thresholds; the larger of both axes."""


def _towards(base: HeadPose, pose: HeadPose) -> _Towards:
    yaw = (pose.yaw_deg - base.yaw_deg) / TURNED_YAW_DEG
    pitch = (pose.pitch_deg - base.pitch_deg) / TURNED_PITCH_DEG
    extent = max(abs(yaw), abs(pitch))
    if extent < 1:
        return _Towards(None, extent)
    if abs(yaw) >= DOMINANT * abs(pitch):
        return _Towards(Turn.LEFT if yaw > 0 else Turn.RIGHT, extent)
    if abs(pitch) >= DOMINANT * abs(yaw):
        return _Towards(Turn.UP if pitch > 0 else Turn.DOWN, extent)
    return _Towards(None, extent)


def _turning(c: Challenge, seen: Sight, now: _Towards) -> tuple[Challenge, Keep]:
    held = c.held + 1 if now.turn is not None and now.turn is c.towards else int(bool(now.turn))
    c = replace(c, towards=now.turn, held=held)
    wanted = c.plan.turns[c.step] if c.phase is not Phase.WAIT else None
    if now.turn is not None and now.turn is not wanted:
        wrong = held >= HELD_FRAMES or now.extent >= DECIDED
        return (_wrong(c, seen.at_ms) if wrong else c), Keep.NOTHING
    if c.phase is Phase.TURN and held >= HELD_FRAMES:
        return replace(c, phase=Phase.RETURN, since_ms=seen.at_ms), Keep.TURNED
    if c.phase is Phase.RETURN and now.extent < STRAIGHT and seen.clear:
        return _stepped(c, seen.at_ms), Keep.STRAIGHT
    return c, Keep.NOTHING


def _wrong(c: Challenge, now_ms: int) -> Challenge:
    """Begin the baseline anew where nothing was shown yet; else the attempt has failed."""
    if c.phase is Phase.WAIT and c.step == 0 and c.restarts < RESTARTS:
        return replace(
            c,
            phase=Phase.BASELINE,
            restarts=c.restarts + 1,
            base=None,
            steady=(),
            towards=None,
            held=0,
        )
    return _failed(c, End.WRONG_TURN, now_ms)


def _stepped(c: Challenge, now_ms: int) -> Challenge:
    """Note that a turn is done and the learner looks straight again."""
    done = c.step + 1
    if done == len(c.plan.turns):
        return replace(c, phase=Phase.OVER, end=End.DONE)
    return replace(c, step=done, phase=Phase.WAIT, since_ms=now_ms, towards=None, held=0)


def _failed(c: Challenge, end: End, now_ms: int) -> Challenge:
    """End this attempt; another one begins, if there is one left."""
    if c.attempt + 1 == len(c.plans) or now_ms >= c.last_ms:
        return replace(c, phase=Phase.OVER, end=end)
    return Challenge(
        plans=c.plans,
        window_ms=c.window_ms,
        begun_ms=now_ms,
        last_ms=c.last_ms,
        attempt=c.attempt + 1,
        since_ms=now_ms,
        end=end,
        faces=c.faces,
        frame_ms=c.frame_ms,
        gaps_ms=c.gaps_ms,
    )
