"""A challenge on a stream: what is shown, what is judged, and the one event that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.verifier.streaming.conftest import Studio
from verifier.errors import BadRequest
from verifier.streaming.cues import CHALLENGE_PERIOD_MS, Cue
from verifier.streaming.testing import Person
from verifier.streaming.wire import event_from_json, event_to_json, verify_event
from verifier.types import (
    ChallengeRequest,
    Decision,
    EventKind,
    PresencePolicy,
    Reason,
    StreamEvent,
    StreamGrant,
)

ANGLES = {"left": (25, 0), "right": (-25, 0), "up": (0, 18), "down": (0, -18), "centre": (0, 0)}
ASK = ChallengeRequest(check_id="c-1")
Actor = Callable[[str], tuple[Person, ...]]
"""Who is before the camera when the page shows this turn."""


def learner(turn: str, **about: object) -> tuple[Person, ...]:
    """The learner, who obeys."""
    yaw, pitch = ANGLES[turn]
    return (Person(who="li", yaw=yaw, pitch=pitch, **about),)  # type: ignore[arg-type]


def challenge_events(studio: Studio) -> list[StreamEvent]:
    """The events of challenges."""
    return [event for event in studio.events if event.kind is EventKind.CHALLENGE]


async def play(studio: Studio, grant: StreamGrant, actor: Actor, *, most: int = 600) -> StreamEvent:
    """Send a frame every 250 ms, as the page shows turns, until the challenge has ended."""
    turn = "centre"
    for _ in range(most):
        cue = await studio.show(grant, *actor(turn), after_ms=CHALLENGE_PERIOD_MS)
        if cue.challenge is None:
            break
        turn = cue.challenge.turn.value
    (event,) = challenge_events(studio)
    return event


async def begun(studio: Studio, **policy: object) -> StreamGrant:
    """A stream with a few frames of the learner and a challenge that is shown."""
    grant = await studio.open(policy=PresencePolicy(**policy))  # type: ignore[arg-type]
    for _ in range(3):
        await studio.show(grant, "li")
    await studio.hub.challenge(grant.stream_id, ASK)
    return grant


async def test_the_learner_passes(studio: Studio) -> None:
    """Who follows the arrows gets one signed event: a match over the frames that were judged."""
    event = await play(studio, await begun(studio), learner)
    assert (event.decision, event.reasons, event.check_id) == (Decision.MATCH, (), "c-1")
    assert (len(event.turns), event.attempts) == (4, 1)
    assert len(event.frame_digests) == 3 + 2 * 4
    assert event.since is not None
    assert event.at.ms_since(event.since) > 4_000
    assert verify_event(event, studio.keys)
    assert event_from_json(event_to_json(event)) == event


@pytest.mark.parametrize("frame_ms", [2_000, 5_000])
async def test_the_learner_passes_on_a_slow_network(studio: Studio, frame_ms: int) -> None:
    """A frame every few seconds, one of each turn without a face: in one attempt, on one track."""
    grant = await begun(studio)
    turn, held = "centre", 0
    for _ in range(40):
        held = held + 1 if turn != "centre" else 0
        people = () if held == 2 and frame_ms == 2_000 else learner(turn)
        cue = await studio.show(grant, *people, after_ms=frame_ms)
        if cue.challenge is None:
            break
        turn = cue.challenge.turn.value
    (event,) = challenge_events(studio)
    assert (event.decision, event.attempts, event.track) == (Decision.MATCH, 1, 1)


async def test_what_the_device_sees(studio: Studio) -> None:
    """Only while a challenge is shown are there prompts and a faster pace, and never a score."""
    grant = await studio.open()
    before = await studio.show(grant, "li")
    assert (before.challenge, before.period_ms) == (None, 5_000)
    pushed: list[Cue] = []
    studio.hub._find(grant.stream_id).cues.listen(pushed.append)
    await studio.hub.challenge(grant.stream_id, ASK)
    assert pushed[0].challenge is not None
    assert pushed[0].challenge.turn.value == "centre"
    await play(studio, grant, learner)
    assert pushed[-1].challenge is None
    assert pushed[-1].period_ms == 5_000
    shown = [cue.challenge for cue in pushed if cue.challenge is not None]
    assert {one.steps for one in shown} == {4}
    assert [one.turn.value for one in shown if one.turn.value != "centre"] == [
        *challenge_events(studio)[0].turns
    ]


async def test_nobody_answers(studio: Studio) -> None:
    """A still face lets the time of both attempts run out: not answered."""
    event = await play(studio, await begun(studio), lambda _: learner("centre"))
    assert (event.decision, event.reasons, event.attempts) == (None, (Reason.TOO_SLOW,), 2)


async def test_time_ends_it_without_frames(studio: Studio) -> None:
    """No frame comes any more: the challenge ends all the same, without evidence."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.hub.challenge(grant.stream_id, ChallengeRequest(check_id="c-1", window_ms=30_000))
    for _ in range(70):
        studio.clock.advance(1_000)
        await asyncio.sleep(0)
        await studio.hub._find(grant.stream_id).log.deliver()
    (event,) = challenge_events(studio)
    assert event.decision is Decision.NO_EVIDENCE
    assert Reason.NO_FACE in event.reasons


