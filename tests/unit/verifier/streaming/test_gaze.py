"""Looking away: against the learner's own baseline, and only where a programme asks."""

from __future__ import annotations

from typing import Any

import pytest

from verifier.streaming.gaze import Gaze
from verifier.streaming.testing import Person
from verifier.streaming.wire import event_from_json, event_to_json
from verifier.types import CheckRequest, EventKind, HeadPose, PresencePolicy

ASKED = PresencePolicy(away_yaw_deg=35, identity_share=1.0)


def turned(yaw_deg: float) -> HeadPose:
    """A head."""
    return HeadPose(yaw_deg=yaw_deg, pitch_deg=0.0, roll_deg=0.0)


def looked(gaze: Gaze, *yaws: float, first: int = 1) -> list[bool | None]:
    """Show heads, one frame each."""
    return [gaze.see(seq, turned(yaw)) for seq, yaw in enumerate(yaws, start=first)]


def test_without_a_baseline_nobody_looks_away() -> None:
    """Three frames on which the face was matched make one."""
    gaze = Gaze(35)
    assert looked(gaze, 0, 50, 0) == [None, None, None]
    gaze.learn([1, 3])
    assert looked(gaze, 50, 0, first=4) == [None, None]
    gaze.learn([5])
    assert looked(gaze, 36, 0, first=6) == [True, False]


def test_the_angle_is_a_change_against_the_own_baseline() -> None:
    """A camera that stands to the side makes nobody look away."""
    gaze = Gaze(35)
    looked(gaze, 28, 30, 32)
    gaze.learn([1, 2, 3])
    assert looked(gaze, 40, 64, 66, first=4) == [False, False, True]
    assert looked(gaze, -4, -6, first=7) == [True, True]


def test_whoever_looked_away_has_to_come_back_some_more() -> None:
    """At the limit nobody flickers."""
    gaze = Gaze(35)
    looked(gaze, 0, 0, 0)
    gaze.learn([1, 2, 3])
    assert looked(gaze, 34, 36, 34, 31, 29, 34, first=4) == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_baseline_follows_a_device_that_was_moved() -> None:
    """Matched frames from another angle take its place, the newest nine."""
    gaze = Gaze(35)
    looked(gaze, *[0.0] * 9)
    gaze.learn(range(1, 10))
    for seq in range(10, 19):
        gaze.see(seq, turned(41))
        gaze.learn([seq])
    assert looked(gaze, 41, 0, first=19) == [False, True]


def test_a_face_that_is_not_whole_says_nothing() -> None:
    """Nor does a frame that was never seen, when it is matched."""
    gaze = Gaze(35)
    assert gaze.see(1, None) is None
    gaze.learn([1, 2])
    assert looked(gaze, 0, 0, 0) == [None] * 3


def aways(studio: Any) -> list[bool | None]:
    """What the presence samples of a stream said."""
    return [event.away for event in studio.events if event.kind is EventKind.PRESENCE]


async def test_a_stream_says_it_of_its_presence_samples(studio: Any) -> None:
    """Identity samples that match teach where he looks; two people say nothing."""
    grant = await studio.open(policy=ASKED)
    for yaw in (20.0, 21.0, 19.0, 22.0, 60.0, 20.0):
        await studio.show(grant, Person(who="li", yaw=yaw))
    await studio.show(grant, Person(who="li", yaw=60.0), "wang")
    assert aways(studio) == [None, None, None, False, True, False, None]
    told = studio.events[-1] if studio.events[-1].away is not None else studio.events[8]
    assert event_from_json(event_to_json(told)) == told


async def test_checks_teach_it_too(studio: Any) -> None:
    """The frames on which a check matched."""
    grant = await studio.open(policy=PresencePolicy(away_yaw_deg=35, identity_share=0.0))
    for _ in range(3):
        await studio.show(grant, Person(who="li", yaw=5.0))
    await studio.show(grant, Person(who="li", yaw=50.0))
    assert aways(studio) == [None] * 4
    stranger = await studio.open("wang", session="s-2", policy=ASKED)
    for _ in range(4):
        await studio.show(stranger, Person(who="li", yaw=5.0))
    assert set(aways(studio)) == {None}, "somebody else's pose is nobody's baseline"
    await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    await studio.show(grant, Person(who="li", yaw=50.0))
    assert aways(studio)[-1] is True


@pytest.mark.parametrize("people", [[], [Person(who="li", yaw=70.0)]])
async def test_nobody_measures_what_nobody_asked_for(studio: Any, people: list[Person]) -> None:
    """By default no pose is worked out: as little data as possible."""
    grant = await studio.open()
    for _ in range(5):
        await studio.show(grant, *people)
    assert studio.engine.frames["pose"] == 0
    assert set(aways(studio)) == {None}
    assert all("away" not in event_to_json(event) for event in studio.events)
