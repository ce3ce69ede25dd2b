"""What becomes of the frames of one stream: samples, identity samples, checks."""

from __future__ import annotations

import asyncio
import random

import pytest

from verifier.clock import Stamp
from verifier.errors import ImageUnreadable, Overloaded, StorageError, StreamGone
from verifier.streaming.advice import Advice
from verifier.streaming.limits import StreamLimits
from verifier.streaming.testing import MODELS, Person, scene
from verifier.streaming.wire import verify_event
from verifier.types import (
    CheckRequest,
    Decision,
    EventKind,
    PresencePolicy,
    Reason,
    StreamEvent,
)


def kinds(events: list[StreamEvent]) -> str:
    """The events as one letter each: p, i, c; of a frame that was looked at, the i only."""
    looked_at = {event.frame_seq for event in events if event.kind is EventKind.IDENTITY}
    return "".join(
        event.kind.value[0]
        for event in events
        if event.kind is not EventKind.PRESENCE or event.frame_seq not in looked_at
    )


# --- samples ---------------------------------------------------------------------------------


async def test_the_first_face_is_an_identity_sample_and_the_rest_are_drawn(studio) -> None:
    """With no luck in the draw only the first face of a track is looked at."""
    grant = await studio.open()
    for _ in range(5):
        receipt = await studio.show(grant, "li")
        assert (receipt.accepted, receipt.advice) == (True, Advice.OK)
    assert kinds(studio.events) == "ipppp"
    assert [event.event_id for event in studio.events] == [1, 2, 3, 4, 5, 6]
    assert [event.frame_seq for event in studio.events] == [1, 1, 2, 3, 4, 5]
    assert [event.track for event in studio.events] == [1] * 6
    assert studio.engine.frames["identity"] == 1


async def test_an_identity_event_carries_a_signed_verdict(studio) -> None:
    """Decision, scores, thresholds, digests, models and profile are there, under a signature."""
    grant = await studio.open()
    await studio.show(grant, "li")
    presence, event = studio.events
    assert (presence.kind, presence.at, presence.track) == (EventKind.PRESENCE, event.at, 1)
    assert event.decision is Decision.MATCH
    assert event.similarity == pytest.approx(1.0)
    assert (event.threshold, event.liveness_threshold) == (0.4, 0.5)
    assert event.liveness_score == pytest.approx(0.9)
    assert len(event.frame_digests) == 1
    assert event.models == MODELS
    assert event.profile_version == "scripted-1"
    assert verify_event(event, studio.keys) == studio.keys.current_signing_id
    assert event.at == studio.clock.stamp()
    assert (event.frame_seq, event.faces, event.session_id) == (1, 1, "s-1")


async def test_a_presence_event_tells_nothing_of_identity(studio) -> None:
    """A plain sample carries track and faces only, even of a stranger."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, "wang")
    event = studio.events[-1]
    assert event.kind is EventKind.PRESENCE
    assert (event.decision, event.similarity, event.liveness_score) == (None, None, None)
    assert (event.reasons, event.frame_digests, event.signature) == ((), (), "")


@pytest.mark.parametrize(
    ("person", "decision"),
    [
        (Person(who="wang"), Decision.MISMATCH),
        (Person(who="li", live=0.1), Decision.SPOOF),
        (Person(who="li", reasons=(Reason.OCCLUDED,)), Decision.NO_EVIDENCE),
    ],
)
async def test_decisions_reach_the_tracker(studio, person: Person, decision: Decision) -> None:
    """Whatever the engine decides is on the event, and nothing of it in the receipt."""
    grant = await studio.open()
    receipt = await studio.show(grant, person)
    assert studio.events[-1].decision is decision
    expected = Advice.UNCOVER_FACE if person.reasons else Advice.OK
    assert (receipt.accepted, receipt.advice) == (True, expected)


async def test_nobody_there_is_a_presence_sample_on_track_zero(studio) -> None:
    """An empty chair is a fact: no face, track 0, no identity."""
    grant = await studio.open()
    receipt = await studio.show(grant)
    assert receipt.advice is Advice.NO_FACE
    (event,) = studio.events
    assert (event.kind, event.track, event.faces) == (EventKind.PRESENCE, 0, 0)
    assert studio.engine.frames["identity"] == 0


async def test_a_lost_face_owes_an_identity_sample(studio) -> None:
    """Whoever comes back is looked at, at once."""
    grant = await studio.open()
    for people in (["li"], ["li"], [], [], ["wang"], ["wang"]):
        await studio.show(grant, *people)
    assert kinds(studio.events) == "ippp" + "ip"
    assert studio.events[6].decision is Decision.MISMATCH
    assert [event.track for event in studio.events] == [1, 1, 1, 0, 0, 2, 2, 2]


async def test_a_jump_owes_an_identity_sample(studio) -> None:
    """A face elsewhere begins a track with a look."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, Person(who="li", x=500))
    assert kinds(studio.events) == "ii"
    assert studio.events[-1].track == 2