async def test_a_stranger_before_it_is_a_mismatch(studio: Studio) -> None:
    """Whoever sat there until the cue decides, whoever is fetched by it."""
    grant = await studio.open()
    for _ in range(3):
        await studio.show(grant, "wei")
    await studio.hub.challenge(grant.stream_id, ASK)
    event = await play(studio, grant, learner, most=1)
    assert event.decision is Decision.MISMATCH
    assert Reason.NOT_THE_SAME_PERSON in event.reasons
    assert event.attempts == 0, "nothing was shown"


async def test_a_stranger_who_turns_is_a_mismatch(studio: Studio) -> None:
    """Turning well does not help who is somebody else."""

    def turner(turn: str) -> tuple[Person, ...]:
        yaw, pitch = ANGLES[turn]
        return (Person(who="li" if turn == "centre" else "wei", yaw=yaw, pitch=pitch),)

    event = await play(studio, await begun(studio), turner)
    assert event.decision is Decision.MISMATCH


@pytest.mark.parametrize(
    ("live", "vote", "decision"),
    [(0.1, True, Decision.SPOOF), (0.1, False, Decision.MATCH), (0.9, True, Decision.MATCH)],
)
async def test_passive_liveness_is_a_vote(
    studio: Studio, live: float, vote: bool, decision: Decision
) -> None:
    """What looks like a picture fails although it turns, unless passive liveness has no vote."""
    grant = await begun(studio, passive_vote=vote)
    event = await play(studio, grant, lambda turn: learner(turn, live=live))
    assert event.decision is decision


async def test_without_the_passive_vote_samples_and_checks_go_by_identity(studio: Studio) -> None:
    """Somebody whom passive liveness errs on is not stopped by it."""
    grant = await studio.open(policy=PresencePolicy(passive_vote=False))
    await studio.show(grant, Person(who="li", live=0.1))
    assert studio.events[-1].decision is Decision.MATCH


async def test_no_sample_is_drawn_while_a_challenge_is_shown(studio: Studio) -> None:
    """Turned heads are no identity samples; what was owed meanwhile is owed afterwards."""
    grant = await begun(studio, identity_share=1.0)
    await play(studio, grant, learner)
    (ended,) = challenge_events(studio)
    assert ended.since is not None
    assert not [
        event
        for event in studio.events
        if event.kind is EventKind.IDENTITY
        and event.at.ms_since(ended.since) > 0
        and event.frame_seq != ended.frame_seq
    ]
    await studio.show(grant, "li")
    assert studio.events[-1].kind is EventKind.IDENTITY


async def test_the_same_challenge_begins_once(studio: Studio) -> None:
    """An id is single-use: asked twice, also afterwards, there is one event."""
    grant = await begun(studio)
    await studio.hub.challenge(grant.stream_id, ASK)
    await play(studio, grant, learner)
    await studio.hub.challenge(grant.stream_id, ASK)
    assert (await studio.show(grant, "li")).challenge is None


async def test_another_challenge_takes_the_place(studio: Studio) -> None:
    """The one before it ends unanswered, so that every challenge has its event."""
    grant = await begun(studio)
    await studio.hub.challenge(grant.stream_id, ChallengeRequest(check_id="c-2"))
    await studio.hub._find(grant.stream_id).log.deliver()
    (event,) = challenge_events(studio)
    assert (event.check_id, event.decision) == ("c-1", Decision.NO_EVIDENCE)


async def test_closing_shows_nothing_and_leaves_no_task(studio: Studio) -> None:
    """A stream that closes during a challenge has no event for it."""
    grant = await begun(studio)
    await studio.hub.close_stream(grant.stream_id)
    assert challenge_events(studio) == []


@pytest.mark.parametrize("wrong", [{"turns": 2}, {"attempts": 0}, {"window_ms": 10}])
async def test_a_challenge_that_cannot_be_meant(studio: Studio, wrong: dict[str, int]) -> None:
    """Fewer than three turns, no attempt, no time: refused."""
    grant = await studio.open()
    with pytest.raises(BadRequest):
        await studio.hub.challenge(grant.stream_id, ChallengeRequest(check_id="c", **wrong))
