"""All streams together: who may push, how many, how long, and that nothing mixes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace

import pytest

from verifier.errors import (
    BadRequest,
    Conflict,
    ImageTooLarge,
    Overloaded,
    StorageError,
    StreamGone,
    TemplateTampered,
    TooManyRequests,
    Unauthorised,
)
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import MODELS, scene
from verifier.types import (
    CheckRequest,
    Decision,
    EventKind,
    PresencePolicy,
    StreamEvent,
    StreamSpec,
    StreamVerifier,
)


async def settle() -> None:
    """Let the tasks that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_hub_is_a_stream_verifier(studio) -> None:
    """The tracker can take it for the contract, and learns what runs."""
    verifier: StreamVerifier = studio.hub
    assert verifier.describe() == {**MODELS, "profile": "scripted-1"}


async def test_a_grant_says_all_that_a_client_needs(studio) -> None:
    """An unguessable id, a token with its end, where to send frames and how often."""
    grant = await studio.open(policy=PresencePolicy(sample_period_ms=4_000))
    other = await studio.open(session="s-2")
    assert len(grant.stream_id) == 32
    assert grant.stream_id != other.stream_id
    assert grant.frames_path == f"/v1/streams/{grant.stream_id}/frames"
    assert grant.socket_path == f"/v1/streams/{grant.stream_id}/socket"
    assert grant.offer_path == f"/v1/streams/{grant.stream_id}/offer"
    assert grant.ice_servers == ()
    assert grant.sample_period_ms == 4_000
    assert grant.expires_utc_ms == studio.clock.stamp().utc_ms + 600_000


async def test_a_template_of_somebody_else_opens_no_stream(studio) -> None:
    """The vault's refusal reaches the tracker, and no stream is left behind."""
    spec = StreamSpec(session_id="s", subject="li", template=b"template of wang")
    with pytest.raises(TemplateTampered):
        await studio.hub.open_stream(spec)
    assert studio.hub.open_streams == 0


@pytest.mark.parametrize(
    "policy",
    [
        PresencePolicy(identity_share=1.5),
        PresencePolicy(check_frames=0),
        PresencePolicy(window_ms=0),
        PresencePolicy(sample_period_ms=5_000, gap_ms=4_000),
    ],
)
async def test_a_policy_that_cannot_work_is_refused(studio, policy: PresencePolicy) -> None:
    """A mistake in the programme policy is named when the stream opens, not later."""
    with pytest.raises(BadRequest, match="presence policy"):
        await studio.open(policy=policy)


async def test_the_token_of_another_stream_is_refused(studio) -> None:
    """One learner's token does not push into another's stream."""
    mine, yours = await studio.open(), await studio.open("wang", session="s-2")
    with pytest.raises(Unauthorised):
        await studio.hub.push_frame(yours.stream_id, mine.client_token, seq=1, data=scene("li"))
    assert studio.events == []


async def test_an_expired_token_is_refused_and_a_renewed_one_is_not(studio) -> None:
    """After ten minutes another token is needed; the stream and its track live on."""
    grant = await studio.open()
    for _ in range(120):
        await studio.show(grant, "li", after_ms=4_999)
    with pytest.raises(Unauthorised, match="expired"):
        await studio.show(grant, "li", after_ms=5_000)
    renewed = await studio.hub.refresh(grant.stream_id)
    await studio.hub.push_frame(
        renewed.stream_id, renewed.client_token, seq=122, data=studio.picture("li")
    )
    assert studio.events[-1].kind is EventKind.PRESENCE
    assert studio.events[-1].track == 1


