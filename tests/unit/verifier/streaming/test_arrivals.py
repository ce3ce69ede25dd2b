"""Repeats, order, pace, and the newest frame that wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from verifier.clock import Stamp
from verifier.errors import (
    BadRequest,
    Conflict,
    ImageUnreadable,
    Overloaded,
    StorageError,
    StreamGone,
    TooManyRequests,
)
from verifier.streaming.advice import Advice, FrameReceipt
from verifier.streaming.arrivals import DIGEST_BYTES, Arrival, Arrivals, Pace
from verifier.streaming.limits import StreamLimits


def stamp(ms: int) -> Stamp:
    """An instant of one boot."""
    return Stamp(boot_id="boot", monotonic_ms=ms, utc_ms=1_795_000_000_000 + ms)


class Line:
    """An `Arrivals` whose work can be held up."""

    def __init__(self, limits: StreamLimits) -> None:
        self.arrivals = Arrivals(self.process, self.confirm, limits)
        self.worked: list[int] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.failing: dict[int, Exception] = {}
        self.unconfirmed: Exception | None = None
        self.faces = 1
        self._ms = 0

    async def process(self, arrival: Arrival) -> FrameReceipt:
        """Do the work on one frame."""
        self.begun.set()
        await self.open.wait()
        if arrival.seq in self.failing:
            raise self.failing[arrival.seq]
        self.worked.append(arrival.seq)
        return self.arrivals.became_sample(arrival, Advice.OK, faces=self.faces)

    async def confirm(self) -> None:
        """Say whether what was recorded is durable."""
        if self.unconfirmed is not None:
            raise self.unconfirmed

    async def push(
        self, seq: int, data: bytes | None = None, after_ms: int = 1_000
    ) -> FrameReceipt:
        """Send a frame, by default with bytes of its own and at a leisurely pace."""
        self._ms += after_ms
        return await self.arrivals.push(seq, data or b"frame %d" % seq, stamp(self._ms))


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A line with room for eight remembered frames."""
    made = Line(StreamLimits(remembered_frames=8))
    yield made
    await made.arrivals.stop()


async def hold(line: Line, seq: int) -> asyncio.Task[FrameReceipt]:
    """Send a frame and hold up the work on it."""
    line.open.clear()
    line.begun.clear()
    task = asyncio.create_task(line.push(seq))
    await line.begun.wait()
    return task


async def queue(line: Line, seq: int, data: bytes | None = None) -> asyncio.Task[FrameReceipt]:
    """Send a frame behind the held one."""
    task = asyncio.create_task(line.push(seq, data))
    await asyncio.sleep(0)
    return task


async def test_frames_become_samples_in_order(line: Line) -> None:
    """Ordinary frames are worked on one after the other and accepted."""
    receipts = [await line.push(seq) for seq in (1, 2, 3)]
    assert receipts == [FrameReceipt(seq=n, accepted=True, advice=Advice.OK) for n in (1, 2, 3)]
    assert line.worked == [1, 2, 3]


async def test_a_repeated_number_gets_the_first_answer(line: Line) -> None:
    """A client that repeats an upload hears the same, and nothing is worked on twice."""
    first = await line.push(1)
    await line.push(2)
    assert await line.push(1) == first
    assert line.worked == [1, 2]


async def test_a_repeated_number_is_not_paced(line: Line) -> None:
    """Repeats after a lost answer do not run into the rate cap."""
    first = await line.push(1)
    for _ in range(20):
        assert await line.push(1, after_ms=0) == first


async def test_a_repeat_waits_for_durability(line: Line) -> None:
    """While the first answer is not durable yet, the repeat hears the storage error as well."""
    await line.push(1)
    line.unconfirmed = StorageError()
    with pytest.raises(StorageError):
        await line.push(1)
    line.unconfirmed = None
    assert (await line.push(1)).accepted


async def test_another_body_under_one_number_is_a_conflict(line: Line) -> None:
    """A number names one picture for ever."""
    await line.push(1)
    with pytest.raises(Conflict, match="Frame 1"):
        await line.push(1, b"another")


async def test_the_same_bytes_are_no_second_sample(line: Line) -> None:
    """A picture that came before is a duplicate under any later number."""
    await line.push(1, b"frozen")
    assert await line.push(2, b"frozen") == FrameReceipt(
        seq=2, accepted=False, advice=Advice.DUPLICATE
    )
    assert line.worked == [1]


async def test_the_memory_of_pictures_is_bounded(line: Line) -> None:
    """Only the last pictures are remembered: the ninth back counts as new."""
    for seq in range(1, 10):
        await line.push(seq)
    assert not (await line.push(10, b"frame 2")).accepted
    assert (await line.push(11, b"frame 1")).accepted


async def test_what_is_remembered_of_a_frame_is_small(line: Line) -> None:
    """A number and sixteen bytes of its digest, in one place; the receipt is made anew."""
    for seq in range(1, 20):
        first = await line.push(seq)
        assert await line.push(seq) == first
    held = line.arrivals._answers
    assert list(held) == list(range(12, 20))
    assert {len(one.digest) for one in held.values()} == {DIGEST_BYTES} == {16}
    assert not [name for name in vars(line.arrivals) if "digest" in name]


async def test_a_repeat_that_goes_on_stays_a_repeat(line: Line) -> None:
    """Whoever sends one picture for ever does not outlast the memory."""
    await line.push(1, b"frozen")
    for seq in range(2, 40):
        assert (await line.push(seq, b"frozen")).advice is Advice.DUPLICATE
    assert line.worked == [1]


