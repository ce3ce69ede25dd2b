"""Events leave the list only once they are taken, in order, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from verifier.clock import ManualClock
from verifier.errors import BadRequest, StorageError
from verifier.streaming.eventlog import EventLog
from verifier.streaming.limits import StreamLimits
from verifier.types import EventKind, EventSink, StreamEvent

LIMITS = StreamLimits(events_waiting=4)


class Sink:
    """Takes events, or raises as often as it is told to."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.failures = 0

    async def __call__(self, event: StreamEvent) -> None:
        """Take one event."""
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.taken.append(event.event_id)


class Desk:
    """A log with its sinks, and events to put on it."""

    def __init__(self, clock: ManualClock, *sinks: EventSink) -> None:
        self.clock = clock
        self.log = EventLog(clock, list(sinks), LIMITS)

    def append(self, count: int = 1) -> None:
        """Put events on the list."""
        for _ in range(count):
            self.log.append(
                StreamEvent(
                    stream_id="stream",
                    session_id="session",
                    event_id=self.log.next_id,
                    kind=EventKind.PRESENCE,
                    at=self.clock.stamp(),
                    frame_seq=1,
                    track=1,
                    faces=1,
                )
            )


@pytest.fixture
def sink() -> Sink:
    """A sink that works until told otherwise."""
    return Sink()


@pytest.fixture
async def desk(clock: ManualClock, sink: Sink) -> AsyncIterator[Desk]:
    """A log with one sink."""
    made = Desk(clock, sink)
    yield made
    await made.log.stop()


@pytest.fixture
async def listed(clock: ManualClock) -> AsyncIterator[Desk]:
    """A log without sinks: its events are read."""
    made = Desk(clock)
    yield made
    await made.log.stop()


async def settle() -> None:
    """Let the tasks that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_delivery_empties_the_list_in_order(desk: Desk, sink: Sink) -> None:
    """The sink gets each event once, in order, and the list is empty afterwards."""
    desk.append(3)
    await desk.log.deliver()
    assert sink.taken == [1, 2, 3]
    assert len(desk.log) == 0


async def test_an_event_that_was_not_taken_stays_first(desk: Desk, sink: Sink) -> None:
    """A failing sink is a StorageError for the caller, and the order is kept afterwards."""
    sink.failures = 1
    desk.append()
    with pytest.raises(StorageError):
        await desk.log.deliver()
    desk.append()
    await desk.log.deliver()
    assert sink.taken == [1, 2]


async def test_a_failed_delivery_is_repeated_in_the_background(desk: Desk, sink: Sink) -> None:
    """Without another frame the event is offered again, with growing pauses."""
    sink.failures = 3
    desk.append(2)
    with pytest.raises(StorageError):
        await desk.log.deliver()
    await settle()
    for pause_ms in (1_000, 2_000, 4_000):
        assert sink.taken == []
        desk.clock.advance(pause_ms)
        await settle()
    assert sink.taken == [1, 2]


async def test_many_callers_deliver_each_event_once(desk: Desk, sink: Sink) -> None:
    """Deliveries at the same time neither double nor reorder."""
    desk.append(4)
    await asyncio.gather(*(desk.log.deliver() for _ in range(5)))
    assert sink.taken == [1, 2, 3, 4]


async def test_every_sink_gets_every_event_once(clock: ManualClock) -> None:
    """Where the second sink fails, the first is not asked again."""
    first, second = Sink(), Sink()
    desk = Desk(clock, first, second)
    second.failures = 1
    desk.append(2)
    with pytest.raises(StorageError):
        await desk.log.deliver()
    await desk.log.deliver()
    assert first.taken == second.taken == [1, 2]
    await desk.log.stop()


async def test_a_full_list_takes_no_more_frames(listed: Desk) -> None:
    """Facts are never dropped: the stream refuses frames instead."""
    listed.append(3)
    listed.log.require_room()
    listed.append()
    with pytest.raises(StorageError, match="wait to be taken"):
        listed.log.require_room()
    listed.log.acknowledge(1)
    listed.log.require_room()


async def test_ids_have_no_holes(listed: Desk) -> None:
    """An event out of turn is refused."""
    listed.append()
    skipped = StreamEvent(
        stream_id="stream",
        session_id="session",
        event_id=3,
        kind=EventKind.PRESENCE,
        at=listed.clock.stamp(),
        frame_seq=1,
        track=1,
        faces=1,
    )
    with pytest.raises(ValueError, match="2 is next"):
        listed.log.append(skipped)


async def test_a_reader_goes_on_after_what_it_has(listed: Desk) -> None:
    """Reading resumes after an id and ends with the stream."""
    listed.append(3)
    listed.log.end()
    assert [event.event_id async for event in listed.log.read(1)] == [2, 3]


async def test_reading_does_not_forget(listed: Desk) -> None:
    """Only the acknowledgement lets an event go: a reader that crashed reads it again."""
    listed.append(3)
    listed.log.end()
    assert [event.event_id async for event in listed.log.read(0)] == [1, 2, 3]
    assert [event.event_id async for event in listed.log.read(0)] == [1, 2, 3]
    listed.log.acknowledge(2)
    assert [event.event_id async for event in listed.log.read(0)] == [3]


async def test_a_reader_hears_of_new_events(listed: Desk) -> None:
    """A reader that waits gets what is appended, until the end."""
    seen: list[int] = []

    async def read() -> None:
        seen.extend([event.event_id async for event in listed.log.read(0)])

    reader = asyncio.create_task(read())
    for _ in range(3):
        await settle()
        listed.append()
        listed.log.acknowledge(listed.log.next_id - 2)
    await settle()
    listed.log.end()
    await reader
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("event_id", [-1, 2])
async def test_only_listed_events_are_acknowledged(listed: Desk, event_id: int) -> None:
    """An id that was never given is a mistake of the reader."""
    listed.append()
    with pytest.raises(BadRequest):
        listed.log.acknowledge(event_id)
    listed.log.acknowledge(1)
    listed.log.acknowledge(1)
    assert len(listed.log) == 0


async def test_at_the_end_of_the_process_what_waits_is_offered_once_more(
    desk: Desk, sink: Sink
) -> None:
    """A sink that works again by then gets everything; nothing is left to the background."""
    sink.failures = 1
    desk.append(2)
    with pytest.raises(StorageError):
        await desk.log.deliver()
    await desk.log.stop()
    assert sink.taken == [1, 2]


async def test_what_is_lost_with_the_process_is_said(
    desk: Desk, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the sink fails to the end the log says how many events nobody has."""
    sink.failures = 99
    desk.append(2)
    await desk.log.stop()
    assert "2 events are lost" in caplog.text


async def test_giving_up_stops_the_background(desk: Desk, sink: Sink) -> None:
    """What was given up is offered to nobody."""
    sink.failures = 1
    desk.append()
    desk.log.deliver_in_background()
    await settle()
    desk.log.give_up()
    desk.clock.advance(60_000)
    await settle()
    assert sink.taken == []
    assert len(desk.log) == 0