async def test_closing_revokes_the_token_and_closing_twice_is_fine(studio) -> None:
    """After closing everything is gone, with a remedy."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.hub.close_stream(grant.stream_id)
    await studio.hub.close_stream(grant.stream_id)
    with pytest.raises(StreamGone) as gone:
        await studio.show(grant, "li")
    assert "session tracker" in gone.value.remedy
    with pytest.raises(StreamGone):
        await studio.hub.check(grant.stream_id, CheckRequest(check_id="c"))
    with pytest.raises(StreamGone):
        await studio.hub.refresh(grant.stream_id)
    with pytest.raises(StreamGone):
        await studio.hub.resume(grant.stream_id)
    assert studio.hub.held_bytes == 0


async def test_idle_streams_expire(studio) -> None:
    """Two minutes without a frame close a stream; a frame in time keeps it."""
    busy, idle = await studio.open(), await studio.open(session="s-2")
    await studio.show(busy, "li", after_ms=60_000)
    await studio.show(busy, "li", after_ms=59_999)
    assert studio.hub.open_streams == 2
    await studio.show(busy, "li", after_ms=1)
    assert studio.hub.open_streams == 1
    with pytest.raises(StreamGone):
        await studio.show(idle, "li")
    assert studio.hub.counts["streams_expired"] == 1


async def test_pictures_age_and_streams_expire_though_nobody_calls(make_studio) -> None:
    """After the last frame its picture is gone within the window and a sweep; then the stream."""
    limits = StreamLimits()
    studio = make_studio(limits=limits)
    grant = await studio.open(policy=PresencePolicy(window_ms=25_000))
    await studio.show(grant, "li")
    assert studio.hub.held_bytes > 0
    for _ in range(25_000 // limits.sweep_ms + 1):
        studio.clock.advance(limits.sweep_ms)
        await settle()
    assert (studio.hub.held_bytes, studio.hub.open_streams) == (0, 1)
    for _ in range(limits.idle_ms // limits.sweep_ms):
        studio.clock.advance(limits.sweep_ms)
        await settle()
    assert studio.hub.open_streams == 0
    assert studio.hub.counts["streams_expired"] == 1


async def test_the_sweep_ends_with_the_hub_and_with_the_last_stream(studio) -> None:
    """No task outlives what it cares for, and another stream has another sweep."""
    grant = await studio.open()
    first = studio.hub._sweeper
    await studio.hub.close_stream(grant.stream_id)
    studio.clock.advance(5_000)
    await settle()
    assert first.done()
    await studio.open(session="s-2")
    second = studio.hub._sweeper
    assert not second.done()
    await studio.hub.aclose()
    assert second.cancelled()


async def test_a_check_is_remembered_without_its_picture(make_studio, monkeypatch) -> None:
    """Once the tracker has taken the event; until then the first answer is repeated whole."""
    monkeypatch.setattr("verifier.streaming.checks.thumbnail", lambda data: b"small")
    studio = make_studio(sink=False)
    gate = asyncio.Event()

    async def sink(event: StreamEvent) -> None:
        await gate.wait()
        studio.events.append(event)

    gate.set()
    studio.hub.subscribe(sink)
    grant = await studio.open(policy=PresencePolicy(pictures=True))
    await studio.show(grant, "wei")
    gate.clear()
    first = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert first.picture == b"small"
    studio.hub._find(grant.stream_id).age()
    assert await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1")) == first
    gate.set()
    await settle()
    assert studio.events[-1] == first
    studio.hub._find(grant.stream_id).age()
    again = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert again == replace(first, picture=b"")


async def test_the_number_of_streams_is_bounded(make_studio) -> None:
    """One stream too many is refused; a closed one makes room."""
    studio = make_studio(limits=StreamLimits(max_streams=2))
    first = await studio.open()
    await studio.open(session="s-2")
    with pytest.raises(Overloaded):
        await studio.open(session="s-3")
    await studio.hub.close_stream(first.stream_id)
    await studio.open(session="s-3")


async def test_a_picture_that_is_too_large_is_refused(make_studio) -> None:
    """Bytes above the limit are refused before anything reads them."""
    studio = make_studio(limits=StreamLimits(frame_bytes=100))
    grant = await studio.open()
    with pytest.raises(ImageTooLarge):
        await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=1, data=bytes(101))
    assert studio.engine.frames["decode"] == 0


async def test_too_many_frames_are_turned_away(studio) -> None:
    """Five per second are taken, the sixth is answered with a time to wait; then it goes on."""
    grant = await studio.open()
    for _ in range(5):
        await studio.show(grant, "li", after_ms=0)
    with pytest.raises(TooManyRequests):
        await studio.show(grant, "li", after_ms=0)
    assert (await studio.show(grant, "li", after_ms=1_000)).accepted
    assert studio.hub.counts["too_many_requests"] == 1


async def test_the_clients_clock_is_noted_and_not_believed(studio) -> None:
    """A wrong time of the client changes no stamp; it is counted."""
    grant = await studio.open()
    now = studio.clock.stamp()
    await studio.hub.push_frame(
        grant.stream_id,
        grant.client_token,
        seq=1,
        data=scene("li"),
        captured_utc_ms=now.utc_ms - 5_001,
    )
    assert studio.events[0].at == now
    assert studio.hub.counts["skewed"] == 1


async def test_many_streams_at_once_do_not_mix(studio) -> None:
    """Sixty learners at a time: every event and check speaks of its own learner only."""
    people = [f"learner-{number}" for number in range(60)]
    grants = [await studio.open(who, session=f"s-{who}") for who in people]
    impostors = set(people[::7])

    async def lesson(index: int) -> Decision | None:
        who, grant = people[index], grants[index]
        sitting = f"friend of {who}" if who in impostors else who
        for _ in range(4):
            await studio.show(grant, sitting, after_ms=0)
        event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="same id for all"))
        assert event.session_id == f"s-{who}"
        return event.decision

    decisions = await asyncio.gather(*(lesson(index) for index in range(len(people))))
    for who, grant, decision in zip(people, grants, decisions, strict=True):
        expected = Decision.MISMATCH if who in impostors else Decision.MATCH
        assert decision is expected
        mine = [event for event in studio.events if event.stream_id == grant.stream_id]
        assert [event.event_id for event in mine] == list(range(1, len(mine) + 1))
        assert {event.session_id for event in mine} == {f"s-{who}"}
        assert {event.decision for event in mine if event.decision} == {expected}


async def test_memory_is_bounded_over_ten_thousand_frames(make_studio) -> None:
    """Nothing that a stream remembers grows with its frames."""
    limits = StreamLimits(token_life_ms=10**9, ring_frames=8, ring_bytes=2_000)
    studio = make_studio(sink=False, limits=limits)
    studio.hub.subscribe(_forget)
    grant = await studio.open(policy=PresencePolicy(window_ms=600_000))
    stream = studio.hub._find(grant.stream_id)
    for _ in range(10_000):
        await studio.show(grant, "li", after_ms=1_000)
    for number in range(200):
        await studio.hub.check(grant.stream_id, CheckRequest(check_id=f"c-{number}"))
    await settle()
    assert studio.hub.held_bytes <= limits.ring_bytes
    window = stream._view.window
    assert len(window) <= limits.ring_frames
    assert len(window._evidence) <= limits.ring_frames
    assert len(stream._arrivals._answers) <= limits.remembered_frames
    assert len(stream._checks._answers) <= limits.remembered_checks
    assert len(stream.log) == 0


async def _forget(_: StreamEvent) -> None:
    """Take an event and keep nothing."""


# --- events without a sink in the process ------------------------------------------------------


async def test_listed_events_are_read_and_acknowledged(studio) -> None:
    """A listed stream's events go to readers, not to the sinks of the process."""
    grant = await studio.open(listed=True)
    for _ in range(3):
        await studio.show(grant, "li")
    assert studio.events == []
    reader = studio.hub.events(grant.stream_id, after=1)
    assert [(await anext(reader)).event_id for _ in range(2)] == [2, 3]
    await studio.hub.acknowledge(grant.stream_id, 2)
    again = studio.hub.events(grant.stream_id)
    assert (await anext(again)).event_id == 3


