"""One live way per stream: a newer one takes over, counts anew, and may be another camera."""

from __future__ import annotations

import asyncio

import pytest

from verifier.errors import StreamGone, StreamTakenOver, Unauthorised
from verifier.streaming.advice import Advice
from verifier.streaming.limits import StreamLimits
from verifier.streaming.ways import End
from verifier.types import EventKind


async def test_a_second_way_takes_over_cleanly(studio) -> None:
    """The first hears why it ends and can push no more; the second counts as it likes."""
    grant = await studio.open()
    ends: list[End] = []
    first = studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
    assert (await first.push(seq=7, data=studio.picture("li"))).seq == 7
    second = studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
    assert ends == [End.TAKEN_OVER]
    with pytest.raises(StreamGone):
        await first.push(seq=8, data=studio.picture("li"))
    cue = await second.push(seq=1, data=studio.picture("li"))
    assert (cue.seq, cue.accepted, cue.advice) == (1, True, Advice.OK)
    first.leave()
    assert (await second.push(seq=2, data=studio.picture("li"))).accepted
    assert ends == [End.TAKEN_OVER]


async def test_another_way_owes_an_identity_sample(studio) -> None:
    """Another camera may stand behind it: its first face begins a track of its own."""
    grant = await studio.open()
    for _ in range(3):
        line = studio.hub.enter(grant.stream_id, grant.client_token, lambda _: None)
        for seq in (1, 2):
            studio.clock.advance(5_000)
            await line.push(seq=seq, data=studio.picture("li"))
            await studio.hub.settled()
    looked_at = [event for event in studio.events if event.kind is EventKind.IDENTITY]
    assert [event.frame_seq for event in looked_at] == [1, 4, 7]
    assert [event.track for event in looked_at] == [1, 2, 3]


async def test_a_way_that_left_and_came_back_goes_on(studio) -> None:
    """Within two minutes the stream is still there, and so are its frames."""
    grant = await studio.open()
    line = studio.hub.enter(grant.stream_id, grant.client_token, lambda _: None)
    await line.push(seq=1, data=studio.picture("li"))
    line.leave()
    line.leave()
    studio.clock.advance(119_000)
    again = studio.hub.enter(grant.stream_id, grant.client_token, lambda _: None)
    assert (await again.push(seq=1, data=studio.picture("li"))).accepted
    assert studio.hub.open_streams == 1


async def test_an_upload_takes_over_from_a_connection_and_back(studio) -> None:
    """Whoever falls back to uploads ends his connection; its numbers do not clash."""
    grant = await studio.open()
    ends: list[End] = []
    assert (await studio.show(grant, "li")).seq == 1
    line = studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
    assert (await line.push(seq=0, data=studio.picture("li"))).accepted
    assert (await studio.show(grant, "li")).accepted
    assert ends == [End.TAKEN_OVER]
    with pytest.raises(StreamGone):
        await line.push(seq=1, data=studio.picture("li"))


async def test_closing_the_stream_ends_its_way(studio) -> None:
    """A connection outlives its token, but never its stream."""
    grant = await studio.open()
    ends: list[End] = []
    line = studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
    studio.clock.advance(100_000)
    await line.push(seq=1, data=studio.picture("li"))
    await studio.hub.close_stream(grant.stream_id)
    assert ends == [End.GONE]
    with pytest.raises(StreamGone):
        await line.push(seq=2, data=studio.picture("li"))
    with pytest.raises(StreamGone):
        studio.hub.enter(grant.stream_id, grant.client_token, ends.append)


async def test_a_way_needs_a_good_token(studio) -> None:
    """Expired, or of another session: refused, and the way there is stays."""
    grant, other = await studio.open(), await studio.open(session="s-2")
    ends: list[End] = []
    studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
    with pytest.raises(Unauthorised, match="another stream"):
        studio.hub.enter(grant.stream_id, other.client_token, ends.append)
    assert ends == []


async def test_a_stream_that_another_one_replaces_is_taken_over(studio) -> None:
    """Who sends on it hears that, however old his token is; who sends on a lost one, that."""
    for session, taken_over, why in (("s-1", True, End.TAKEN_OVER), ("s-2", False, End.GONE)):
        grant = await studio.open(session=session)
        ends: list[End] = []
        line = studio.hub.enter(grant.stream_id, grant.client_token, ends.append)
        await line.push(seq=1, data=studio.picture("li"))
        await studio.hub.close_stream(grant.stream_id, taken_over=taken_over)
        assert ends == [why]
        studio.clock.advance(2 * studio.hub.limits.token_life_ms)
        for token in (grant.client_token, "rubbish"):
            with pytest.raises(StreamGone) as gone:
                await studio.hub.push_frame(
                    grant.stream_id, token, seq=2, data=studio.picture("li")
                )
            assert isinstance(gone.value, StreamTakenOver) is taken_over


async def test_a_frame_in_work_hears_that_its_stream_was_taken_over(studio) -> None:
    """Its upload is not told that the stream was lost: it would ask for another, and take that."""
    grant = await studio.open()
    upload = asyncio.create_task(studio.show(grant, "li"))
    await asyncio.sleep(0)
    await studio.hub.close_stream(grant.stream_id, taken_over=True)
    with pytest.raises(StreamTakenOver):
        await upload


async def test_streams_that_were_taken_over_are_remembered_within_bounds(make_studio) -> None:
    """As many as may be open; an older one counts as lost."""
    studio = make_studio(limits=StreamLimits(max_streams=2))
    grants = []
    for _ in range(3):
        grants.append(await studio.open())
        await studio.hub.close_stream(grants[-1].stream_id, taken_over=True)
    heard = []
    for grant in grants:
        with pytest.raises(StreamGone) as gone:
            studio.hub.enter(grant.stream_id, grant.client_token, lambda _: None)
        heard.append(type(gone.value))
    assert heard == [StreamGone, StreamTakenOver, StreamTakenOver]