async def test_overtaken_frames_push_nothing_out_of_the_memory(line: Line) -> None:
    """A flood of old numbers does not make a picture new again."""
    await line.push(100, b"frozen")
    for seq in range(40):
        assert (await line.push(seq, b"old %d" % seq)).advice is Advice.NEWER_FRAME
    assert (await line.push(101, b"frozen")).advice is Advice.DUPLICATE


async def test_an_older_number_is_ignored(line: Line) -> None:
    """A frame that was overtaken is not a sample."""
    await line.push(5)
    late = await line.push(4)
    assert late == FrameReceipt(seq=4, accepted=False, advice=Advice.NEWER_FRAME)
    assert line.worked == [5]


async def test_the_newest_waiting_frame_wins(line: Line) -> None:
    """While one frame is worked on, one waits, and a newer one takes its place."""
    held = await hold(line, 1)
    waiting = [await queue(line, seq) for seq in (2, 3, 4)]
    line.open.set()
    receipts = await asyncio.gather(held, *waiting)
    assert [receipt.accepted for receipt in receipts] == [True, False, False, True]
    assert [receipt.advice for receipt in receipts[1:3]] == [Advice.NEWER_FRAME] * 2
    assert line.worked == [1, 4]


async def test_an_older_frame_does_not_replace_a_waiting_one(line: Line) -> None:
    """Newest means the highest number, not the last arrival."""
    held = await hold(line, 1)
    waiting = await queue(line, 5)
    older = await queue(line, 3)
    line.open.set()
    assert (await held).accepted
    assert (await waiting).accepted
    assert not (await older).accepted


async def test_a_repeat_of_a_frame_in_work_shares_its_answer(line: Line) -> None:
    """Two uploads of one frame at once are one frame."""
    held = await hold(line, 1)
    again = await queue(line, 1)
    line.open.set()
    assert await held == await again
    assert line.worked == [1]


async def test_the_same_bytes_behind_a_frame_in_work_are_a_duplicate(line: Line) -> None:
    """Bytes count as seen from their arrival on, not from their answer on."""
    held = await hold(line, 1)
    twin = await queue(line, 2, b"frame 1")
    line.open.set()
    assert (await twin).advice is Advice.DUPLICATE
    assert (await held).accepted


async def test_the_same_bytes_behind_a_frame_of_nobody_are_a_sample_too(line: Line) -> None:
    """A covered lens on a slow machine: whether they show a face is not known before."""
    line.faces = 0
    held = await hold(line, 1)
    twins = [await queue(line, seq, b"frame 1") for seq in (2, 3)]
    line.open.set()
    receipts = [await held, *await asyncio.gather(*twins)]
    assert [receipt.accepted for receipt in receipts] == [True, True, True]
    assert line.worked == [1, 2, 3]


async def test_the_same_bytes_behind_a_frame_that_fails_are_worked_on(line: Line) -> None:
    """What was no sample makes nothing a repeat."""
    line.failing[1] = Overloaded()
    held = await hold(line, 1)
    twin = await queue(line, 2, b"frame 1")
    line.open.set()
    with pytest.raises(Overloaded):
        await held
    assert (await twin).accepted


async def test_a_repeat_takes_no_waiting_frames_place(line: Line) -> None:
    """Behind a frame in work a new one waits; the bytes of the first come once more."""
    held = await hold(line, 1)
    waiting = await queue(line, 2)
    twin = await queue(line, 3, b"frame 1")
    line.open.set()
    assert (await held).accepted
    assert (await waiting).accepted
    assert (await twin).advice is Advice.DUPLICATE


async def test_a_client_that_hangs_up_does_not_stop_the_work(line: Line) -> None:
    """A frame that was begun becomes a sample even if nobody waits for the answer."""
    held = await hold(line, 1)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    line.open.set()
    assert (await line.push(1)).accepted
    assert line.worked == [1]


async def test_a_frame_that_fails_is_no_sample_and_may_come_again(line: Line) -> None:
    """After an error the number and the bytes are free: another try is taken at its word."""
    line.failing[1] = ImageUnreadable()
    with pytest.raises(ImageUnreadable):
        await line.push(1)
    line.failing.clear()
    assert (await line.push(1, b"whole this time")).accepted


async def test_a_failure_hurts_no_other_frame(line: Line) -> None:
    """The frame that waits behind a failing one is worked on."""
    line.failing[1] = ImageUnreadable()
    held = await hold(line, 1)
    waiting = await queue(line, 2)
    line.open.set()
    with pytest.raises(ImageUnreadable):
        await held
    assert (await waiting).accepted
    assert line.worked == [2]


@pytest.mark.parametrize("seq", [-1, 2**53])
async def test_numbers_have_bounds(line: Line, seq: int) -> None:
    """A number is what JSON holds exactly."""
    with pytest.raises(BadRequest):
        await line.push(seq)


async def test_stopping_answers_everybody(line: Line) -> None:
    """At the end of the process nobody waits for ever."""
    held = await hold(line, 1)
    waiting = await queue(line, 2)
    await line.arrivals.stop()
    for task in (held, waiting):
        with pytest.raises(StreamGone):
            await task


def test_the_pace_lets_a_burst_through_and_then_the_rate() -> None:
    """Five at once after a rest, then one each 200 ms; what was refused costs nothing."""
    pace = Pace(5)
    for _ in range(5):
        pace.take(stamp(0))
    for _ in range(3):
        with pytest.raises(TooManyRequests) as refused:
            pace.take(stamp(199))
    assert refused.value.retry_after_s == 1
    pace.take(stamp(200))
    with pytest.raises(TooManyRequests):
        pace.take(stamp(200))
    for _ in range(5):
        pace.take(stamp(10_000))
    with pytest.raises(TooManyRequests):
        pace.take(stamp(10_000))