async def test_the_events_of_a_closed_stream_wait_for_their_reader(studio) -> None:
    """Closing loses no event; once all are acknowledged the stream is gone."""
    grant = await studio.open(listed=True)
    await studio.show(grant, "li")
    await studio.hub.close_stream(grant.stream_id)
    assert [event.event_id async for event in studio.hub.events(grant.stream_id)] == [1, 2]
    await studio.hub.acknowledge(grant.stream_id, 2)
    with pytest.raises(StreamGone):
        studio.hub.events(grant.stream_id)


async def test_events_that_nobody_reads_are_given_up_in_the_end(studio, caplog) -> None:
    """Ten minutes after the end the list is dropped, and the log says so."""
    grant = await studio.open(listed=True)
    await studio.show(grant, "li")
    await studio.hub.close_stream(grant.stream_id)
    studio.clock.advance(599_999)
    assert studio.hub.events(grant.stream_id) is not None
    studio.clock.advance(1)
    with pytest.raises(StreamGone):
        studio.hub.events(grant.stream_id)
    assert "2 events of session s-1 were never taken" in caplog.text


async def test_a_full_list_refuses_frames_and_checks(make_studio) -> None:
    """A tracker that does not read stops the stream; reading lets it go on."""
    studio = make_studio(limits=StreamLimits(events_waiting=3))
    grant = await studio.open(listed=True)
    for _ in range(2):
        await studio.show(grant, "li")
    with pytest.raises(StorageError):
        await studio.show(grant, "li")
    with pytest.raises(StorageError):
        await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    await studio.hub.acknowledge(grant.stream_id, 3)
    assert (await studio.show(grant, "li")).accepted