async def test_a_face_that_joins_or_leaves_owes_an_identity_sample(studio) -> None:
    """People may change places while two are in view: each change is looked at."""
    grant = await studio.open()
    beside = Person(who="wang", x=450, size=80)
    for people in (["li"], ["li"], ["li", beside], ["li", beside], ["li"], ["li"]):
        await studio.show(grant, *people)
    assert kinds(studio.events) == "ipipip"
    assert {event.track for event in studio.events} == {1}


async def test_a_gap_owes_an_identity_sample(studio) -> None:
    """After more than the gap of the policy all begins anew."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, "li", after_ms=12_000)
    await studio.show(grant, "li", after_ms=12_001)
    assert kinds(studio.events) == "ipi"
    assert studio.events[-1].track == 2


async def test_resume_owes_an_identity_sample(studio) -> None:
    """After a pause the next face is looked at, on the same track."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.hub.resume(grant.stream_id)
    await studio.show(grant)
    await studio.show(grant, "li")
    await studio.show(grant, "li")
    assert kinds(studio.events) == "ipip"


async def test_no_evidence_is_asked_again_until_there_is_some(studio) -> None:
    """Covering the face does not get rid of an owed look."""
    hidden = Person(who="li", reasons=(Reason.OCCLUDED,))
    grant = await studio.open()
    for person in (hidden, hidden, hidden, Person(who="li"), Person(who="li")):
        await studio.show(grant, person)
    assert kinds(studio.events) == "iiiip"


async def test_a_drawn_sample_without_evidence_is_asked_again_too(make_studio) -> None:
    """It does not matter whether the look was owed or drawn."""
    draws = iter([0.0, 0.999])
    studio = make_studio(draw=lambda: next(draws))
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, Person(who="li", reasons=(Reason.TOO_DARK,)))
    await studio.show(grant, "li")
    await studio.show(grant, "li")
    assert kinds(studio.events) == "iiip"


@pytest.mark.parametrize("share", [0.0, 1 / 6, 0.5, 1.0])
async def test_the_share_of_identity_samples(
    make_studio, seeded: random.Random, share: float
) -> None:
    """Over two thousand samples the share lies within four standard deviations."""
    studio = make_studio(draw=seeded.random, limits=StreamLimits(token_life_ms=10**9))
    grant = await studio.open(policy=PresencePolicy(identity_share=share))
    samples = 2_000
    for _ in range(samples + 1):
        await studio.show(grant, "li")
    taken = kinds(studio.events)[1:].count("i")
    spread = 4 * (samples * share * (1 - share)) ** 0.5
    assert abs(taken - samples * share) <= spread


async def test_the_receipt_is_the_same_for_every_kind_of_sample(make_studio) -> None:
    """The same scenes get the same receipts, whether all of them are looked at or none."""
    answers = []
    scenes = ([], ["li"], [Person(who="li", reasons=(Reason.BLURRED,))], ["wang"], ["li", "wang"])
    for luck in (0.0, 0.999):
        studio = make_studio(draw=lambda luck=luck: luck)
        grant = await studio.open()
        answers.append([await studio.show(grant, *people) for people in scenes])
    assert answers[0] == answers[1]


async def test_a_broken_picture_is_no_sample(studio) -> None:
    """The client hears that the picture is broken; there is no event, and the track goes on."""
    grant = await studio.open()
    await studio.show(grant, "li")
    studio.clock.advance(1_000)
    with pytest.raises(ImageUnreadable):
        await studio.hub.push_frame(
            grant.stream_id, grant.client_token, seq=2, data=b"\xff\xd8 cut off"
        )
    await studio.show(grant, "li")
    assert kinds(studio.events) == "ip"
    assert studio.hub.counts["undecodable"] == 1
    assert studio.hub.counts["accepted"] == 2


async def test_where_identity_fails_the_look_stays_owed(make_studio, caplog) -> None:
    """The frame is a presence sample all the same; the next one is looked at, owed or drawn."""
    for first, luck in (([], [0.999]), (["li"], [0.0, 0.999])):
        draws = iter(luck)
        studio = make_studio(draw=lambda draws=draws: next(draws))
        grant = await studio.open()
        for people in first:
            await studio.show(grant, people)
        studio.engine.fail_with = Overloaded()
        assert (await studio.show(grant, "li")).accepted
        assert kinds(studio.events)[-1] == "p"
        await studio.show(grant, "li")
        await studio.show(grant, "li")
        assert kinds(studio.events)[-3:] == "pip"
        assert {event.track for event in studio.events} == {1}
    assert "was not looked at" in caplog.text


async def test_the_matched_face_is_the_one_that_is_followed(studio) -> None:
    """With a larger stranger beside him, the track goes with the enrolled face."""
    grant = await studio.open()
    stranger, learner = Person(who="wang", x=20, size=160), Person(who="li", x=420)
    await studio.show(grant, stranger, learner)
    assert studio.events[-1].decision is Decision.MATCH
    assert Reason.SEVERAL_FACES in studio.events[-1].reasons
    await studio.show(grant, stranger)
    assert studio.events[-1].decision is Decision.MISMATCH
    assert studio.events[-1].track == 2


# --- durability ------------------------------------------------------------------------------


async def test_a_failed_sink_fails_the_upload_and_the_retry_repairs_it(make_studio) -> None:
    """The client sends the frame again; the event reaches the sink once, in order."""
    studio = make_studio(sink=False)
    failures = [OSError("disk full")] * 3  # of the frame, of its look, of the frame again

    async def sink(event: StreamEvent) -> None:
        if failures:
            raise failures.pop()
        studio.events.append(event)

    studio.hub.subscribe(sink)
    grant = await studio.open()
    picture = studio.picture("li")
    for _ in range(2):
        with pytest.raises(StorageError):
            await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=1, data=picture)
        await studio.hub.settled()
    assert studio.events == []
    receipt = await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=1, data=picture)
    assert receipt.accepted
    await studio.hub.settled()
    assert [event.event_id for event in studio.events] == [1, 2]