async def test_the_events_of_this_process_are_not_read_from_outside(studio) -> None:
    """Events that go to a sink cannot be taken away by a reader."""
    grant = await studio.open()
    with pytest.raises(Conflict):
        studio.hub.events(grant.stream_id)
    with pytest.raises(Conflict):
        await studio.hub.acknowledge(grant.stream_id, 0)


async def test_events_of_a_closed_stream_still_reach_a_sink_that_failed(make_studio) -> None:
    """The background goes on after closing until the sink has taken the last event."""
    studio = make_studio(sink=False)
    failures = [OSError("disk full")]

    async def sink(event: StreamEvent) -> None:
        if failures:
            raise failures.pop()
        studio.events.append(event)

    studio.hub.subscribe(sink)
    grant = await studio.open()
    await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    await studio.hub.close_stream(grant.stream_id)
    await settle()
    assert studio.events == []
    studio.clock.advance(1_000)
    await settle()
    assert [event.check_id for event in studio.events] == ["c-1"]


async def test_the_end_of_the_process_ends_all_streams(studio) -> None:
    """After closing the hub nothing is open, and readers come to their end."""
    grant = await studio.open(listed=True)
    await studio.show(grant, "li")
    reader = studio.hub.events(grant.stream_id, after=1)
    await anext(reader)
    waiting = asyncio.ensure_future(anext(reader, None))
    await settle()
    await studio.hub.aclose()
    assert await waiting is None
    with pytest.raises(StreamGone):
        await studio.show(grant, "li")


def test_limits_are_positive() -> None:
    """A bound of zero is a mistake."""
    with pytest.raises(ValueError, match="ring_frames"):
        StreamLimits(ring_frames=0)


async def seen_again(studio, grant, data: bytes) -> str:
    """What a picture that was shown before is told on a stream."""
    studio.clock.advance(5_000)
    cue = await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=90, data=data)
    await studio.hub.settled()
    return str(cue.advice)


async def test_a_stream_that_takes_the_place_of_another_goes_on_with_its_memory(studio) -> None:
    """Bytes, fingerprints and alarms: opening another one in mid-session forgets nothing."""
    first = await studio.open()
    data = studio.picture("li")
    await studio.hub.push_frame(first.stream_id, first.client_token, seq=1, data=data)
    replays = studio.hub._open[first.stream_id].memory.replays
    await studio.hub.close_stream(first.stream_id, taken_over=True)
    second = await studio.open()
    assert studio.hub._open[second.stream_id].memory.replays is replays
    assert studio.hub._open[second.stream_id]._judging.replays is replays
    assert await seen_again(studio, second, data) == "duplicate"
    other = await studio.open("wu")
    assert studio.hub._open[other.stream_id].memory.replays is not replays
    await studio.hub.close_stream(second.stream_id)
    assert await seen_again(studio, await studio.open(), data) == "ok"


async def test_a_memory_that_nobody_takes_on_is_forgotten(studio) -> None:
    """A stream is opened at once in the place of the other, or the session has ended."""
    grant = await studio.open()
    await studio.hub.close_stream(grant.stream_id, taken_over=True)
    assert len(studio.hub._memories) == 1
    await settle()
    studio.clock.advance(studio.hub.limits.idle_ms)
    await settle()
    assert not studio.hub._memories


async def test_a_closed_stream_leaves_memory_at_once(studio) -> None:
    """No cycle holds it, or the face and the fingerprints in it, until a full collection."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.hub.check(grant.stream_id, CheckRequest(check_id="c"))
    found = weakref.ref(studio.hub._open[grant.stream_id])
    replays = weakref.ref(studio.hub._open[grant.stream_id].memory.replays)
    await settle()
    gc.collect()
    gc.disable()
    try:
        await studio.hub.close_stream(grant.stream_id)
        await settle()
        assert found() is None
        assert replays() is None
    finally:
        gc.enable()


async def test_a_closed_stream_whose_events_wait_holds_no_face(studio) -> None:
    """They may wait for minutes; the template goes at once."""
    grant = await studio.open(listed=True)
    await studio.show(grant, "li")
    stream = studio.hub._open[grant.stream_id]
    await studio.hub.close_stream(grant.stream_id)
    assert stream.log
    assert not stream._judging._reference.any()
    assert not stream._challenges._reference.any()