async def test_an_event_reaches_the_sink_before_the_receipt(make_studio) -> None:
    """While the sink works, the upload waits."""
    studio = make_studio(sink=False)
    gate = asyncio.Event()

    async def sink(_: StreamEvent) -> None:
        await gate.wait()

    studio.hub.subscribe(sink)
    grant = await studio.open()
    upload = asyncio.create_task(studio.show(grant, "li"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not upload.done()
    gate.set()
    assert (await upload).accepted


async def test_a_sink_may_ask_for_a_check(make_studio) -> None:
    """The tracker acts on an event while it takes it: neither side waits for the other."""
    studio = make_studio(sink=False)

    async def sink(event: StreamEvent) -> None:
        studio.events.append(event)
        if event.kind is EventKind.IDENTITY:
            answer = await studio.hub.check(event.stream_id, CheckRequest(check_id="from the sink"))
            assert answer.decision is Decision.MATCH

    studio.hub.subscribe(sink)
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, "li")
    assert kinds(studio.events) == "icp"
    assert [event.event_id for event in studio.events] == [1, 2, 3, 4]


async def test_a_sink_may_close_the_stream(make_studio) -> None:
    """Closing from within the sink ends the stream after this event: no look follows."""
    studio = make_studio(sink=False)

    async def sink(event: StreamEvent) -> None:
        studio.events.append(event)
        await studio.hub.close_stream(event.stream_id)

    studio.hub.subscribe(sink)
    grant = await studio.open()
    assert (await studio.show(grant, "li")).accepted
    with pytest.raises(StreamGone):
        await studio.show(grant, "li")
    assert kinds(studio.events) == "p"


# --- checks ----------------------------------------------------------------------------------


async def test_a_check_judges_what_is_there(studio) -> None:
    """Five frames of the window, known evidence not computed again, one signed event."""
    grant = await studio.open()
    stamps = []
    for _ in range(8):
        await studio.show(grant, "li")
        stamps.append(studio.clock.stamp())
    assert studio.engine.frames["identity"] == 1
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert event.kind is EventKind.CHECK
    assert event.decision is Decision.MATCH
    assert event.check_id == "c-1"
    assert len(event.frame_digests) == 5
    assert (event.since, event.at) == (stamps[2], stamps[7])
    assert (event.frame_seq, event.track, event.event_id) == (8, 1, 10)
    assert verify_event(event, studio.keys)
    again = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-2"))
    assert studio.engine.frames["identity"] == 1 + 5
    assert again.frame_digests == event.frame_digests


async def test_a_check_is_on_the_list(studio) -> None:
    """The sink gets the event of a check as well."""
    grant = await studio.open()
    await studio.show(grant, "li")
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    await studio.show(grant, "li")
    assert studio.events[2] == event


async def test_a_check_is_idempotent(studio) -> None:
    """The same id gets the first answer, whatever came since, and one event."""
    grant = await studio.open()
    await studio.show(grant, "li")
    request = CheckRequest(check_id="c-1")
    first, twin = await asyncio.gather(
        studio.hub.check(grant.stream_id, request), studio.hub.check(grant.stream_id, request)
    )
    await studio.show(grant)
    assert first == twin == await studio.hub.check(grant.stream_id, request)
    assert kinds(studio.events).count("c") == 1


async def test_a_check_that_failed_may_be_asked_again(studio) -> None:
    """An overloaded engine is no answer, so nothing is remembered."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, "li")
    studio.engine.fail_with = Overloaded()
    with pytest.raises(Overloaded):
        await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert event.decision is Decision.MATCH


async def test_a_check_uses_the_current_track_only(studio) -> None:
    """Frames of the learner from before a track break do not vouch for whoever came after."""
    grant = await studio.open()
    for _ in range(3):
        await studio.show(grant, "li", after_ms=2_000)
    await studio.show(grant, Person(who="wang", x=500), after_ms=2_000)
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert (event.decision, len(event.frame_digests)) == (Decision.MISMATCH, 1)
    assert event.track == 2


async def test_a_check_uses_no_frame_older_than_the_window(studio) -> None:
    """Old frames are not judged, even where no newer ones came."""
    grant = await studio.open()
    await studio.show(grant, "li")
    studio.clock.advance(25_001)
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert event.decision is Decision.NO_EVIDENCE
    assert event.reasons == (Reason.TOO_FEW_FRAMES,)
    assert (event.since, event.frame_digests, event.at) == (None, (), studio.clock.stamp())
    assert verify_event(event, studio.keys)


async def test_a_check_judges_nothing_before_the_instant(studio) -> None:
    """A suspicion is looked into on frames from its sample on, whoever sat there before."""
    grant = await studio.open()
    for _ in range(2):
        await studio.show(grant, "li")
    await studio.show(grant, "wang")
    suspicious = studio.clock.stamp()
    await studio.show(grant, "wang")
    request = CheckRequest(check_id="c-1", not_before=suspicious)
    event = await studio.hub.check(grant.stream_id, request)
    assert (event.decision, len(event.frame_digests)) == (Decision.MISMATCH, 2)
    assert event.since == suspicious


async def test_an_instant_of_another_process_counts_by_utc(studio) -> None:
    """A tracker that knows only UTC names the instant in it."""
    grant = await studio.open()
    await studio.show(grant, "li")
    await studio.show(grant, "li")
    instant = Stamp(boot_id="", monotonic_ms=0, utc_ms=studio.clock.stamp().utc_ms)
    request = CheckRequest(check_id="c-1", not_before=instant)
    event = await studio.hub.check(grant.stream_id, request)
    assert len(event.frame_digests) == 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [([], Reason.TOO_FEW_FRAMES), ([[]], Reason.NO_FACE), ([["li"], []], Reason.NO_FACE)],
    ids=["no frame", "nobody", "gone"],
)
async def test_a_check_without_frames_has_no_evidence(
    studio, frames: list[list[str]], reason: Reason
) -> None:
    """Nothing to judge is no mismatch, and it says why."""
    grant = await studio.open()
    for people in frames:
        await studio.show(grant, *people)
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert (event.decision, event.reasons, event.track) == (Decision.NO_EVIDENCE, (reason,), 0)


async def test_several_faces_are_flagged_where_the_learner_is_among_them(studio) -> None:
    """With the enrolled face present others are a flag; without it they are a mismatch."""
    grant = await studio.open()
    await studio.show(grant, "li", Person(who="wang", x=450))
    flagged = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert (flagged.decision, flagged.reasons) == (Decision.MATCH, (Reason.SEVERAL_FACES,))
    await studio.show(grant)
    await studio.show(grant, "zhao", Person(who="wang", x=450))
    strange = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-2"))
    assert strange.decision is Decision.MISMATCH


async def test_a_check_neither_waits_for_a_frame_nor_delays_one(studio) -> None:
    """While a frame is in work the check judges what is there already."""
    grant = await studio.open()
    await studio.show(grant, "li")
    studio.clock.advance(5_000)
    upload = asyncio.create_task(
        studio.hub.push_frame(grant.stream_id, grant.client_token, seq=2, data=scene("li", shot=99))
    )
    await asyncio.sleep(0)
    event = await studio.hub.check(grant.stream_id, CheckRequest(check_id="c-1"))
    assert event.frame_seq == 1
    assert (await upload).accepted


async def test_closing_during_a_frame_makes_it_no_sample(studio) -> None:
    """A frame in work when the stream closes is answered with StreamGone and leaves no event."""
    grant = await studio.open()
    upload = asyncio.create_task(studio.show(grant, "li"))
    await asyncio.sleep(0)
    await studio.hub.close_stream(grant.stream_id)
    with pytest.raises(StreamGone):
        await upload
    assert studio.events == []


async def test_the_same_dark_picture_again_and_again_shows_nobody(make_studio) -> None:
    """A covered lens may be perfectly constant; a face that does not change a byte is no sample."""
    studio = make_studio()
    grant = await studio.open()
    for seq, picture in enumerate([scene("li"), scene("li"), *[scene()] * 3], start=1):
        studio.clock.advance(5_000)
        await studio.hub.push_frame(grant.stream_id, grant.client_token, seq=seq, data=picture)
        await studio.hub.settled()
    seen = [event for event in studio.events if event.kind is EventKind.PRESENCE]
    assert [(event.frame_seq, event.faces) for event in seen] == [(1, 1), (3, 0), (4, 0), (5, 0)]
